//! Logins: tickets, cookies of pages, and tokens of another login.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::access::{Guarded, owner_token};
use super::rest::http;
use super::support::Live;

#[tokio::test]
async fn a_ticket_is_valid_once() {
    let guarded = Guarded::start().await;
    let (_, key) = guarded.key("ada", &["chat"]).await;
    let (status, given) = guarded.call(&key, "POST", "/v1/tickets", None).await;
    assert_eq!((status, given["expires_in_seconds"].as_u64()), (201, Some(30)));
    let path = format!("/v1/ws?ticket={}", given["ticket"].as_str().unwrap());
    let mut client = guarded.live.connect(&path).await;
    assert_eq!(client.next().await["type"], "welcome");
    assert_eq!(
        client.ask(json!({"type": "create_session", "id": "s", "agent": "none"})).await["code"],
        "unknown_agent",
        "no hello is needed"
    );
    let again = tokio_websockets::ClientBuilder::from_uri(guarded.live.ws(&path).parse().unwrap())
        .connect()
        .await;
    assert!(again.is_err());
    // MemGPT's wire, which has no frame for a key, takes one as well.
    let (_, given) = guarded.call(&key, "POST", "/v1/tickets", None).await;
    let mut memgpt = guarded
        .live
        .connect(&format!("/memgpt?client=tv&ticket={}", given["ticket"].as_str().unwrap()))
        .await;
    memgpt.send(json!({"type": "command", "command": "load_agent", "name": "none"})).await;
    assert!(memgpt.next().await.to_string().contains("Failed to load agent"));
}

#[tokio::test]
async fn a_page_logs_in_with_a_key_and_keeps_a_cookie_that_no_script_reads() {
    let mut guarded = Guarded::start().await;
    let (id, key) = guarded.key("ada", &["chat"]).await;
    let login = format!("{}/v1/login", guarded.live.url);
    let answer = http().post(&login).json(&json!({"key": key})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        set.contains("HttpOnly") && set.contains("SameSite=Strict") && !set.contains(&key),
        "{set}"
    );
    let cookie = set.split(';').next().unwrap().to_owned();
    let host = guarded.live.url.replace("http://", "");
    let with = |origin: String| vec![("cookie", cookie.clone()), ("origin", origin)];
    let whoami = |live: String, headers: Vec<(&'static str, String)>| async move {
        let request = headers
            .into_iter()
            .fold(http().get(format!("{live}/v1/whoami")), |request, (name, value)| {
                request.header(name, value)
            });
        request.send().await.unwrap().status().as_u16()
    };
    let url = guarded.live.url.clone();
    assert_eq!(whoami(url.clone(), with(format!("http://{host}"))).await, 200);
    assert_eq!(whoami(url.clone(), with("https://evil.example".into())).await, 403);
    assert_eq!(
        whoami(url.clone(), with("http://localhost:5173".into())).await,
        403,
        "another port's page is another page"
    );
    assert_eq!(whoami(url.clone(), vec![("cookie", format!("{cookie}x"))]).await, 401);
    assert_eq!(
        http().post(&login).json(&json!({"key": "twk_wrong"})).send().await.unwrap().status(),
        401
    );
    let bye = http().post(format!("{url}/v1/logout")).send().await.unwrap();
    assert!(bye.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    // The login outlives the server, and not its key.
    guarded.live.kill().await;
    guarded.live = Live::on(guarded.dir.path(), &["--auth", "keys"]).await;
    guarded.owner = owner_token(&guarded.dir);
    let url = guarded.live.url.clone();
    assert_eq!(whoami(url.clone(), vec![("cookie", cookie.clone())]).await, 200);
    assert_eq!(
        guarded.call(&guarded.owner, "DELETE", &format!("/v1/keys/{id}"), None).await.0,
        204
    );
    assert_eq!(whoami(url, vec![("cookie", cookie.clone())]).await, 401);
}

pub(super) fn in_seconds(seconds: i64) -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
        + seconds
}

pub(super) fn config(dir: &tempfile::TempDir, jwt: &str) -> String {
    let file = dir.path().join("config.toml");
    std::fs::write(&file, format!("[jwt]\naudience = \"desk\"\n{jwt}")).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn tokens_of_another_login_are_accepted_if_their_key_is_trusted() {
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/live/keys");
    let pem = |name: &str| std::fs::read(format!("{keys}/{name}")).unwrap();
    let secret = "a secret of thirty-two bytes, or more";
    let elsewhere = tempfile::tempdir().unwrap();
    for (algorithm, setting, signs) in [
        (
            Algorithm::HS256,
            format!("algorithm = \"HS256\"\nkey = \"{secret}\""),
            EncodingKey::from_secret(secret.as_bytes()),
        ),
        (
            Algorithm::RS256,
            format!("algorithm = \"RS256\"\nkey_file = \"{keys}/rs256.pub.pem\""),
            EncodingKey::from_rsa_pem(&pem("rs256.pem")).unwrap(),
        ),
        (
            Algorithm::ES256,
            format!("algorithm = \"ES256\"\nkey_file = \"{keys}/es256.pub.pem\""),
            EncodingKey::from_ec_pem(&pem("es256.pem")).unwrap(),
        ),
    ] {
        let guarded = Guarded::with(&["--config", &config(&elsewhere, &setting)]).await;
        let token =
            |claims: Value| jsonwebtoken::encode(&Header::new(algorithm), &claims, &signs).unwrap();
        let whoami = |token: String| {
            let guarded = &guarded;
            async move { guarded.call(&token, "GET", "/v1/whoami", None).await }
        };
        let (status, me) = whoami(token(
            json!({"sub": "ada", "aud": "desk", "exp": in_seconds(60), "scope": "chat agents"}),
        ))
        .await;
        assert_eq!(
            (status, &me["user"], &me["scopes"]),
            (200, &json!("jwt:ada"), &json!(["chat", "agents"])),
            "{algorithm:?}: {me}"
        );
        for (claims, why) in [
            (json!({"sub": "ada", "aud": "desk", "exp": in_seconds(-1)}), "expired"),
            (json!({"sub": "ada", "aud": "desk"}), "exp"),
            (json!({"sub": "ada", "exp": in_seconds(60)}), "aud"),
            (json!({"sub": "ada", "aud": "kitchen", "exp": in_seconds(60)}), "aud"),
            (json!({"aud": "desk", "exp": in_seconds(60)}), ""),
            (json!({"sub": "~ada", "aud": "desk", "exp": in_seconds(60)}), "sub"),
            (
                json!({"sub": "ada", "aud": "desk", "exp": in_seconds(60), "nbf": in_seconds(30)}),
                "not valid yet",
            ),
        ] {
            let (status, answer) = whoami(token(claims.clone())).await;
            assert_eq!(status, 401, "{algorithm:?} {claims}: {answer}");
            assert!(
                answer["error"]["reason"].as_str().unwrap().contains(why),
                "{claims}: {answer}"
            );
        }
        // Signed with what is public, or with nothing: the key's algorithm counts, not the token's.
        let claims = json!({"sub": "ada", "aud": "desk", "exp": in_seconds(60)});
        let public = EncodingKey::from_secret(&pem("rs256.pub.pem"));
        let forged =
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &public).unwrap();
        assert_eq!(whoami(forged).await.0, 401, "{algorithm:?}");
        let good = token(claims);
        let body = good.split('.').nth(1).unwrap();
        assert_eq!(
            whoami(format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.")).await.0,
            401,
            "{algorithm:?}"
        );
    }
    let guarded = Guarded::with(&[
        "--config",
        &config(&elsewhere, &format!("algorithm = \"HS256\"\nkey = \"{secret}\"")),
    ])
    .await;
    let claims = json!({"sub": "ada", "aud": "desk", "exp": in_seconds(2)});
    let token = jsonwebtoken::encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
    .unwrap();
    let mut client = guarded.native(&token).await;
    assert!(client.is_quiet().await);
    assert_eq!(client.next_or_close().await, Err(1008), "the connection ends with its token");
}
