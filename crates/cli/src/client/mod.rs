//! A client of the native wire that follows one session across reconnects.
//!
//! ```text
//! requests ──▶ task ──frames──▶ socket     kept until answered, sent again after a reconnect
//! events   ◀── task ◀──frames── socket     each session event once, in order
//! ```

mod connect;
mod task;

use std::collections::VecDeque;
use std::time::Duration;

use thoughtwire_proto::dialect::native::{Ack, ClientBody, ClientFrame, RefusedFrame};
use thoughtwire_proto::{Attached, CommandId, Emission, SessionId, Start};
use tokio::sync::mpsc;

pub(crate) use connect::{ClientSocket, LinkEnd, connect_to, greeting};
use task::FollowerTask;

use crate::rest::ServerAddress;

/// Capacity of the event queue. The socket is not read while the queue is full.
const EVENT_QUEUE: usize = 256;
/// Capacity of the request queue: more than a person types. `send` waits while it is full.
const REQUEST_QUEUE: usize = 64;

/// An event that a [`SessionFollower`] reports.
#[derive(Debug)]
pub(crate) enum FollowerEvent {
    /// The session is attached, for the first time or again.
    Attached(Attached),
    /// Everything up to the head of the attachment was reported.
    CaughtUp,
    /// An emission of the session. Each record is reported once, in order.
    Emitted(Emission),
    /// The server answered a command: it acknowledged or refused it.
    Replied { id: CommandId, outcome: Result<Ack, RefusedFrame> },
    /// The connection is lost. The follower reconnects after the pause.
    Offline { reason: String, pause: Duration },
    /// The follower gave up. This is the last event.
    Ended(anyhow::Error),
}

/// How long a follower tries to reconnect.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReconnectPolicy {
    /// Without a limit.
    Forever,
    /// Until the server has been unreachable for this long.
    UpTo(Duration),
}

/// A client attached to one session, over as many connections as it takes.
pub(crate) struct SessionFollower {
    requests: mpsc::Sender<FollowerRequest>,
    events: mpsc::Receiver<FollowerEvent>,
    task: tokio::task::JoinHandle<()>,
}

/// A request to the follower's task.
enum FollowerRequest {
    Command(ClientFrame),
    Attach(Start),
}

impl SessionFollower {
    /// Starts the follower. Without a `start` it reads nothing until [`SessionFollower::attach`].
    pub(crate) fn new(
        server: ServerAddress,
        session: SessionId,
        start: Option<Start>,
        policy: ReconnectPolicy,
    ) -> Self {
        let (requests, inbox) = mpsc::channel(REQUEST_QUEUE);
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let task = FollowerTask {
            server,
            session,
            start,
            policy,
            events: sender,
            unanswered: VecDeque::new(),
        };
        Self { requests, events, task: tokio::spawn(task.run(inbox)) }
    }

    /// Attaches to the session at `start`; replaces the current attachment.
    pub(crate) async fn attach(&self, start: Start) {
        // A follower that gave up has already reported why.
        drop(self.requests.send(FollowerRequest::Attach(start)).await);
    }

    /// Sends a command, again after each reconnect, until it is answered. Returns the command's id,
    /// which the answer carries.
    pub(crate) async fn send(&self, id: Option<CommandId>, body: ClientBody) -> CommandId {
        let id = id.unwrap_or_else(thoughtwire_hub::new_id);
        drop(
            self.requests
                .send(FollowerRequest::Command(ClientFrame { id: Some(id.clone()), body }))
                .await,
        );
        id
    }

    /// Returns the next event; `None` after the last one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<FollowerEvent> {
        self.events.recv().await
    }
}

impl Drop for SessionFollower {
    fn drop(&mut self) {
        self.task.abort();
    }
}
