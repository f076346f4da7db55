//! JSON Web Tokens of another issuer, checked with a configured key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Number, Value};
use thoughtwire_hub::now;
use thoughtwire_proto::{Refusal, Timestamp, UserId};
use thoughtwire_store::Scope;
use tokio_util::sync::CancellationToken;

use super::{Identity, reserved, unauthorized};
use crate::config::JwtConfig;

/// The last second of the year 9999. A later time is a mistake, such as milliseconds for seconds.
const LAST_SECOND: f64 = 253_402_300_799.0;

pub(crate) struct Jwt {
    key: DecodingKey,
    rules: Validation,
    user_prefix: String,
}

#[derive(Deserialize)]
struct TokenClaims {
    sub: String,
    /// Seconds since 1970, possibly with a fraction (RFC 7519, 2, "NumericDate").
    exp: Number,
    /// The time before which the token is not valid yet, in the same form.
    #[serde(default, deserialize_with = "present")]
    nbf: Option<Value>,
    /// The time at which the token was made. It decides nothing, but has to be a time.
    #[serde(default, deserialize_with = "present")]
    iat: Option<Value>,
    /// Scopes with spaces between them (RFC 8693, 4.2); `chat` if there are none.
    #[serde(default)]
    scope: String,
}

impl Jwt {
    /// Reads the key.
    ///
    /// # Errors
    /// When the key does not fit the algorithm.
    pub(crate) fn open(config: &JwtConfig) -> Result<Self, String> {
        let bytes = config.key.as_bytes();
        let (algorithm, key) = match config.algorithm.as_str() {
            // RFC 7518, 3.2: a key as long as the hash at least.
            "HS256" if bytes.len() < 32 => {
                return Err("a secret for HS256 has at least 32 bytes".to_owned());
            }
            "HS256" => (Algorithm::HS256, Ok(DecodingKey::from_secret(bytes))),
            "RS256" => (Algorithm::RS256, DecodingKey::from_rsa_pem(bytes)),
            "ES256" => (Algorithm::ES256, DecodingKey::from_ec_pem(bytes)),
            other => return Err(format!("{other:?} is not HS256, RS256 or ES256")),
        };
        let key = key.map_err(|error| {
            format!("the key is no public key in PEM for {}: {error}", config.algorithm)
        })?;
        // Invariant: the algorithm is the key's and never the token's. Otherwise a public key
        // could serve as a secret, with which anyone can sign.
        let mut rules = Validation::new(algorithm);
        rules.set_audience(&[&config.audience]);
        rules.set_required_spec_claims(&["aud", "sub"]);
        // The library ignores an `nbf` that it cannot read and panics on a clock before 1970:
        // times are checked here.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        Ok(Self { key, rules, user_prefix: config.user_prefix.clone() })
    }

    /// Returns the identity of a token. `local` is the server's owner, whom no token may name.
    pub(super) fn read(&self, token: &str, local: &UserId) -> Result<Identity, Refusal> {
        let refused = |why: String| unauthorized(format!("the token is refused: {why}"));
        refuse_critical(token).map_err(refused)?;
        let claims = jsonwebtoken::decode::<TokenClaims>(token, &self.key, &self.rules)
            .map_err(|error| refused(explain(error.kind())))?
            .claims;
        let until = valid_until(&claims).map_err(refused)?;
        let user = self.user(&claims.sub, local).map_err(refused)?;
        let mut scopes: Vec<Scope> = claims
            .scope
            .split(' ')
            .filter_map(|name| Scope::ALL.into_iter().find(|scope| scope.as_str() == name))
            .collect();
        if claims.scope.trim().is_empty() {
            scopes.push(Scope::Chat);
        }
        let (until, revoked) = (Some(until), CancellationToken::new());
        Ok(Identity { user, scopes, key: None, until, revoked })
    }

    /// Returns the user that a `sub` names. Reserved names are refused, also where the prefix would
    /// keep them apart: a token with such a `sub` is an attempt or a mistake.
    fn user(&self, sub: &str, local: &UserId) -> Result<UserId, String> {
        if sub.trim() != sub {
            return Err("its `sub` begins or ends with a space".to_owned());
        }
        let name = format!("{}{sub}", self.user_prefix);
        if [sub, &name].into_iter().any(|name| name == local.as_str() || reserved(name)) {
            return Err(format!("its `sub` is `{sub}`, and that name is reserved"));
        }
        if sub.is_empty() {
            return Err("its `sub` is empty".to_owned());
        }
        UserId::new(name).map_err(|error| format!("its `sub`: {error}"))
    }
}

/// Checks the times, and returns the one at which the token expires.
fn valid_until(claims: &TokenClaims) -> Result<Timestamp, String> {
    let until = time("exp", &Value::Number(claims.exp.clone()))?;
    let from = claims.nbf.as_ref().map(|nbf| time("nbf", nbf)).transpose()?;
    claims.iat.as_ref().map(|iat| time("iat", iat)).transpose()?;
    let now = now();
    if until <= now {
        return Err("it has expired".to_owned());
    }
    if from.is_some_and(|from| from > now) {
        return Err("it is not valid yet".to_owned());
    }
    Ok(until)
}

/// Reads a claim that is there, also when it is `null`: a `null` is not a time.
fn present<'de, D: serde::Deserializer<'de>>(claim: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(claim).map(Some)
}

/// Reads a claim that is a time.
fn time(claim: &str, value: &Value) -> Result<Timestamp, String> {
    let seconds = value
        .as_f64()
        .filter(|seconds| seconds.is_finite())
        .ok_or_else(|| format!("its `{claim}` is not a number of seconds"))?;
    if !(0.0..=LAST_SECOND).contains(&seconds) {
        return Err(format!("its `{claim}` is not between the years 1970 and 9999"));
    }
    // In range, as checked above; a duration converts without a cast.
    let millis = std::time::Duration::from_secs_f64(seconds).as_millis();
    Ok(Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)))
}

/// Refuses a header with `crit`: it names extensions without which the token must not be accepted
/// (RFC 7515, 4.1.11), and this server has none. The library does not look at it.
fn refuse_critical(token: &str) -> Result<(), String> {
    let unreadable = || "its header cannot be read".to_owned();
    let header = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| unreadable())?;
    let header: Value = serde_json::from_slice(&header).map_err(|_| unreadable())?;
    match header.get("crit") {
        None => Ok(()),
        Some(_) => Err("its header has `crit`, and this server knows no extensions".to_owned()),
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the kinds are the library's, and it adds some")]
fn explain(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::ExpiredSignature => "it has expired".to_owned(),
        ErrorKind::InvalidSignature => "its signature is not of the configured key".to_owned(),
        ErrorKind::InvalidAlgorithm => "its algorithm is not the configured one".to_owned(),
        ErrorKind::InvalidAudience => "its `aud` is not this server's".to_owned(),
        ErrorKind::ImmatureSignature => "it is not valid yet".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("it has no `{claim}`"),
        ErrorKind::Json(error) => format!("its claims cannot be read: {error}"),
        _ => "it is no valid token".to_owned(),
    }
}
