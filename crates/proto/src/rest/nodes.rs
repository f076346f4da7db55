//! Nodes: servers that share a database.

use serde::{Deserialize, Serialize};

/// The nodes of a store.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeList {
    /// Whether other nodes can share the data. A data directory has one node, which is not listed.
    pub shared: bool,
    /// Nodes with a lease, and those that were declared dead in the last hour, oldest first.
    pub nodes: Vec<NodeInfo>,
}

/// A server, or a command of the owner, that has the database open.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Id, which a restart on the same data directory keeps.
    pub id: String,
    /// Number of this process among all that ever opened the database.
    pub incarnation: u64,
    /// State: `live`, or `dead` once another node has declared it dead. Newer versions may have
    /// others.
    pub state: String,
    /// Address under which other nodes reach it; null if it has none.
    pub url: Option<String>,
    /// Version of Thoughtwire.
    pub version: String,
    /// Seconds until its lease ends, by the database's clock; below 0 if it has ended.
    pub lease_seconds: f64,
    /// Number of sessions that it owns.
    pub sessions: u64,
    /// Whether it is the node that answers.
    pub answers: bool,
}
