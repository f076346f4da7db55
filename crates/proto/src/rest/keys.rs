//! Keys, tickets and logins.

use serde::{Deserialize, Serialize};

use crate::{Key, Scope, Timestamp, UserId};

/// Whether a server asks for keys.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// Every connection is the user `local`.
    None,
    /// Every connection needs a key.
    Keys,
}

/// A key to make.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// The user whose key it is; absent for the server's owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The owner's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Permissions; absent for `chat`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<Scope>>"))]
    pub scopes: Vec<Scope>,
    /// Seconds until it expires; absent for a key without an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
}

/// A key that was made.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCreated {
    /// The key.
    pub key: Key,
    /// The credential. It is shown only once.
    pub secret: String,
}

/// The server's keys.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// Keys, oldest first.
    pub keys: Vec<Key>,
}

/// The caller of a request.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerInfo {
    /// User.
    pub user: UserId,
    /// Permissions.
    pub scopes: Vec<Scope>,
    /// Time at which the credential expires; null if it does not.
    pub expires_at: Option<Timestamp>,
    /// Whether this server asks for keys.
    pub auth: Auth,
}

/// A ticket that was made.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketCreated {
    /// The credential, for one connection.
    pub ticket: String,
    /// Seconds until it expires.
    pub expires_in_seconds: u64,
}

/// A key to exchange for a cookie.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLogin {
    /// The key's secret.
    pub key: String,
}

/// A login. Its credential is in the answer's cookie.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginAnswer {
    /// User.
    pub user: UserId,
    /// Permissions.
    pub scopes: Vec<Scope>,
    /// Time at which the login expires.
    pub expires_at: Timestamp,
}
