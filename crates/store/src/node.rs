//! A process among those that share a database.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::StoreError;
use crate::sqlite::{DirLock, make_dir};

/// Name of the file with a node's id in its data directory.
const FILE: &str = "node";

/// Time for which a lease is given.
pub(crate) const LEASE: Duration = Duration::from_secs(5);

/// Time after the last renewal, by a node's own clock, at which it stops by itself: a second before
/// its lease ends.
pub(crate) const OWN_LIMIT: Duration = Duration::from_secs(4);

/// A node of a database, as the others see it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredNode {
    /// Id, which a restart on the same data directory keeps.
    pub id: String,
    /// Number of the process among all that ever opened the database.
    pub incarnation: u64,
    /// State: `live`, or `dead` once another node has declared it dead. A text, since a newer
    /// version on the same database may have more states.
    pub state: String,
    /// Address under which other nodes reach it, if they can.
    pub url: Option<String>,
    /// Version of Thoughtwire.
    pub version: String,
    /// Seconds until its lease ends, by the database's clock. Below 0 if it has ended.
    pub lease_seconds: f64,
    /// Number of sessions that it owns.
    pub sessions: u64,
    /// Whether it is the node of this store.
    pub is_own: bool,
}

/// A process that opens a database, as the other nodes know it. Cheap to clone.
#[derive(Clone)]
pub struct NodeIdentity {
    /// Its id. A process that opens the database under the id of an earlier one replaces it.
    pub(crate) id: String,
    /// The address under which other nodes reach it, if they can.
    pub(crate) url: Option<String>,
    /// Held for as long as the node lives.
    _lock: Option<Arc<DirLock>>,
}

impl NodeIdentity {
    /// A node with an id of the caller's choice, which no other process may use.
    #[must_use]
    pub fn new(id: impl Into<String>, url: Option<String>) -> Self {
        Self { id: id.into(), url, _lock: None }
    }

    /// Whether a directory is one of a node: then its data is in a database.
    #[must_use]
    pub fn is_in(dir: &Path) -> bool {
        dir.join(FILE).is_file()
    }

    /// The node of a data directory, which is locked. Its id is kept in a file there, so that a
    /// restart is known as the same node and waits for no lease.
    ///
    /// # Errors
    /// When another process has the directory, or it cannot be written.
    pub fn of_dir(dir: &Path, url: Option<String>) -> Result<Self, StoreError> {
        make_dir(dir)?;
        let lock = DirLock::of_dir(dir)?;
        let file = dir.join(FILE);
        let id = match fs::read_to_string(&file) {
            Ok(id) if !id.trim().is_empty() => id.trim().to_owned(),
            Ok(_) | Err(_) => {
                let id = uuid::Uuid::now_v7().to_string();
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true).mode(0o600);
                options.open(&file)?.write_all(id.as_bytes())?;
                id
            }
        };
        Ok(Self { id, url, _lock: Some(Arc::new(lock)) })
    }
}
