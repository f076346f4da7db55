//! Durable data: session logs, the directory of agents and sessions, agents' memory, clients of the
//! older wires, and keys.
//!
//! [`Store`] hands it out by noun; everything is asynchronous. Its backend is one SQLite file, or a
//! PostgreSQL database, with one writer that shares each wait for the disk among all writes (group
//! commit). Tests and the simulation use [`RamDisk`], a backend in memory with injected faults.
//!
//! ```
//! use thoughtwire_proto::{AgentSpec, Seq, Timestamp};
//! use thoughtwire_store::{NewAgent, Store};
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! # let dir = tempfile::tempdir()?;
//! let now = Timestamp::from_millis(0);
//! let store = Store::open(dir.path(), now)?;
//! let ada = store
//!     .directory()
//!     .create_agent(NewAgent {
//!         id: "a-1".parse()?,
//!         user: "local".parse()?,
//!         spec: AgentSpec { name: "ada".into(), ..AgentSpec::default() },
//!         main_session: "s-1".parse()?,
//!         epoch: "e-1".parse()?,
//!         blocks: vec![],
//!         notes: vec![],
//!         sessions: vec![],
//!         at: now,
//!         receipt: None,
//!     })
//!     .await?;
//! let records = store.logs().records_after(&ada.main_session, Seq::ZERO, 10).await?;
//! assert_eq!(records.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate must not know sockets, dialects, or JSON beyond the record format. Writes take effect
//! in the order of the calls, and each is answered by a [`Commit`]. A read is a [`StoreRead`].

mod batch;
mod changes;
mod commit;
mod database;
mod directory;
mod error;
mod keys;
mod logs;
mod memory;
mod metrics;
mod moving;
mod node;
mod opening;
mod peers;
mod postgres;
mod ram;
mod recovery;
mod searching;
mod shares;
mod sqlite;
mod store;
mod tickets;
mod upkeep;

pub use batch::{Batch, BatchError, BatchExtras, BlockEdit, Receipt};
pub use changes::{StoreChange, StoreChanges};
pub use commit::Commit;
pub use database::DatabaseFacts;
pub use directory::{
    DirectoryStore, NewAgent, NewSession, PreviousOwner, SessionFilter, StoredSession,
};
pub use error::StoreError;
pub use keys::KeyStore;
pub use logs::{LogPage, LogStore, OpenItem};
pub use memory::{
    Added, Block, MemoryStore, MemorySummary, NewNote, Note, Page, Recalled, SearchMarks,
    SearchedTexts, StoredVector, UnembeddedTexts,
};
pub use metrics::StoreMetrics;
pub use node::{NodeIdentity, StoredNode};
pub use peers::{ChatOpening, PeerOpening, PeerStore, Proven, StoredChat};
pub use ram::{BrokenTable, CommittedWrites, RamDisk, RamDriver, WriteFault};
pub use searching::{MemoryHit, MemoryQuery, MemorySearch, QueryMeaning, WhyFound};
pub use sqlite::Contents;
pub use store::{Store, StoreRead};
pub use thoughtwire_proto::{Key, KeyId, Scope};
pub use tickets::NewTicket;
pub use upkeep::{Overlong, Retention, UpkeepStore};
