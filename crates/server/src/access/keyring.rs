//! The valid keys in memory: a look-up reads no disk, and a revocation takes effect at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};
use thoughtwire_hub::new_id;
use thoughtwire_proto::rest::NewKey;
use thoughtwire_proto::{Refusal, RefusalCode, Timestamp, UserId};
use thoughtwire_store::{Key, KeyId, Scope, Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::key_clock::{KeyClock, MARK};
use super::{Identity, random, reserved, unauthorized};

/// Prefix of every key, by which people and secret scanners recognise one.
const PREFIX: &str = "twk_";
/// Interval at which the time is saved while a key may expire, in milliseconds.
const SAVE_EVERY_MS: i64 = 60_000;
/// Longest life of a key that expires, in seconds: a hundred years.
const LONGEST: u64 = 100 * 365 * 86_400;
/// Most keys of a server.
const MOST: usize = 100_000;

#[derive(Clone)]
pub(crate) struct Keyring {
    store: Arc<Store>,
    /// Keys by their digests.
    keys: Arc<RwLock<HashMap<String, HeldKey>>>,
    /// Held while keys change in the store and here, so that no reading brings an old one back.
    changing: Arc<tokio::sync::Mutex<()>>,
    clock: KeyClock,
    /// Time that was last saved, in milliseconds since 1970.
    saved: Arc<AtomicI64>,
}

struct HeldKey {
    key: Key,
    revoked: CancellationToken,
}

impl HeldKey {
    fn new(key: Key) -> Self {
        Self { key, revoked: CancellationToken::new() }
    }
}

impl Keyring {
    pub(super) async fn open(store: Arc<Store>) -> Result<Self, StoreError> {
        let rows = store.keys().list().await?;
        let mark = store.upkeep().clock(MARK).await?;
        let keys = rows.into_iter().map(|(digest, key)| (digest, HeldKey::new(key))).collect();
        Ok(Self {
            store,
            keys: Arc::new(RwLock::new(keys)),
            changing: Arc::default(),
            clock: KeyClock::from(mark),
            saved: Arc::new(AtomicI64::new(mark.map_or(i64::MIN, Timestamp::as_millis))),
        })
    }

    pub(super) fn clock(&self) -> &KeyClock {
        &self.clock
    }

    /// Saves the time, so that expired keys stay expired across a restart with a clock set back.
    ///
    /// Saves every minute and whenever a key has expired since. Does nothing while no key expires.
    pub(crate) async fn save_clock(&self) {
        let (now, saved) = (self.clock.now().as_millis(), self.saved.load(Ordering::Relaxed));
        let is_due = {
            let keys = self.keys.read();
            let mut ends = keys.values().filter_map(|held| held.key.expires_at);
            ends.any(|end| {
                let end = end.as_millis();
                let has_ended = saved < end && end <= now;
                has_ended || end > now && now >= saved.saturating_add(SAVE_EVERY_MS)
            })
        };
        if !is_due {
            return;
        }
        match self.store.upkeep().set_clocks(vec![(MARK, Timestamp::from_millis(now))]).await {
            Ok(()) => drop(self.saved.fetch_max(now, Ordering::Relaxed)),
            Err(error) => {
                tracing::debug!(%error, "the time of keys could not be saved; it is tried again");
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.read().is_empty()
    }

    /// Makes a key. Returns it with its secret, which is shown only once and stored nowhere.
    pub(crate) async fn add(&self, local: &UserId, new: NewKey) -> Result<(Key, String), Refusal> {
        let user = match new.user {
            Some(user) if reserved(&user) => {
                return Err(bad(
                    "a user's name does not begin with `~` or `sparky:`: the server itself makes \
                     such names",
                ));
            }
            Some(user) => UserId::new(user).map_err(|error| bad(&format!("user: {error}")))?,
            None => local.clone(),
        };
        let at = self.clock.now();
        let expires_at = match new.expires_in_seconds {
            Some(0) => return Err(bad("a key that expires at once opens nothing")),
            Some(seconds) if seconds > LONGEST => {
                return Err(bad(&format!(
                    "`expires_in_seconds` is {seconds}; the most is {LONGEST}; leave it out for a \
                     key without an end"
                )));
            }
            Some(seconds) => {
                let millis =
                    i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1000));
                Some(Timestamp::from_millis(
                    millis.map_or(i64::MAX, |millis| at.as_millis().saturating_add(millis)),
                ))
            }
            None => None,
        };
        if self.keys.read().len() >= MOST {
            return Err(bad("there are as many keys as there may be; revoke some"));
        }
        let mut scopes = if new.scopes.is_empty() { vec![Scope::Chat] } else { new.scopes };
        scopes.sort_unstable();
        scopes.dedup();
        let key = Key {
            id: new_id(),
            user,
            name: new.name.filter(|name| !name.is_empty()),
            scopes,
            created_at: at,
            expires_at,
        };
        let opens = format!("{PREFIX}{}", random()?);
        let digest = digest(&opens);
        let _turn = self.changing.lock().await;
        self.store.keys().add(key.clone(), digest.clone()).await?;
        self.keys.write().insert(digest, HeldKey::new(key.clone()));
        Ok((key, opens))
    }

    /// All keys, oldest first.
    pub(crate) fn list(&self) -> Vec<Key> {
        let keys = self.keys.read();
        let mut all: Vec<Key> = keys.values().map(|held| held.key.clone()).collect();
        all.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        all
    }

    /// Revokes a key: it is refused from now on, and connections that use it are closed.
    pub(crate) async fn revoke(&self, id: &KeyId) -> Result<(), Refusal> {
        let _turn = self.changing.lock().await;
        let mut held = self.take(id);
        if held.is_none() {
            // Another node may have just added it.
            self.read_again().await?;
            held = self.take(id);
        }
        let Some((digest, held)) = held else {
            return Err(Refusal::new(
                RefusalCode::UnknownKey,
                format!("there is no key {id}; `thoughtwire keys list` shows those there are"),
            ));
        };
        if let Err(error) = self.store.keys().delete(id).await {
            // The key would be valid again after a restart, so it must stay in the list.
            self.keys.write().insert(digest, held);
            return Err(Refusal::from(&error));
        }
        held.revoked.cancel();
        Ok(())
    }

    /// Takes a key out, with its digest.
    fn take(&self, id: &KeyId) -> Option<(String, HeldKey)> {
        let mut keys = self.keys.write();
        let found = keys.iter().find(|(_, held)| held.key.id == *id);
        let digest = found.map(|(digest, _)| digest.clone())?;
        keys.remove_entry(&digest)
    }

    /// Takes over what other nodes have added and revoked. Connections that use a revoked key are
    /// closed.
    pub(super) async fn reload(&self) -> Result<(), StoreError> {
        let _turn = self.changing.lock().await;
        self.read_again().await
    }

    async fn read_again(&self) -> Result<(), StoreError> {
        let stored: HashMap<_, _> = self.store.keys().list().await?.into_iter().collect();
        let mut keys = self.keys.write();
        keys.retain(|digest, held| {
            let is_valid = stored.contains_key(digest);
            if !is_valid {
                held.revoked.cancel();
            }
            is_valid
        });
        for (digest, key) in stored {
            keys.entry(digest).or_insert_with(|| HeldKey::new(key));
        }
        Ok(())
    }

    /// Returns the identity of a secret; `None` if no key has it.
    pub(super) fn find(&self, opens: &str) -> Result<Option<Identity>, Refusal> {
        if !opens.starts_with(PREFIX) {
            return Ok(None);
        }
        // The time of a look-up by digest reveals nothing about the key.
        let keys = self.keys.read();
        keys.get(&digest(opens)).map(|held| self.identity(held)).transpose()
    }

    /// Returns the identity of a key, by the key's id.
    pub(super) fn by_id(&self, id: &KeyId) -> Result<Option<Identity>, Refusal> {
        let keys = self.keys.read();
        keys.values().find(|held| held.key.id == *id).map(|held| self.identity(held)).transpose()
    }

    fn identity(&self, held: &HeldKey) -> Result<Identity, Refusal> {
        let HeldKey { key, revoked } = held;
        if key.expires_at.is_some_and(|at| at <= self.clock.now()) {
            return Err(unauthorized("the key has expired; ask for another one"));
        }
        // Callers compare it with the wall clock.
        let until = key
            .expires_at
            .map(|at| Timestamp::from_millis(at.as_millis().saturating_sub(self.clock.ahead_ms())));
        Ok(Identity {
            user: key.user.clone(),
            scopes: key.scopes.clone(),
            key: Some(key.id.clone()),
            until,
            revoked: revoked.clone(),
        })
    }
}

/// Digest under which a credential is stored.
pub(super) fn digest(opens: &str) -> String {
    format!("{:x}", Sha256::digest(opens))
}

fn bad(reason: &str) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, reason)
}
