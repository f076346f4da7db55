//! The owner's end of a connection between two nodes, without the socket.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use thoughtwire_proto::cluster::{NodeAnswer, NodeRequest, OwnerFrame};
use thoughtwire_proto::cluster_offers::OfferAnswer;
use thoughtwire_proto::{
    Attached, Cursor, Refusal, RefusalCode, SessionEmission, SessionId, SessionReply, Start, UserId,
};
use tokio::sync::Notify;

use super::remote_workers::RemoteWorkers;
use crate::subscription::{Read, Subscription};
use crate::tail::{TailEntry, WakeSignal};
use crate::turn_message::Replying;
use crate::{Hub, Presence};

/// The sending half of a connection to another node.
pub trait NodeSink: Send {
    /// The reason why the connection has ended.
    type Error;

    /// Sends a text frame, now or with the next ones.
    ///
    /// # Errors
    /// When the connection has ended.
    fn send(&mut self, text: String) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// One connection of another node: the session that it follows here, the commands that it hands
/// over, and its workers.
///
/// Its task calls [`OwnerEnd::show`], then waits for a request or for [`OwnerEnd::next`], and
/// begins again.
pub struct OwnerEnd {
    hub: Hub,
    wake: WakeSignal,
    followed: Option<FollowedHere>,
    /// Workers that are connected to the node.
    workers: Option<RemoteWorkers>,
    replies: FuturesUnordered<BoxFuture<'static, NumberedReply>>,
}

/// The session that a node follows.
struct FollowedHere {
    user: UserId,
    session: SessionId,
    subscription: Subscription,
}

type NumberedReply = (u64, Result<SessionReply, Refusal>);

impl OwnerEnd {
    /// Makes the end of a connection that has just opened.
    #[must_use]
    pub fn new(hub: &Hub) -> Self {
        Self {
            hub: hub.for_node(),
            wake: Arc::new(Notify::new()),
            followed: None,
            workers: None,
            replies: FuturesUnordered::new(),
        }
    }

    /// The next frame for the node; `None` when [`OwnerEnd::show`] has something to send.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<OwnerFrame> {
        tokio::select! {
            biased;
            Some(reply) = self.replies.next() => Some(command_answer(reply)),
            () = self.wake.notified() => None,
            frame = next_answer(&mut self.workers) => Some(OwnerFrame::Offers { frame }),
        }
    }

    /// Carries a request out.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn request<S: NodeSink>(
        &mut self,
        request: NodeRequest,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        match request {
            NodeRequest::Follow { user, session, epoch, after, clients, tools } => {
                // The earlier place is left first, so that its tools are not counted twice.
                self.followed = None;
                let start = Start::After(Cursor { epoch: Some(epoch), seq: after });
                let presence = Presence::Node { clients, tools };
                let wake = Arc::clone(&self.wake);
                let answer = match self.hub.attach(&user, &session, start, wake, presence).await {
                    Ok((attached, subscription)) => {
                        self.followed = Some(FollowedHere { user, session, subscription });
                        let Attached { first, head, recovered, turn, .. } = attached;
                        OwnerFrame::Following { first, head, recovered, turn }
                    }
                    Err(refusal) => OwnerFrame::NotFollowed { refusal: refusal.into() },
                };
                say(sink, answer).await
            }
            NodeRequest::Command { number, from, id, command } => {
                let Some(FollowedHere { user, session, .. }) = &self.followed else {
                    return refuse_unfollowed(sink, number).await;
                };
                let reply = self.hub.submit(user, from, id, session.clone(), command).await;
                self.expect(number, reply);
                Ok(())
            }
            NodeRequest::EditBlock { number, edit } => {
                let Some(FollowedHere { user, session, .. }) = &self.followed else {
                    return refuse_unfollowed(sink, number).await;
                };
                let reply = self.hub.edit_block_of_node(user, session, edit).await;
                self.expect(number, reply);
                Ok(())
            }
            NodeRequest::SaveOpenText { number } => {
                let Some(FollowedHere { user, session, .. }) = &self.followed else {
                    return refuse_unfollowed(sink, number).await;
                };
                let (hub, user, session) = (self.hub.clone(), user.clone(), session.clone());
                let done = SessionReply::Done { seq: None, duplicate: false };
                self.expect(
                    number,
                    Box::pin(
                        async move { hub.save_open_text(&user, &session).await.map(|()| done) },
                    ),
                );
                Ok(())
            }
            NodeRequest::Offers { frame } => {
                self.workers.get_or_insert_with(|| self.hub.remote_workers()).take(frame);
                Ok(())
            }
        }
    }

    /// Sends everything that there is of the session.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn show<S: NodeSink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        while let Some(followed) = &mut self.followed
            && followed.subscription.has_news()
        {
            match followed.subscription.next().await {
                Ok(Read::Entries { entries, .. }) => {
                    // A reply goes before the events that it is about, as on a client's own
                    // connection.
                    while let Some(Some(reply)) = self.replies.next().now_or_never() {
                        say(sink, command_answer(reply)).await?;
                    }
                    emit(sink, &entries).await?;
                }
                Ok(Read::CaughtUp(_)) => {}
                Ok(Read::Trimmed) => {
                    self.ended(sink, "older events were deleted meanwhile").await?;
                }
                Ok(Read::Closed(reason)) => self.ended(sink, &reason).await?,
                Err(refusal) => self.ended(sink, &refusal.reason).await?,
            }
        }
        Ok(())
    }

    fn expect(&self, number: u64, reply: Replying<SessionReply>) {
        self.replies.push(Box::pin(async move {
            // Unconstrained, so that a reply that is ready goes before what follows.
            (number, tokio::task::coop::unconstrained(reply).await)
        }));
    }

    async fn ended<S: NodeSink>(&mut self, sink: &mut S, reason: &str) -> Result<(), S::Error> {
        let Some(FollowedHere { session, .. }) = self.followed.take() else { return Ok(()) };
        // Commands that are under way come before the end, a deletion's own among them.
        while let Some(reply) = self.replies.next().await {
            say(sink, command_answer(reply)).await?;
        }
        let stored = self.hub.store().directory().session(&session).await;
        let deleted = stored.is_ok_and(|stored| stored.is_none());
        say(sink, OwnerFrame::FollowEnded { reason: reason.to_owned(), deleted }).await
    }
}

/// The next frame for the node's workers. Never resolves while there are none.
async fn next_answer(workers: &mut Option<RemoteWorkers>) -> OfferAnswer {
    match workers {
        Some(workers) => workers.next().await,
        None => std::future::pending().await,
    }
}

fn command_answer((number, reply): NumberedReply) -> OwnerFrame {
    match reply {
        Ok(reply) => OwnerFrame::CommandDone { number, reply },
        Err(refusal) => OwnerFrame::CommandRefused { number, refusal: refusal.into() },
    }
}

async fn refuse_unfollowed<S: NodeSink>(sink: &mut S, number: u64) -> Result<(), S::Error> {
    let reason = "no session is followed on this connection";
    let refusal = Refusal::new(RefusalCode::NotAttached, reason).into();
    say(sink, OwnerFrame::CommandRefused { number, refusal }).await
}

async fn say<S: NodeSink>(sink: &mut S, frame: OwnerFrame) -> Result<(), S::Error> {
    sink.send(NodeAnswer::Said(frame).encode()).await
}

async fn emit<S: NodeSink>(sink: &mut S, entries: &[Arc<TailEntry>]) -> Result<(), S::Error> {
    for entry in entries {
        let SessionEmission { session, emission } = entry.emitted().clone();
        let emission = SessionEmission { session, emission };
        sink.send(NodeAnswer::Emission(emission).encode()).await?;
    }
    Ok(())
}
