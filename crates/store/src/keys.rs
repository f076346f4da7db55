//! Keys: credentials by their digests, and the data directory's own secrets.

use serde::{Deserialize, Serialize};
use thoughtwire_proto::{Id, Timestamp, UserId};

use crate::{Commit, StoreRead};

/// The keys of all users. Only digests of the credentials are stored.
pub trait KeyStore: Send + Sync {
    /// Adds a key under the digest of its credential.
    fn add(&self, key: Key, digest: String) -> Commit<()>;

    /// Deletes a key. Resolves to whether it existed.
    fn delete(&self, id: &KeyId) -> Commit<bool>;

    /// Lists all keys with their digests, oldest first.
    fn list(&self) -> StoreRead<Vec<(String, Key)>>;

    /// Gets a secret of the data directory. The first call saves `fresh`; later ones get the same.
    fn secret(&self, name: &'static str, fresh: Vec<u8>) -> Commit<Vec<u8>>;

    /// Replaces a secret of the data directory. Signatures made with the old one become void.
    fn replace_secret(&self, name: &'static str, fresh: Vec<u8>) -> Commit<()>;
}

/// Tells [`KeyId`] from other ids.
#[derive(Debug)]
pub enum KeyKind {}

/// Id of a key, for listing and revoking it. It is no credential.
pub type KeyId = Id<KeyKind>;

/// A permission of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Talk: sessions, their events, inputs and approvals.
    Chat,
    /// Make, edit and delete agents, and what they remember.
    Agents,
    /// Run agents' turns, as a program outside.
    Offer,
    /// Keys, figures and backups; it includes the others.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Chat, Self::Agents, Self::Offer, Self::Admin];

    /// Its name in flags and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Agents => "agents",
            Self::Offer => "offer",
            Self::Admin => "admin",
        }
    }
}

/// A key without its credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// The user it belongs to.
    pub user: UserId,
    /// Its name, given by its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its permissions.
    pub scopes: Vec<Scope>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}
