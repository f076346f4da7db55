//! A page's login: the key is shown once, and the browser keeps a cookie that no script can read.
//!
//! The cookie says who it is by itself, signed with a secret of the data directory, so that a server
//! that starts anew still knows it. Its key is looked up each time, so that it goes when the key goes.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use thoughtwire_hub::now;
use thoughtwire_proto::{Refusal, RefusalCode, Timestamp, UserId};
use thoughtwire_store::{KeyId, Scope, Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::{Identity, Keyring, unauthorized};

/// How long a page stays logged in.
pub(crate) const LASTS: Duration = Duration::from_secs(12 * 3600);
const AUDIENCE: &str = "thoughtwire-page";

#[derive(Clone)]
pub(crate) struct Login {
    signs: Arc<EncodingKey>,
    reads: Arc<DecodingKey>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: UserId,
    scopes: Vec<Scope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<KeyId>,
    aud: String,
    /// Seconds since 1970.
    exp: i64,
}

impl Login {
    pub(super) async fn open(store: &Store) -> Result<Self, StoreError> {
        let mut fresh = vec![0; 32];
        getrandom::fill(&mut fresh).map_err(|error| {
            StoreError::Corrupt(format!("the system gives no random numbers: {error}"))
        })?;
        let secret = store.secret("login", fresh).await?;
        Ok(Self {
            signs: Arc::new(EncodingKey::from_secret(&secret)),
            reads: Arc::new(DecodingKey::from_secret(&secret)),
        })
    }

    /// Writes the cookie of somebody who showed a key.
    pub(crate) fn write(&self, identity: &Identity) -> Result<(String, Timestamp), Refusal> {
        let most =
            now().as_millis().saturating_add(i64::try_from(LASTS.as_millis()).unwrap_or(i64::MAX));
        let until = identity.until.map_or(most, |until| until.as_millis().min(most));
        let claims = Claims {
            sub: identity.user.clone(),
            scopes: identity.scopes.clone(),
            key: identity.key.clone(),
            aud: AUDIENCE.to_owned(),
            exp: until / 1000,
        };
        let cookie = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signs)
            .map_err(|error| {
                Refusal::new(RefusalCode::Internal, format!("the login cannot be signed: {error}"))
            })?;
        Ok((cookie, Timestamp::from_millis(until)))
    }

    pub(super) fn read(&self, cookie: &str, keyring: &Keyring) -> Result<Identity, Refusal> {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[AUDIENCE]);
        rules.leeway = 0;
        let claims = jsonwebtoken::decode::<Claims>(cookie, &self.reads, &rules)
            .map_err(|_| unauthorized("the login has ended; log in again"))?
            .claims;
        let until = Some(Timestamp::from_millis(claims.exp.saturating_mul(1000)));
        let Some(id) = claims.key else {
            return Ok(Identity {
                user: claims.sub,
                scopes: claims.scopes,
                key: None,
                until,
                revoked: CancellationToken::new(),
            });
        };
        let identity = keyring.by_id(&id)?.ok_or_else(|| {
            unauthorized("the key of this login was revoked; log in with another one")
        })?;
        Ok(Identity { until: identity.until.min(until).or(until), ..identity })
    }
}
