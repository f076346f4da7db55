//! Mail: what reaches a live session from connections and from the hub.

use std::sync::Arc;

use thoughtwire_proto::{AgentProfile, Attached, Refusal, Seq, Start, UserId};
use thoughtwire_session::SessionRequest;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::host::{self, DriverHost};
use crate::subscription::Subscription;
use crate::tail::TailReader;

/// One message in a session's mailbox.
pub(crate) enum SessionMail {
    /// A client attaches.
    Attach { caller: MailUser, request: AttachRequest },
    /// A request that may change the session.
    Request { caller: MailUser, request: SessionRequest<DriverHost> },
    /// The agent has other settings.
    ProfileChanged(Arc<AgentProfile>),
    /// The session was deleted with its agent.
    Erased,
    /// A node is gone, given by its URL. Without one it may be any node.
    NodeGone(Option<String>),
    /// Retention wants the log to lose its turns up to a position. The reply tells whether the log
    /// became shorter.
    Shorten { through: Seq, reply: oneshot::Sender<Result<bool, Refusal>> },
    /// The server stops: turns that still run at the deadline are ended.
    Stop { deadline: Instant },
}

/// User on whose behalf mail is sent. Only the session's owner is let in.
#[derive(Debug, Clone)]
pub(crate) struct MailUser {
    pub(crate) user: UserId,
    /// Whether another node asks, which wants the session's owner and nobody who follows it.
    pub(crate) is_node: bool,
}

impl MailUser {
    /// A user who asks through this node.
    pub(crate) fn here(user: &UserId) -> Self {
        Self { user: user.clone(), is_node: false }
    }
}

/// A client that wants to read the session.
pub(crate) struct AttachRequest {
    pub(crate) start: Start,
    pub(crate) reader: Arc<TailReader>,
    pub(crate) reply: oneshot::Sender<Result<(Attached, Subscription), Refusal>>,
}

impl AttachRequest {
    /// Refuses the client. One that left needs no answer.
    pub(crate) fn refuse(self, refusal: Refusal) {
        drop(self.reply.send(Err(refusal)));
    }
}

impl SessionMail {
    /// The user whose session this has to be; `None` if the hub itself asks.
    pub(crate) fn user(&self) -> Option<&UserId> {
        match self {
            Self::Attach { caller, .. } | Self::Request { caller, .. } => Some(&caller.user),
            Self::ProfileChanged(_)
            | Self::Erased
            | Self::NodeGone(_)
            | Self::Shorten { .. }
            | Self::Stop { .. } => None,
        }
    }

    /// Whether another node sent it.
    pub(crate) fn is_from_node(&self) -> bool {
        match self {
            Self::Attach { caller, .. } | Self::Request { caller, .. } => caller.is_node,
            Self::ProfileChanged(_)
            | Self::Erased
            | Self::NodeGone(_)
            | Self::Shorten { .. }
            | Self::Stop { .. } => false,
        }
    }

    /// Refuses mail that no session takes.
    pub(crate) fn refuse(self, refusal: Refusal) {
        match self {
            Self::Attach { request, .. } => request.refuse(refusal),
            Self::Request { request, .. } => host::reply(request.refused(refusal)),
            Self::Shorten { reply, .. } => drop(reply.send(Err(refusal))),
            Self::ProfileChanged(_) | Self::Erased | Self::NodeGone(_) | Self::Stop { .. } => {}
        }
    }
}
