//! A live session: one task that owns its state, and the asks that reach it.
//!
//! ```text
//! connections ──asks (64)──▶ ┌──────┐ ──appends──▶ store's writer
//! agent ───────voice (64)──▶ │ task │ ◀──commits── (at most 256 under way)
//!                            └──────┘ ──publish──▶ tail ──▶ subscribers
//! ```
//!
//! The task numbers events against its *accepted* state and does not wait for the disk; what the
//! tail shows is *committed*. While 256 appends are under way, or 1024 of them and of what is shown
//! behind them, the task takes no more, so asks and voice fill up and whoever feeds them waits.

mod asked;
mod commit;
mod outside;
mod starting;
mod task;
mod turn;
mod turn_time;
mod waits;

use std::sync::Arc;

use thoughtwire_proto::{
    AgentProfile, Attached, CallId, CommandId, ItemId, Policy, Refusal, Seq, SessionReply, Start,
    TurnId, UserId,
};
use thoughtwire_store::BlockEdit;
use tokio::sync::oneshot;

use crate::Subscription;
use crate::interface::Interface;
use crate::tail::Reader;
use crate::turn_message::Returned;

pub(crate) use asked::unknown_session;
pub(crate) use task::Task;

/// Asks that may wait for one session: a few rounds of a busy room of clients.
pub(crate) const ASKS: usize = 64;
/// Words of an agent that may wait: it is slowed to the store's pace beyond that.
pub(crate) const TURN_MESSAGES: usize = 64;
/// Appends under way per session. This bounds what the store's channel holds for it.
pub(crate) const UNDER_WAY: usize = 256;
/// Those, and the pieces and status lines that wait behind them: while the disk stands still, an
/// agent that streams is slowed as well.
pub(crate) const STEPS: usize = 4 * UNDER_WAY;

/// Where an ask's answer goes.
pub(crate) type Reply = oneshot::Sender<Result<SessionReply, Refusal>>;

/// Something asked of a session.
pub(crate) struct Ask {
    pub(crate) user: UserId,
    pub(crate) what: What,
}

/// A command's id with the digest of its content.
#[derive(Debug, Clone)]
pub(crate) struct Once {
    pub(crate) id: CommandId,
    pub(crate) digest: String,
}

/// What is asked.
pub(crate) enum What {
    Attach {
        start: Start,
        reader: Arc<Reader>,
        reply: oneshot::Sender<Result<(Attached, Subscription), Refusal>>,
    },
    Send {
        text: String,
        attachments: Vec<String>,
        from: Option<String>,
        policy: Policy,
        once: Option<Once>,
        reply: Reply,
    },
    Withdraw {
        input: ItemId,
        once: Option<Once>,
        reply: Reply,
    },
    Cancel {
        turn: Option<TurnId>,
        once: Option<Once>,
        reply: Reply,
    },
    Decide {
        call: CallId,
        approve: bool,
        by: Option<String>,
        once: Option<Once>,
        reply: Reply,
    },
    ToolReturn {
        call: CallId,
        returned: Returned,
        once: Option<Once>,
        reply: Reply,
    },
    /// The owner edits a memory block of the session's agent.
    Remember {
        edit: BlockEdit,
        before: String,
        reply: Reply,
    },
    /// The agent has other settings.
    Profile(Arc<AgentProfile>),
    /// The session was deleted with its agent.
    Erased,
    Rename {
        title: String,
        once: Option<Once>,
        reply: Reply,
    },
    Instruct {
        instructions: String,
        once: Option<Once>,
        reply: Reply,
    },
    /// The log is to lose its turns up to a position. Tells whether it became shorter.
    Shorten {
        through: Seq,
        reply: oneshot::Sender<Result<bool, Refusal>>,
    },
    Delete {
        once: Option<Once>,
        reply: Reply,
    },
    /// An embedder speaks for the agent: start a turn on this input that it runs itself.
    Begin {
        text: String,
        reply: oneshot::Sender<Result<Interface, Refusal>>,
    },
    /// The server stops: end what still runs at the deadline.
    Stop {
        deadline: tokio::time::Instant,
    },
}

impl What {
    /// Answers an ask that nobody will look at with a refusal.
    pub(crate) fn refuse(self, refusal: Refusal) {
        match self {
            Self::Attach { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Send { reply, .. }
            | Self::Withdraw { reply, .. }
            | Self::Cancel { reply, .. }
            | Self::Decide { reply, .. }
            | Self::ToolReturn { reply, .. }
            | Self::Remember { reply, .. }
            | Self::Rename { reply, .. }
            | Self::Instruct { reply, .. }
            | Self::Delete { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Shorten { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Begin { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Stop { .. } | Self::Profile(_) | Self::Erased => {}
        }
    }
}
