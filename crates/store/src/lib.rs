//! Thoughtwire's durable side: session logs, agents, their memory, and the older wires' clients, in
//! one `SQLite` file with one writer that shares each wait for the disk among all who write.
//!
//! ```
//! use thoughtwire_proto::{AgentSpec, Seq, Timestamp};
//! use thoughtwire_store::{NewAgent, Store};
//! # let dir = tempfile::tempdir()?;
//! let now = Timestamp::from_millis(0);
//! let store = Store::open(dir.path(), now)?;
//! let ada = store
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
//!     .wait()?;
//! let session = store.session(&ada.main_session)?.expect("was just made");
//! assert_eq!(store.events(session.num, Seq::ZERO, 10)?.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It refuses to know sockets, dialects, and JSON beyond the record format. Reads are short and
//! block; writes are queued and answered by a [`Commit`].

mod agents;
mod archive;
mod backup;
mod chats;
mod clock;
mod data_file;
mod erasing;
mod error;
mod keys;
mod known;
mod log;
mod memory;
mod metrics;
mod peers;
mod reader;
mod recall;
mod receipts;
mod recovery;
mod retention;
mod saving;
mod schema;
mod script;
mod store;
mod types;
mod writer;

pub use backup::Contents;
pub use chats::{OpenedChat, StoredChat};
pub use error::StoreError;
pub use known::Known;
pub use metrics::Metrics;
pub use retention::{Overlong, Retention};
pub use store::Store;
pub use thoughtwire_proto::{Key, KeyId, Scope};
pub use types::{
    Added, Append, Block, BlockEdit, LogPage, NewAgent, NewNote, NewSession, Note, OpenItem,
    OpenedPeer, Page, Proven, Recalled, Receipt, SessionFilter, SessionNum, StoredSession,
};
pub use writer::{Commit, Pen, Written};
