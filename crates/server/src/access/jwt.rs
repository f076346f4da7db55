//! JSON Web Tokens of somebody else's login, checked with a configured key.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use thoughtwire_proto::{Refusal, Timestamp, UserId};
use thoughtwire_store::Scope;
use tokio_util::sync::CancellationToken;

use super::{Identity, unauthorized};
use crate::config::JwtConfig;

pub(crate) struct Jwt {
    key: DecodingKey,
    rules: Validation,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since 1970.
    exp: i64,
    /// Scopes with spaces between them (RFC 8693, 4.2); `chat` if there are none.
    #[serde(default)]
    scope: String,
}

impl Jwt {
    /// Reads the key.
    ///
    /// # Errors
    /// When it is none for the algorithm.
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
        // The algorithm is the key's and never the token's: a public key used as a secret would let everybody sign.
        let mut rules = Validation::new(algorithm);
        rules.set_audience(&[&config.audience]);
        rules.set_required_spec_claims(&["exp", "aud", "sub"]);
        rules.validate_nbf = true;
        rules.leeway = 0;
        Ok(Self { key, rules })
    }

    pub(super) fn read(&self, token: &str) -> Result<Identity, Refusal> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.rules)
            .map_err(|error| {
                unauthorized(format!("the token is refused: {}", explain(error.kind())))
            })?
            .claims;
        if claims.sub.starts_with('~') {
            return Err(unauthorized("the token is refused: its `sub` begins with `~`"));
        }
        let user = UserId::new(claims.sub)
            .map_err(|error| unauthorized(format!("the token is refused: its `sub`: {error}")))?;
        let mut scopes: Vec<Scope> = claims
            .scope
            .split(' ')
            .filter_map(|name| Scope::ALL.into_iter().find(|scope| scope.as_str() == name))
            .collect();
        if claims.scope.trim().is_empty() {
            scopes.push(Scope::Chat);
        }
        let until = Some(Timestamp::from_millis(claims.exp.saturating_mul(1000)));
        Ok(Identity { user, scopes, key: None, until, revoked: CancellationToken::new() })
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
