//! A process among those that share a database.

/// A process that opens a database, as the other nodes know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its id. A process that opens the database under the id of an earlier one replaces it.
    pub id: String,
    /// The address under which other nodes reach it, if they can.
    pub url: Option<String>,
}
