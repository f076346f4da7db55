//! Logins of pages: a key is exchanged for a cookie that no script can read.
//!
//! The cookie names its user and is signed with a secret of the data directory, so it is valid
//! after a restart. Its key is looked up each time, so the login ends with the key. Backups do not
//! contain the secret, and a new secret ends all logins.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thoughtwire_proto::{Refusal, RefusalCode, Timestamp, UserId};
use thoughtwire_store::{KeyId, Scope, Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::key_clock::KeyClock;
use super::{Identity, Keyring, unauthorized};

/// Duration of a login.
pub(crate) const LASTS: Duration = Duration::from_secs(12 * 3600);
const AUDIENCE: &str = "thoughtwire-page";
/// Name of the secret in the store.
const SECRET: &str = "login";

#[derive(Clone)]
pub(crate) struct Login {
    signer: Arc<Mutex<Signer>>,
    /// Held while the secret changes in the store and here.
    changing: Arc<tokio::sync::Mutex<()>>,
    clock: KeyClock,
}

/// The current secret, and the logins that it signed.
struct Signer {
    secret: Vec<u8>,
    signs: Arc<EncodingKey>,
    reads: Arc<DecodingKey>,
    /// Tokens that are cancelled when the secret is replaced, by key; one is for cookies without a
    /// key.
    logins: HashMap<Option<KeyId>, CancellationToken>,
}

impl Signer {
    fn new(secret: Vec<u8>) -> Self {
        Self {
            signs: Arc::new(EncodingKey::from_secret(&secret)),
            reads: Arc::new(DecodingKey::from_secret(&secret)),
            secret,
            logins: HashMap::new(),
        }
    }

    fn identity(&mut self, caller: KnownCaller, keyring: &Keyring) -> Result<Identity, Refusal> {
        let KnownCaller { user, scopes, key, until } = caller;
        let Some(id) = key else {
            let revoked = self.logins.entry(None).or_default().clone();
            return Ok(Identity { user, scopes, key: None, until, revoked });
        };
        let identity = keyring.by_id(&id)?.ok_or_else(|| {
            unauthorized("the key of this login was revoked; log in with another one")
        })?;
        // The login ends with its key, and with the secret.
        let login = self.logins.entry(Some(id)).or_insert_with(|| identity.revoked.child_token());
        let revoked = login.clone();
        Ok(Identity { until: identity.until.min(until).or(until), revoked, ..identity })
    }
}

/// A caller as it was known before. Its key may have been revoked since.
#[derive(Serialize, Deserialize)]
pub(super) struct KnownCaller {
    user: UserId,
    scopes: Vec<Scope>,
    key: Option<KeyId>,
    /// End of its credential by the wall clock.
    until: Option<Timestamp>,
}

impl From<&Identity> for KnownCaller {
    fn from(identity: &Identity) -> Self {
        let Identity { user, scopes, key, until, .. } = identity.clone();
        Self { user, scopes, key, until }
    }
}

#[derive(Serialize, Deserialize)]
struct CookieClaims {
    sub: UserId,
    scopes: Vec<Scope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<KeyId>,
    aud: String,
    /// Seconds since 1970.
    exp: i64,
}

impl Login {
    pub(super) async fn open(store: &Store, clock: KeyClock) -> Result<Self, StoreError> {
        let secret = store.keys().secret(SECRET, fresh().map_err(StoreError::Io)?).await?;
        let signer = Arc::new(Mutex::new(Signer::new(secret)));
        Ok(Self { signer, changing: Arc::default(), clock })
    }

    /// Replaces the secret: earlier cookies are refused, and connections that use one are closed.
    ///
    /// # Errors
    /// When the new secret cannot be saved; then the old one stays.
    pub(super) async fn rotate(&self, store: &Store) -> Result<(), Refusal> {
        let secret = fresh().map_err(|reason| Refusal::new(RefusalCode::Internal, reason))?;
        let _turn = self.changing.lock().await;
        store.keys().replace_secret(SECRET, secret.clone()).await?;
        self.replace(secret);
        Ok(())
    }

    /// Takes over a secret that another node has replaced.
    pub(super) async fn reload(&self, store: &Store) -> Result<(), StoreError> {
        let _turn = self.changing.lock().await;
        let secret = store.keys().secret(SECRET, fresh().map_err(StoreError::Io)?).await?;
        let is_new = self.signer.lock().secret != secret;
        if is_new {
            self.replace(secret);
        }
        Ok(())
    }

    fn replace(&self, secret: Vec<u8>) {
        let before = std::mem::replace(&mut *self.signer.lock(), Signer::new(secret));
        before.logins.values().for_each(CancellationToken::cancel);
    }

    /// Writes a cookie for the owner of a key.
    pub(crate) fn write(&self, identity: &Identity) -> Result<(String, Timestamp), Refusal> {
        let ahead = self.clock.ahead_ms();
        let lasts = i64::try_from(LASTS.as_millis()).unwrap_or(i64::MAX);
        let most = self.clock.now().as_millis().saturating_add(lasts);
        // The identity's end is by the wall clock, the cookie's by the clock of keys.
        let until =
            identity.until.map_or(most, |until| until.as_millis().saturating_add(ahead).min(most));
        let claims = CookieClaims {
            sub: identity.user.clone(),
            scopes: identity.scopes.clone(),
            key: identity.key.clone(),
            aud: AUDIENCE.to_owned(),
            exp: until.div_euclid(1000),
        };
        let signs = {
            let signer = self.signer.lock();
            Arc::clone(&signer.signs)
        };
        let cookie = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &signs)
            .map_err(|error| {
                Refusal::new(RefusalCode::Internal, format!("the login cannot be signed: {error}"))
            })?;
        Ok((cookie, Timestamp::from_millis(until.saturating_sub(ahead))))
    }

    pub(super) fn read(&self, cookie: &str, keyring: &Keyring) -> Result<Identity, Refusal> {
        let ended = || unauthorized("the login has ended; log in again");
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[AUDIENCE]);
        // The library uses the wall clock, which may be set back, and panics before 1970.
        rules.validate_exp = false;
        let mut signer = self.signer.lock();
        let claims = jsonwebtoken::decode::<CookieClaims>(cookie, &signer.reads, &rules)
            .map_err(|_| ended())?
            .claims;
        let until = claims.exp.saturating_mul(1000);
        if until <= self.clock.now().as_millis() {
            return Err(ended());
        }
        let until = Some(Timestamp::from_millis(until.saturating_sub(self.clock.ahead_ms())));
        let CookieClaims { sub: user, scopes, key, .. } = claims;
        signer.identity(KnownCaller { user, scopes, key, until }, keyring)
    }

    /// Returns the identity of a caller that was known before, as a login of it would.
    pub(super) fn recall(
        &self,
        caller: KnownCaller,
        keyring: &Keyring,
    ) -> Result<Identity, Refusal> {
        self.signer.lock().identity(caller, keyring)
    }
}

/// Returns 32 random bytes.
fn fresh() -> Result<Vec<u8>, String> {
    let mut fresh = vec![0; 32];
    getrandom::fill(&mut fresh)
        .map_err(|error| format!("the system gives no random numbers: {error}"))?;
    Ok(fresh)
}
