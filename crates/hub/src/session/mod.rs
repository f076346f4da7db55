//! A live session: one task that drives its core, and the mail that reaches it.
//!
//! ```text
//! connections ──mail (64)──▶ ┌────────┐ ──appends──▶ store's writer
//! agent ────messages (64)──▶ │ driver │ ◀──commits── (at most 256 under way)
//!                            └────────┘ ──publish──▶ tail ──▶ subscribers
//! ```
//!
//! The driver owns no decisions: it turns what it receives into inputs of
//! [`SessionCore`](thoughtwire_session::SessionCore), and the core's effects into calls of the
//! store, the tail and the agent. It never waits for the store in its loop: reads and deletions run
//! beside it as jobs, whose results come back as inputs.

mod attach;
mod driver;
mod effects;
mod host;
mod jobs;
mod live_turn;
mod mail;
mod peer_position;
mod storage;

pub(crate) use attach::LogView;
pub(crate) use driver::{LiveEnd, SessionDriver};
pub(crate) use host::DriverHost;
pub(crate) use mail::{AttachRequest, MailUser, SessionMail};
pub(crate) use peer_position::PeerPosition;
pub(crate) use storage::{NotLoaded, SessionStorage};

/// Mail that may wait for one session: a few rounds of a busy room of clients.
pub(crate) const MAILBOX: usize = 64;
/// Messages of an agent that may wait: it is slowed to the store's pace beyond that.
const TURN_MESSAGES: usize = 64;
