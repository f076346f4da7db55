//! Facts about a PostgreSQL database.

use crate::Contents;

/// Facts about a database that decide whether data is safe in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// Version of PostgreSQL.
    pub version: String,
    /// Whether that version is new enough.
    pub is_supported: bool,
    /// The setting `synchronous_commit`: when a commit counts as saved.
    pub synchronous_commit: String,
    /// The setting `fsync`: whether the database waits for its disk at all.
    pub fsync: bool,
    /// Encoding of texts.
    pub encoding: String,
    /// Milliseconds by which the database's clock is ahead of this machine's; below 0 if behind.
    pub clock_ahead_ms: i64,
    /// Number of migrations that the database has had; 0 if it has no data yet.
    pub schema: i64,
    /// Number of migrations that this version knows.
    pub known_schema: i64,
    /// Whether a pooler in transaction mode is between this machine and the database.
    pub is_pooled: bool,
    /// The contents, if there is data.
    pub contents: Option<Contents>,
}
