//! Effects: what the driver does for the core, in the order in which they are returned.

use thoughtwire_proto::{
    Compaction, Emission, Input, ItemId, OpenCall, Record, Refusal, Seq, SessionReply, State,
    StreamKind, TurnId,
};

use crate::host::{Extras, FinishReply, SeqReply, SteeredReply, WaitReply};
use crate::{CallReply, Finish, IdempotencyKey, SessionHost, TurnError};

/// One thing that the driver does for the core.
pub enum Effect<H: SessionHost> {
    /// Hands a batch to the store. The driver reports its result by [`SessionInput::Saved`] or
    /// [`SessionInput::SaveFailed`], in the order of the batches.
    ///
    /// [`SessionInput::Saved`]: crate::SessionInput::Saved
    /// [`SessionInput::SaveFailed`]: crate::SessionInput::SaveFailed
    Append(Box<EventBatch<H>>),
    /// Forgets all batches under way: one failed, so none behind it can be saved.
    DiscardAppends,
    /// Publishes committed records, and the emissions that waited behind them.
    Publish {
        /// The records of one batch.
        records: Vec<Record>,
        /// Emissions behind them.
        then: Vec<Emission>,
    },
    /// Publishes an emission that no append is in front of.
    Show(Emission),
    /// Sets the status line that new subscribers get; `None` removes it.
    SetStanding(Option<String>),
    /// Checkpoints the text of open items. The driver reports the end of all of them by
    /// [`SessionInput::CheckpointSettled`](crate::SessionInput::CheckpointSettled).
    Checkpoint(Vec<OpenItemText>),
    /// Starts the agent's work on a turn.
    StartTurn(Box<TurnStart<H>>),
    /// Drops the agent's work, its messages and its permit.
    DropTurn,
    /// Replies to a client, an agent or an embedder.
    Reply(CoreReply<H>),
    /// Looks up the receipt of a key; the driver reports it by
    /// [`SessionInput::ReceiptLookedUp`](crate::SessionInput::ReceiptLookedUp).
    LookUpReceipt(IdempotencyKey),
    /// Deletes the session; the driver reports the result by
    /// [`SessionInput::Deleted`](crate::SessionInput::Deleted).
    Delete(Option<IdempotencyKey>),
    /// Reads the stored state; the driver reports it by
    /// [`SessionInput::Reloaded`](crate::SessionInput::Reloaded).
    Reload,
    /// Counts the clients; the driver reports the number by
    /// [`SessionInput::ClientsCounted`](crate::SessionInput::ClientsCounted).
    CountClients,
    /// The session's life in memory is over. Nothing follows.
    End(SessionEnd),
}

/// A reply, with the sender that takes it.
pub enum CoreReply<H: SessionHost> {
    /// To a command.
    Command(H::CommandSender, Result<SessionReply, Refusal>),
    /// The position of an agent's events.
    Seq(SeqReply<H>, Result<Seq, TurnError>),
    /// To the end of a turn.
    Finish(FinishReply<H>, Result<Finish, TurnError>),
    /// The inputs that joined the turn.
    Steered(SteeredReply<H>, Vec<Input>),
    /// To a call that waited.
    Call(WaitReply<H>, Result<CallReply, TurnError>),
    /// The refusal of an embedder's turn.
    BeginRefused(H::BeginSender, Refusal),
}

/// Records for the end of the log, all or none, with what is committed together with them.
pub struct EventBatch<H: SessionHost> {
    /// Head that the records follow.
    pub after: Seq,
    /// The records, numbered from `after` on.
    pub records: Vec<Record>,
    /// State that results.
    pub state: State,
    /// Receipt of the command that caused them.
    pub receipt: Option<ReceiptDraft>,
    /// Data of the driver.
    pub extras: Extras<H>,
    /// Items whose checkpoints go.
    pub closed_items: Vec<ItemId>,
}

/// A command that took effect, and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceiptDraft {
    /// The command's key.
    pub key: IdempotencyKey,
    /// The answer that repetitions get.
    pub answer: SessionReply,
}

/// Text of an open item, for the case that the process dies before the item's event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenItemText {
    /// The item.
    pub item: ItemId,
    /// Its turn.
    pub turn: TurnId,
    /// Its kind.
    pub kind: StreamKind,
    /// All of its text so far.
    pub text: String,
    /// The cut item whose text this one continues.
    pub continues: Option<ItemId>,
}

/// A turn to start, accepted and not necessarily on disk.
pub struct TurnStart<H: SessionHost> {
    /// The turn.
    pub turn: TurnId,
    /// Its input.
    pub input: Input,
    /// Runner of the turn.
    pub runner: Runner<H>,
    /// Number of interruptions that count against the turn's limit.
    pub attempt: u32,
    /// Calls that are open already, where the turn goes on after an interruption.
    pub open_calls: Vec<OpenCall>,
    /// Instructions of the session.
    pub instructions: Option<String>,
    /// Newest summary of the session's past.
    pub compaction: Option<Compaction>,
    /// Position of the input's `user_message`.
    pub asked: Seq,
    /// Position of the turn's `turn_started`.
    pub started: Seq,
    /// Head when the turn was handed to its agent.
    pub launched: Seq,
}

/// Runner of a turn.
pub enum Runner<H: SessionHost> {
    /// The session's agent, with a permit if a worker runs it.
    Agent(Option<H::TurnPermit>),
    /// An embedder, who gets the turn's interface.
    Embedder(H::BeginSender),
}

/// Why a session's life in memory ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// The session was deleted.
    Deleted,
    /// The server stops.
    Stopped,
    /// The store was lost. The session has to be loaded again, from what is on disk.
    StoreLost,
}
