//! Tokens of another login: whom they may name, and from when to when they hold.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::access::Guarded;
use super::logins::{config, in_seconds};

const SECRET: &str = "a secret of thirty-two bytes, or more";

/// Signs a header and claims as they are, also such as no library would write.
fn signed(header: &str, claims: &str) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn token(claims: &str) -> String {
    signed(r#"{"alg":"HS256","typ":"JWT"}"#, claims)
}

async fn guarded(dir: &tempfile::TempDir, more: &str) -> Guarded {
    let settings = format!("algorithm = \"HS256\"\nkey = \"{SECRET}\"\n{more}");
    Guarded::with(&["--config", &config(dir, &settings)]).await
}

async fn whoami(guarded: &Guarded, token: &str) -> (u16, Value) {
    guarded.call(token, "GET", "/v1/whoami", None).await
}

/// Checks that a token opens neither REST nor the native wire, and that the reason says why.
async fn is_refused(guarded: &Guarded, token: &str, why: &str) {
    let (status, answer) = whoami(guarded, token).await;
    let reason = answer["error"]["reason"].as_str().unwrap_or_default();
    assert!(status == 401 && reason.contains(why), "wanted {why:?}, got {status}: {answer}");
    let (status, _) =
        guarded.call(token, "POST", "/v1/agents", Some(json!({"name": "planted"}))).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn a_token_never_names_the_owner_or_a_reserved_user() {
    let dir = tempfile::tempdir().unwrap();
    // Each with the default prefix, and with an issuer whose users are those of this server.
    for (prefix, more) in [("jwt:", ""), ("", "user_prefix = \"\"")] {
        let guarded = guarded(&dir, more).await;
        let exp = in_seconds(600);
        for (sub, refused) in [
            ("ada", false),
            ("local", true),
            ("~guest", true),
            ("sparky:u1", true),
            ("Sparky:u1", true),
            (" local", true),
            ("local\u{a0}", true),
            ("", true),
            ("lo\u{0}cal", true),
        ] {
            let claims =
                json!({"sub": sub, "aud": "desk", "exp": exp, "scope": "admin"}).to_string();
            if refused {
                is_refused(&guarded, &token(&claims), "sub").await;
                continue;
            }
            let (status, me) = whoami(&guarded, &token(&claims)).await;
            let user = format!("{prefix}{sub}");
            assert_eq!((status, &me["user"]), (200, &json!(user)), "{sub:?}");
        }
        // The owner's agents are not the token's, whatever it calls itself.
        let owners = json!({"name": "desk", "persona": "knows the owner's secret"});
        assert_eq!(guarded.call(&guarded.owner, "POST", "/v1/agents", Some(owners)).await.0, 201);
        let claims = json!({"sub": "ada", "aud": "desk", "exp": exp}).to_string();
        let (status, agents) = guarded.call(&token(&claims), "GET", "/v1/agents", None).await;
        assert_eq!(status, 200);
        assert!(!agents.to_string().contains("desk"), "{agents}");
        let key = json!({"user": "sparky:u1"});
        assert_eq!(guarded.call(&guarded.owner, "POST", "/v1/keys", Some(key)).await.0, 400);
    }
}

#[tokio::test]
async fn the_users_of_an_issuer_are_not_those_of_keys() {
    let dir = tempfile::tempdir().unwrap();
    let guarded = guarded(&dir, "").await;
    let (_, key) = guarded.key("ada", &["chat", "agents"]).await;
    let hers = json!({"name": "diary"});
    assert_eq!(guarded.call(&key, "POST", "/v1/agents", Some(hers)).await.0, 201);
    let claims = json!({"sub": "ada", "aud": "desk", "exp": in_seconds(600)}).to_string();
    let (status, agents) = guarded.call(&token(&claims), "GET", "/v1/agents", None).await;
    assert_eq!(status, 200);
    assert!(!agents.to_string().contains("diary"), "{agents}");
}

#[tokio::test]
async fn times_are_numbers_of_seconds_within_reason() {
    let dir = tempfile::tempdir().unwrap();
    let guarded = guarded(&dir, "").await;
    let (soon, past) = (in_seconds(600), in_seconds(-600));
    let good = format!(r#""exp":{soon}"#);
    for times in [
        good.clone(),
        format!(r#""exp":{soon}.75"#),
        format!(r#""exp":{soon}.0,"nbf":{past}.5,"iat":{past}.5"#),
        format!(r#""exp":{},"nbf":0"#, "253402300799"),
    ] {
        let (status, me) =
            whoami(&guarded, &token(&format!(r#"{{"sub":"ada","aud":"desk",{times}}}"#))).await;
        assert_eq!(status, 200, "{times}: {me}");
    }
    for (times, why) in [
        (format!(r#""exp":{past}"#), "expired"),
        (format!(r#""exp":{past}.9"#), "expired"),
        (r#""exp":0"#.to_owned(), "expired"),
        (r#""exp":-1"#.to_owned(), "exp"),
        (r#""exp":-1.5"#.to_owned(), "exp"),
        (format!(r#""exp":{soon}000"#), "exp"),
        (r#""exp":253402300800"#.to_owned(), "exp"),
        (r#""exp":9223372036854775807"#.to_owned(), "exp"),
        (r#""exp":18446744073709551615"#.to_owned(), "exp"),
        (r#""exp":18446744073709551616"#.to_owned(), "exp"),
        (r#""exp":1e30"#.to_owned(), "exp"),
        (r#""exp":1e999"#.to_owned(), ""),
        (format!(r#""exp":"{soon}""#), ""),
        (r#""exp":null"#.to_owned(), ""),
        (r#""exp":true"#.to_owned(), ""),
        (r#""exp":[]"#.to_owned(), ""),
        (r#""iat":1"#.to_owned(), "exp"),
        (format!(r#"{good},"exp":{past}"#), ""),
        (format!(r#"{good},"nbf":{soon}"#), "not valid yet"),
        (format!(r#"{good},"nbf":{soon}.5"#), "not valid yet"),
        (format!(r#"{good},"nbf":"{past}""#), "nbf"),
        (format!(r#"{good},"nbf":null"#), "nbf"),
        (format!(r#"{good},"nbf":{{}}"#), "nbf"),
        (format!(r#"{good},"nbf":false"#), "nbf"),
        (format!(r#"{good},"nbf":-1"#), "nbf"),
        (format!(r#"{good},"nbf":1e300"#), "nbf"),
        (format!(r#"{good},"iat":"yesterday""#), "iat"),
        (format!(r#"{good},"iat":1e300"#), "iat"),
    ] {
        let claims = format!(r#"{{"sub":"ada","aud":"desk",{times}}}"#);
        is_refused(&guarded, &token(&claims), why).await;
    }
}

#[tokio::test]
async fn a_header_that_demands_an_extension_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let guarded = guarded(&dir, "").await;
    let claims = json!({"sub": "ada", "aud": "desk", "exp": in_seconds(600)}).to_string();
    let plain = signed(r#"{"alg":"HS256","typ":"JWT","kid":"1","unknown":true}"#, &claims);
    assert_eq!(whoami(&guarded, &plain).await.0, 200);
    for header in [
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":true}"#,
        r#"{"alg":"HS256","crit":["https://example.org/bound"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":null}"#,
        r#"{"alg":"HS256","crit":"exp"}"#,
    ] {
        is_refused(&guarded, &signed(header, &claims), "crit").await;
    }
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS384"}"#, "{}", "[]", "null", "no JSON"] {
        is_refused(&guarded, &signed(header, &claims), "").await;
    }
}
