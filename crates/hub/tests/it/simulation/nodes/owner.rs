//! The owner's end of a link, as the server's `/v1/cluster` does it over a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use thoughtwire_hub::{Hub, Presence, Read, RemoteWorkers, Replying, Subscription, WakeSignal};
use thoughtwire_proto::cluster::{NodeAnswer, NodeRequest, OwnerFrame};
use thoughtwire_proto::cluster_offers::OfferAnswer;
use thoughtwire_proto::{
    Attached, Cursor, Refusal, RefusalCode, SessionEmission, SessionId, SessionReply, Start, UserId,
};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, interval_at};

/// Time between two pings.
const PING_EVERY: Duration = Duration::from_secs(2);

/// The link has ended.
struct LinkEnded;

type NumberedReply = (u64, Result<SessionReply, Refusal>);

struct OwnerEnd {
    hub: Hub,
    answers: mpsc::Sender<Option<String>>,
    wake: WakeSignal,
    followed: Option<(UserId, SessionId, Subscription)>,
    replies: FuturesUnordered<BoxFuture<'static, NumberedReply>>,
    workers: Option<RemoteWorkers>,
}

/// The next frame for the node's workers. Never resolves while there are none.
async fn next_answer(workers: &mut Option<RemoteWorkers>) -> OfferAnswer {
    match workers {
        Some(workers) => workers.next().await,
        None => std::future::pending().await,
    }
}

/// Answers the requests of a node until the link ends.
pub(super) async fn serve(
    hub: Hub,
    mut requests: mpsc::UnboundedReceiver<String>,
    answers: mpsc::Sender<Option<String>>,
) {
    let (wake, replies) = (Arc::new(Notify::new()), FuturesUnordered::new());
    let (hub, followed, workers) = (hub.for_node(), None, None);
    let mut end = OwnerEnd { hub, answers, wake, followed, replies, workers };
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    loop {
        if end.show().await.is_err() {
            return;
        }
        let done = tokio::select! {
            biased;
            Some(reply) = end.replies.next() => end.reply(reply).await,
            () = end.wake.notified() => Ok(()),
            request = requests.recv() => match request {
                Some(text) => end.request(&text).await,
                None => return,
            },
            frame = next_answer(&mut end.workers) => {
                end.say(NodeAnswer::Said(OwnerFrame::Offers { frame })).await
            }
            _ = pings.tick() => end.answers.send(None).await.map_err(|_| LinkEnded),
        };
        if done.is_err() {
            return;
        }
    }
}

impl OwnerEnd {
    async fn request(&mut self, text: &str) -> Result<(), LinkEnded> {
        match NodeRequest::decode(text).unwrap() {
            NodeRequest::Follow { user, session, epoch, after, clients, tools } => {
                self.followed = None;
                let start = Start::After(Cursor { epoch: Some(epoch), seq: after });
                let presence = Presence::Node { clients, tools };
                let wake = Arc::clone(&self.wake);
                let answer = match self.hub.attach(&user, &session, start, wake, presence).await {
                    Ok((attached, subscription)) => {
                        self.followed = Some((user, session, subscription));
                        let Attached { first, head, recovered, turn, .. } = attached;
                        OwnerFrame::Following { first, head, recovered, turn }
                    }
                    Err(refusal) => OwnerFrame::NotFollowed { refusal: refusal.into() },
                };
                self.say(NodeAnswer::Said(answer)).await
            }
            NodeRequest::Command { number, from, id, command } => {
                let Some((user, session, _)) = &self.followed else {
                    return self.refuse_unfollowed(number).await;
                };
                let reply = self.hub.submit(user, from, id, session.clone(), command).await;
                self.expect(number, reply);
                Ok(())
            }
            NodeRequest::EditBlock { number, edit } => {
                let Some((user, session, _)) = &self.followed else {
                    return self.refuse_unfollowed(number).await;
                };
                let reply = self.hub.edit_block_of_node(user, session, edit).await;
                self.expect(number, reply);
                Ok(())
            }
            NodeRequest::Offers { frame } => {
                self.workers.get_or_insert_with(|| self.hub.remote_workers()).take(frame);
                Ok(())
            }
        }
    }

    fn expect(&self, number: u64, reply: Replying<SessionReply>) {
        self.replies.push(Box::pin(async move { (number, reply.await) }));
    }

    async fn refuse_unfollowed(&mut self, number: u64) -> Result<(), LinkEnded> {
        let refusal = Refusal::new(RefusalCode::NotAttached, "nothing is followed").into();
        self.say(NodeAnswer::Said(OwnerFrame::CommandRefused { number, refusal })).await
    }

    async fn reply(&mut self, (number, reply): NumberedReply) -> Result<(), LinkEnded> {
        let said = match reply {
            Ok(reply) => OwnerFrame::CommandDone { number, reply },
            Err(refusal) => OwnerFrame::CommandRefused { number, refusal: refusal.into() },
        };
        self.say(NodeAnswer::Said(said)).await
    }

    async fn say(&mut self, answer: NodeAnswer) -> Result<(), LinkEnded> {
        self.answers.send(Some(answer.encode())).await.map_err(|_| LinkEnded)
    }

    /// Sends everything there is to send. A reply goes before the events that it is about.
    async fn show(&mut self) -> Result<(), LinkEnded> {
        while let Some((_, _, subscription)) = &mut self.followed
            && subscription.has_news()
        {
            match subscription.next().await {
                Ok(Read::Entries { entries, .. }) => {
                    while let Some(Some(reply)) = self.replies.next().now_or_never() {
                        self.reply(reply).await?;
                    }
                    for entry in entries {
                        let SessionEmission { session, emission } = entry.emitted().clone();
                        let emission = SessionEmission { session, emission };
                        self.say(NodeAnswer::Emission(emission)).await?;
                    }
                }
                Ok(Read::CaughtUp(_)) => {}
                Ok(Read::Trimmed) => self.ended("older events were deleted meanwhile").await?,
                Ok(Read::Closed(reason)) => self.ended(&reason).await?,
                Err(refusal) => self.ended(&refusal.reason).await?,
            }
        }
        Ok(())
    }

    async fn ended(&mut self, reason: &str) -> Result<(), LinkEnded> {
        let Some((_, session, _)) = self.followed.take() else { return Ok(()) };
        // Commands that are under way come before the end, a deletion's own among them.
        while let Some(reply) = self.replies.next().await {
            self.reply(reply).await?;
        }
        let stored = self.hub.store().directory().session(&session).await;
        let deleted = stored.is_ok_and(|stored| stored.is_none());
        let ended = OwnerFrame::FollowEnded { reason: reason.to_owned(), deleted };
        self.say(NodeAnswer::Said(ended)).await
    }
}
