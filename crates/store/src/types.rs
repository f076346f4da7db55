//! What goes into the store and comes out of it.

use thoughtwire_proto::{
    AgentId, AgentSpec, CallId, CommandId, Epoch, HistoryEntry, ItemId, PeerRef, Record, Seq,
    SessionId, State, StreamKind, Timestamp, TurnId, UserId,
};

/// A session's small number in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionNum(pub(crate) i64);

/// Records for the end of a session's log, all or none, with what belongs to them.
#[derive(Debug)]
pub struct Append {
    /// The session.
    pub session: SessionNum,
    /// The head that the records follow.
    pub after: Seq,
    /// The records, numbered from `after` on.
    pub records: Vec<Record>,
    /// The state that results.
    pub state: State,
    /// The receipt of the command that caused them.
    pub receipt: Option<Receipt>,
    /// A memory block that changes with them.
    pub block: Option<BlockEdit>,
    /// The whole of a call's output, where its event has a part.
    pub output: Option<(CallId, String)>,
    /// What the model's provider wants back with the calls that the records begin with, as JSON.
    /// Only the agent reads it.
    pub kept: Option<String>,
    /// Items whose checkpoints go.
    pub closed_items: Vec<ItemId>,
}

/// That a command took effect, and what was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Whose command.
    pub user: UserId,
    /// The session it belongs to; none for commands without one.
    pub session: Option<SessionNum>,
    /// The client's id for it.
    pub id: CommandId,
    /// A digest of its content.
    pub digest: String,
    /// The answer, in the caller's own form.
    pub answer: String,
}

/// An open item's text so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenItem {
    /// The item.
    pub item: ItemId,
    /// Its turn.
    pub turn: TurnId,
    /// What kind of item.
    pub kind: StreamKind,
    /// The text.
    pub text: String,
}

/// What becomes of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEdit {
    /// The agent.
    pub agent: AgentId,
    /// The block's label.
    pub label: String,
    /// The block from now on; none takes it away.
    pub to: Option<Block>,
}

/// A core memory block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its label, such as `persona`.
    pub label: String,
    /// Its text.
    pub text: String,
    /// The most characters it may have.
    pub limit: usize,
    /// What it is for, as the model is told.
    pub description: String,
}

impl Block {
    /// Characters of a block that names no limit, as in MemGPT's defaults.
    pub const LIMIT: usize = 2000;
}

/// A session as stored.
#[derive(Debug, Clone)]
pub struct StoredSession {
    /// Its number in the file.
    pub num: SessionNum,
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// Its agent.
    pub agent: AgentId,
    /// Its log's lifetime.
    pub epoch: Epoch,
    /// Where the log begins.
    pub first: Seq,
    /// What the log adds up to.
    pub state: State,
    /// Whether it is its agent's main session.
    pub is_main: bool,
    /// When it was opened.
    pub created_at: Timestamp,
}

/// A session to open.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// Its agent.
    pub agent: AgentId,
    /// Its log's lifetime.
    pub epoch: Epoch,
    /// Its title.
    pub title: Option<String>,
    /// What it adds to the agent's persona.
    pub instructions: Option<String>,
    /// Words from before it.
    pub history: Vec<HistoryEntry>,
    /// The records of another log to go on from, behind `session_opened`.
    pub records: Vec<Record>,
    /// When.
    pub at: Timestamp,
    /// The receipt of the command that asked for it.
    pub receipt: Option<Receipt>,
}

/// An agent to make, with its main session.
#[derive(Debug, Clone)]
pub struct NewAgent {
    /// Its id.
    pub id: AgentId,
    /// Whose it is.
    pub user: UserId,
    /// What it is made of.
    pub spec: AgentSpec,
    /// Its main session's id.
    pub main_session: SessionId,
    /// The main session's log's lifetime.
    pub epoch: Epoch,
    /// Its blocks, where they are more than `persona` and `human` of the spec.
    pub blocks: Vec<Block>,
    /// Sessions that it is made with; the first is its main one, whatever its id says.
    pub sessions: Vec<NewSession>,
    /// When.
    pub at: Timestamp,
    /// The receipt of the command that asked for it.
    pub receipt: Option<Receipt>,
}

/// A page of a log: see [`Store::log_page`](crate::Store::log_page).
#[derive(Debug, Clone, PartialEq)]
pub struct LogPage {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Whether the page will never have more.
    pub is_whole: bool,
}

/// Which sessions to list.
#[derive(Debug, Default, Clone)]
pub struct SessionFilter {
    /// Only this one.
    pub id: Option<SessionId>,
    /// Only this agent's.
    pub agent: Option<AgentId>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// A page of ranked results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The page.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: usize,
}

/// A note in archival memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its number.
    pub id: i64,
    /// When it was made.
    pub at: Timestamp,
    /// Its text.
    pub text: String,
    /// Where it was imported from, such as a file's name.
    pub source: Option<String>,
}

/// A note to add.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNote {
    /// Its text.
    pub text: String,
    /// When it was made.
    pub at: Timestamp,
    /// Where it is from, if it is imported: the same text is then taken only once.
    pub source: Option<String>,
    /// The vector of its meaning, with the model's name.
    pub vector: Option<(String, Vec<f32>)>,
}

/// What became of notes that were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// New ones.
    pub added: usize,
    /// Those that were there already.
    pub duplicates: usize,
}

/// Something said, found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// In which session.
    pub session: SessionId,
    /// Where.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// `user` or `assistant`.
    pub role: String,
    /// The words.
    pub text: String,
}

/// An older wire's client, found or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedPeer {
    /// Never seen before.
    pub is_new: bool,
    /// Its chats, as name and session.
    pub chats: Vec<(String, SessionId)>,
    /// The chat it selected last.
    pub selected: Option<String>,
}

/// How far a connection has proven to have read.
#[derive(Debug, Clone)]
pub struct Proven {
    /// Whose connection.
    pub user: UserId,
    /// The peer it is of.
    pub peer: PeerRef,
    /// The connection's name among the peer's.
    pub connection: String,
    /// The session.
    pub session: SessionId,
    /// The position.
    pub seq: Seq,
}
