//! Inputs: what happens to a session.

use std::collections::HashMap;
use std::time::Duration;

use thoughtwire_proto::{
    Input, ItemId, Record, Refusal, RefusalCode, ResumeReason, SessionCommand, SessionId,
    SessionReply, State, TurnId,
};

use crate::host::Extras;
use crate::{AgentError, CoreReply, IdempotencyKey, SeenKeys, SessionHost, TurnVerb};

/// One thing that happens to a session.
pub enum SessionInput<H: SessionHost> {
    /// The session was loaded: goes on with what its log left open.
    Start,
    /// A request with a reply.
    Request(SessionRequest<H>),
    /// The agent's settings changed, which the host knows already.
    ProfileChanged,
    /// A claim for a permit was served; the host has the permit.
    PermitGiven,
    /// A message of the running turn's agent.
    Agent {
        /// The turn that the agent runs.
        turn: TurnId,
        /// The request.
        verb: TurnVerb<H::Messages>,
    },
    /// The agent's work ended. Its messages were handled before.
    AgentExited {
        /// The turn that the agent ran.
        turn: TurnId,
        /// How the work ended.
        exit: AgentExit,
    },
    /// The oldest batch under way is on disk.
    Saved,
    /// The oldest batch under way was not saved, or it is unknown whether it was; the refusal's
    /// code says which.
    SaveFailed(Refusal),
    /// A store that other processes share was lost in the middle of a write or of the agent's work.
    /// Everything under way is refused, and the session's life in memory ends: who has it next goes
    /// on as after a crash.
    StoreLost(Refusal),
    /// All texts of the checkpoint under way were saved, or some of them were not.
    CheckpointSettled(Result<(), Refusal>),
    /// Result of [`Effect::LookUpReceipt`](crate::Effect::LookUpReceipt): the answer for a
    /// repetition, or `None` if the command did not take effect before.
    ReceiptLookedUp(Result<Option<SessionReply>, Refusal>),
    /// Result of [`Effect::Reload`](crate::Effect::Reload); `None` if the session is gone.
    Reloaded(Result<Option<StoredState>, Refusal>),
    /// Result of [`Effect::Delete`](crate::Effect::Delete).
    Deleted(Result<(), Refusal>),
    /// The session was deleted together with its agent.
    Erased,
    /// A client came or left.
    PresenceChanged,
    /// Result of [`Effect::CountClients`](crate::Effect::CountClients).
    ClientsCounted(u64),
    /// The time of [`SessionCore::next_timeout`](crate::SessionCore::next_timeout) has come.
    TimePassed,
    /// The server stops: a turn that still runs at the deadline is ended.
    Stop {
        /// The deadline, in elapsed time.
        deadline: Duration,
    },
}

/// A request that may change the session. Requests take effect in the order in which they are
/// handed in.
pub enum SessionRequest<H: SessionHost> {
    /// A client's command.
    Command(CommandRequest<H>),
    /// The owner edited a memory block of the session's agent.
    EditBlock {
        /// The edit as the log has it.
        changed: BlockChanged,
        /// The block, which is committed with the event.
        extras: Extras<H>,
        /// Sender of the answer.
        reply: H::CommandSender,
    },
    /// A reader wants the text of open items on disk before it shows it. The answer comes when
    /// everything that was accepted before is.
    SaveOpenText {
        /// Sender of the answer.
        reply: H::CommandSender,
    },
    /// An embedder starts a turn that it runs itself.
    Begin {
        /// Text of the input.
        text: String,
        /// Sender of the turn's interface.
        reply: H::BeginSender,
    },
}

impl<H: SessionHost> SessionRequest<H> {
    /// The reply that refuses the request.
    pub fn refused(self, refusal: Refusal) -> CoreReply<H> {
        match self {
            Self::Command(CommandRequest { reply, .. })
            | Self::EditBlock { reply, .. }
            | Self::SaveOpenText { reply } => CoreReply::Command(reply, Err(refusal)),
            Self::Begin { reply, .. } => CoreReply::BeginRefused(reply, refusal),
        }
    }
}

/// A command with its idempotency key and the sender of its answer.
pub struct CommandRequest<H: SessionHost> {
    /// The command. A rename's title is normalised already.
    pub command: SessionCommand,
    /// Name of the client, where it gave one.
    pub from: Option<String>,
    /// The key, if the command carries one.
    pub key: Option<IdempotencyKey>,
    /// Sender of the answer.
    pub reply: H::CommandSender,
}

/// Edit of a memory block by the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockChanged {
    /// Label of the block.
    pub block: String,
    /// Text before the edit.
    pub before: String,
    /// Text after the edit; empty if the block was deleted.
    pub after: String,
}

/// How an agent's work on a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentExit {
    /// It returned, or the embedder dropped its interface.
    Completed,
    /// It returned an error.
    Failed(AgentError),
    /// It panicked.
    Panicked,
    /// Its task was aborted from outside.
    Aborted,
}

/// A session's accepted state as the store has it.
#[derive(Debug, Clone, Default)]
pub struct StoredState {
    /// The state.
    pub state: State,
    /// Contents of the queued inputs and of a parked turn's input.
    pub inputs: HashMap<ItemId, Input>,
    /// Records up to the state's head that subscribers were not shown: appends that were saved
    /// although that was unknown. Empty when a session is loaded.
    pub unseen: Vec<Record>,
}

/// A session as it is loaded.
pub struct LoadedSession {
    /// The session.
    pub id: SessionId,
    /// Its stored state.
    pub stored: StoredState,
    /// Ids of the commands that took effect in it.
    pub seen_keys: SeenKeys,
    /// Whether its agent can go on with a turn that it did not begin.
    pub resumes: bool,
    /// Whether the open turn was left by a planned stop, which does not count as a crash.
    pub was_stopped: bool,
    /// Why the open turn was interrupted: a restart, or a session that moved to another node.
    pub interrupted_by: ResumeReason,
    /// How long the open turn has run, without the time that it waited for people or clients.
    pub time_spent: Duration,
    /// When the server stops, in elapsed time, if it does.
    pub stop_at: Option<Duration>,
}

/// Settings of a session.
#[derive(Debug, Clone, Copy)]
pub struct SessionOptions {
    /// Number of inputs that may be queued.
    pub queued_inputs: usize,
    /// Number of calls of one turn that may wait for approval.
    pub open_approvals: usize,
    /// How long one turn may take, not counted while it waits for people or clients.
    pub turn_within: Duration,
    /// Runs no turns: for an owner's commands on a store that no server runs on.
    pub resting: bool,
}

/// Refusal for a session that does not exist or belongs to somebody else; the two look alike.
#[must_use]
pub fn unknown_session(id: &SessionId) -> Refusal {
    Refusal::new(RefusalCode::UnknownSession, format!("there is no session {id}"))
}
