//! The keys that open, in memory: a look-up takes no disk, and a revocation is known at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::RwLock;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use thoughtwire_hub::new_id;
use thoughtwire_proto::{Refusal, RefusalCode, Timestamp, UserId};
use thoughtwire_store::{Key, KeyId, Scope, Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::key_clock::{KeyClock, MARK};
use super::{Identity, random, reserved, unauthorized};

/// What a key begins with, so that people and scanners know one when they see it.
const PREFIX: &str = "twk_";
/// How often the time is saved while a key may expire, in milliseconds.
const SAVE_EVERY_MS: i64 = 60_000;
/// The most seconds that a key with an end lasts: a hundred years.
const LONGEST: u64 = 100 * 365 * 86_400;
/// The most keys there may be.
const MOST: usize = 100_000;

/// A key to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// Whose; the owner's if left out.
    pub(crate) user: Option<String>,
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) scopes: Vec<Scope>,
    pub(crate) expires_in_seconds: Option<u64>,
}

#[derive(Clone)]
pub(crate) struct Keyring {
    store: Arc<Store>,
    /// By digest.
    keys: Arc<RwLock<HashMap<String, Held>>>,
    clock: KeyClock,
    /// The time that was last saved, in milliseconds since 1970.
    saved: Arc<AtomicI64>,
}

struct Held {
    key: Key,
    revoked: CancellationToken,
}

impl Keyring {
    pub(super) async fn open(store: Arc<Store>) -> Result<Self, StoreError> {
        let rows = store.keys().list().await?;
        let mark = store.upkeep().clock(MARK).await?;
        let keys = rows
            .into_iter()
            .map(|(digest, key)| (digest, Held { key, revoked: CancellationToken::new() }))
            .collect();
        Ok(Self {
            store,
            keys: Arc::new(RwLock::new(keys)),
            clock: KeyClock::from(mark),
            saved: Arc::new(AtomicI64::new(mark.map_or(i64::MIN, Timestamp::as_millis))),
        })
    }

    pub(super) fn clock(&self) -> &KeyClock {
        &self.clock
    }

    /// Saves how late it is, at least every minute and whenever a key has expired since, so that it
    /// stays so when the clock is set back and the server starts anew. Does nothing while no key expires.
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

    /// Makes a key. Gives it with what opens, which is shown this once and kept nowhere.
    pub(crate) async fn add(&self, local: &UserId, new: NewKey) -> Result<(Key, String), Refusal> {
        let user = match new.user {
            Some(user) if reserved(&user) => {
                return Err(bad(
                    "a user's name does not begin with `~` or `sparky:`: the server itself makes such names",
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
        self.store.keys().add(key.clone(), digest.clone()).await?;
        let held = Held { key: key.clone(), revoked: CancellationToken::new() };
        self.keys.write().insert(digest, held);
        Ok((key, opens))
    }

    /// All keys, oldest first.
    pub(crate) fn list(&self) -> Vec<Key> {
        let keys = self.keys.read();
        let mut all: Vec<Key> = keys.values().map(|held| held.key.clone()).collect();
        all.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        all
    }

    /// Revokes a key: from here on it opens nothing, and who came in with it is shown out.
    pub(crate) async fn revoke(&self, id: &KeyId) -> Result<(), Refusal> {
        let held = {
            let mut keys = self.keys.write();
            let found =
                keys.iter().find(|(_, held)| held.key.id == *id).map(|(digest, _)| digest.clone());
            found.and_then(|digest| keys.remove_entry(&digest))
        };
        let Some((digest, held)) = held else {
            return Err(Refusal::new(
                RefusalCode::UnknownKey,
                format!("there is no key {id}; `thoughtwire keys list` shows those there are"),
            ));
        };
        if let Err(error) = self.store.keys().delete(id).await {
            // What is not revoked on disk would be back at the next start: better it is still seen to be there.
            self.keys.write().insert(digest, held);
            return Err(Refusal::from(&error));
        }
        held.revoked.cancel();
        Ok(())
    }

    /// Who a key is; nothing for what is none of ours.
    pub(super) fn find(&self, opens: &str) -> Result<Option<Identity>, Refusal> {
        if !opens.starts_with(PREFIX) {
            return Ok(None);
        }
        // Looked up by its digest: how long that takes says nothing about the key.
        let keys = self.keys.read();
        keys.get(&digest(opens)).map(|held| self.identity(held)).transpose()
    }

    /// Who came in with a key, by its id.
    pub(super) fn by_id(&self, id: &KeyId) -> Result<Option<Identity>, Refusal> {
        let keys = self.keys.read();
        keys.values().find(|held| held.key.id == *id).map(|held| self.identity(held)).transpose()
    }

    fn identity(&self, held: &Held) -> Result<Identity, Refusal> {
        let Held { key, revoked } = held;
        if key.expires_at.is_some_and(|at| at <= self.clock.now()) {
            return Err(unauthorized("the key has expired; ask for another one"));
        }
        // Told by the wall clock, as everybody else has it.
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

fn digest(opens: &str) -> String {
    format!("{:x}", Sha256::digest(opens))
}

fn bad(reason: &str) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, reason)
}
