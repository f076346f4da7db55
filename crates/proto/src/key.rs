//! Keys: credentials of a server's users, and what each permits.

use serde::{Deserialize, Serialize};

use crate::{Id, Timestamp, UserId};

/// The kind of a [`KeyId`].
#[derive(Debug)]
pub enum KeyKind {}

/// A key's id, by which it is listed and revoked. It is no credential.
pub type KeyId = Id<KeyKind>;

/// A permission of a key. `admin` includes the others.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Sessions, their events, inputs and approvals.
    Chat,
    /// Agents and their memory: create, edit and delete.
    Agents,
    /// Running the turns of agents, as a worker.
    Offer,
    /// Keys, metrics and backups.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Chat, Self::Agents, Self::Offer, Self::Admin];

    /// Name in flags and on the wire.
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

/// A key without its secret.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Identifier.
    pub id: KeyId,
    /// The user whose key it is.
    pub user: UserId,
    /// The owner's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Permissions.
    pub scopes: Vec<Scope>,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time from which it is refused; absent for a key without an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}
