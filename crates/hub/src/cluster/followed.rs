//! A session that another node owns, as the clients of this node see it.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_proto::cluster::{NodeAnswer, NodeRequest, OwnerFrame};
use thoughtwire_proto::{
    Attached, Emission, Event, Record, Refusal, RefusalCode, Seq, SessionId, Timestamp, TurnEvent,
    TurnId,
};
use thoughtwire_session::{SessionRequest, unknown_session};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::link::OwnerLink;
use crate::services::Services;
use crate::session::{AttachRequest, LogView, PeerPosition, SessionMail, SessionStorage};
use crate::subscription::Subscription;
use crate::tail::{DELETED, Tail};

/// Records that are read at once to fill a gap.
const RECORDS_AT_ONCE: usize = 500;

/// Longest wait while nothing happens.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// A followed session.
pub(crate) struct FollowedSession {
    services: Arc<Services>,
    storage: SessionStorage,
    tail: Arc<Tail>,
    first: Seq,
    turn: Option<TurnId>,
    /// Where the owner is reached.
    url: String,
    owner: OwnerLink,
    idle_since: Instant,
}

/// Why a session is followed no longer.
pub(crate) enum FollowEnd {
    /// No client of this node needs it.
    Idle,
    /// It was deleted, or this server stops.
    Over,
    /// Its owner does not have it any more, or does not answer.
    Moved,
}

impl FollowedSession {
    /// Begins to follow a session of the node at a URL. `tail` is the one that clients of this node
    /// have already.
    ///
    /// # Errors
    /// When there is no such session, or its owner cannot be reached.
    pub(crate) async fn open(
        services: &Arc<Services>,
        id: &SessionId,
        url: Option<&str>,
        tail: Option<Arc<Tail>>,
    ) -> Result<Self, Refusal> {
        let stored = services.store.directory().session(id).await?;
        let stored = stored.ok_or_else(|| unknown_session(id))?;
        let (Some(connector), Some(url)) = (&services.options.nodes, url) else {
            let reason = format!(
                "another node has session {id}, and cannot be asked from here; ask that node, or \
                 start it with --advertise"
            );
            return Err(Refusal::new(RefusalCode::Moved, reason));
        };
        let tail = tail.unwrap_or_else(|| Tail::new(id.clone(), stored.first, stored.state.head()));
        let storage = SessionStorage::new(&services.store, &stored);
        let follow = follow_request(&storage, &tail);
        let (owner, answer) = OwnerLink::open(connector.as_ref(), url, follow).await?;
        let mut followed = Self {
            services: Arc::clone(services),
            first: stored.first,
            storage,
            tail,
            turn: None,
            url: url.to_owned(),
            owner,
            idle_since: Instant::now(),
        };
        followed.said(answer).await;
        Ok(followed)
    }

    /// Its tail, for whoever has the session next.
    pub(crate) fn tail(&self) -> Arc<Tail> {
        Arc::clone(&self.tail)
    }

    /// Follows until something ends it. `retire` takes an idle session out of the registry, and
    /// fails if mail has come.
    pub(crate) async fn run(
        &mut self,
        mailbox: &mut mpsc::Receiver<SessionMail>,
        retire: impl Fn(&mut mpsc::Receiver<SessionMail>) -> bool,
    ) -> FollowEnd {
        let passivate_after = self.services.options.passivate_after;
        loop {
            if !self.owner.is_idle() || self.tail.has_readers() {
                self.idle_since = Instant::now();
            } else if self.idle_since.elapsed() >= passivate_after && retire(mailbox) {
                return FollowEnd::Idle;
            }
            let wake_at = if self.tail.has_readers() {
                Instant::now() + LONGEST_SLEEP
            } else {
                self.idle_since + passivate_after
            };
            let tail = Arc::clone(&self.tail);
            let ended = tokio::select! {
                biased;
                answer = self.owner.receive() => match answer {
                    Some(answer) => self.answered(answer).await,
                    None => Some(FollowEnd::Moved),
                },
                mail = mailbox.recv() => match mail {
                    Some(mail) => self.mail(mail).await,
                    None => Some(FollowEnd::Over),
                },
                () = tail.presence_changed() => {
                    self.owner.send(&follow_request(&self.storage, &self.tail));
                    None
                }
                () = sleep_until(wake_at) => None,
            };
            if let Some(end) = ended {
                return end;
            }
        }
    }

    async fn answered(&mut self, answer: NodeAnswer) -> Option<FollowEnd> {
        match answer {
            NodeAnswer::Emission(shown) => match self.show(shown.emission).await {
                Ok(()) => None,
                Err(refusal) => {
                    let session = &self.storage.id;
                    tracing::warn!(%session, %refusal, "records of another node are missing");
                    Some(FollowEnd::Moved)
                }
            },
            NodeAnswer::Said(frame) => self.said(frame).await,
        }
    }

    async fn said(&mut self, frame: OwnerFrame) -> Option<FollowEnd> {
        match frame {
            OwnerFrame::Following { first, recovered, turn, .. } => {
                if first > self.first {
                    self.first = first;
                    self.tail.forget(first);
                }
                self.turn = turn;
                if !recovered {
                    // Events that clients have seen are not in the log any more.
                    self.tail.close("the log was restored; attach again");
                    return Some(FollowEnd::Over);
                }
                None
            }
            OwnerFrame::CommandDone { number, reply } => {
                self.owner.answered(number, Ok(reply));
                None
            }
            OwnerFrame::CommandRefused { number, refusal } => {
                self.owner.answered(number, Err(refusal.into()));
                None
            }
            OwnerFrame::NotFollowed { .. } | OwnerFrame::FollowEnded { deleted: false, .. } => {
                Some(FollowEnd::Moved)
            }
            OwnerFrame::FollowEnded { deleted: true, .. } => {
                self.tail.close(DELETED);
                Some(FollowEnd::Over)
            }
        }
    }

    /// Publishes an emission to the clients of this node. Records that are missing before it are
    /// read from the database, where they are before anybody is shown them.
    async fn show(&mut self, emission: Emission) -> Result<(), Refusal> {
        if let Emission::Record(record) = &emission {
            if record.seq <= self.tail.head() {
                return Ok(());
            }
            if record.seq > self.tail.head().next() {
                fill(&self.services, &self.tail, Seq(record.seq.0 - 1)).await?;
            }
            self.turn = turn_behind(record, self.turn.take());
        }
        self.tail.publish([emission]);
        Ok(())
    }

    async fn mail(&mut self, mail: SessionMail) -> Option<FollowEnd> {
        if mail.user().is_some_and(|user| *user != self.storage.user) {
            mail.refuse(unknown_session(&self.storage.id));
            return None;
        }
        if mail.is_from_node() {
            mail.refuse(Refusal::new(
                RefusalCode::Moved,
                "this node does not have the session; ask the database who has it",
            ));
            return None;
        }
        match mail {
            SessionMail::Attach { request, .. } => {
                self.attach(request).await;
                None
            }
            SessionMail::Request { request: SessionRequest::Command(request), .. } => {
                self.owner.command(request);
                None
            }
            mail @ SessionMail::Request { .. } => {
                mail.refuse(Refusal::new(
                    RefusalCode::Moved,
                    "another node has this session; ask that one",
                ));
                None
            }
            SessionMail::Shorten { reply, .. } => {
                // The owner's own task does it.
                drop(reply.send(Ok(false)));
                None
            }
            // The database gives the session to another. The old owner may not know, and answer on.
            SessionMail::NodeGone(url) => {
                url.is_none_or(|url| url == self.url).then_some(FollowEnd::Moved)
            }
            // The owner tells of a deletion behind its answers to commands.
            SessionMail::ProfileChanged(_) | SessionMail::Erased => None,
            SessionMail::Stop { .. } => {
                self.tail.close("the server is stopping");
                Some(FollowEnd::Over)
            }
        }
    }

    async fn attach(&mut self, request: AttachRequest) {
        let AttachRequest { start, reader, reply } = request;
        let view = LogView {
            storage: &self.storage,
            tail: &self.tail,
            first: self.first,
            turn: self.turn.as_ref(),
        };
        let (begin, unended) = match view.begin(&start) {
            Ok(begin) => (begin, Vec::new()),
            Err(peer) => {
                let now = self.services.now().as_millis();
                let window = self.services.options.proven_for_ms;
                let since = Timestamp::from_millis(now.saturating_sub(window));
                match PeerPosition::read(&self.storage, peer.clone(), since).await {
                    Ok(position) => (view.proven(position.proven), position.unended),
                    Err(refusal) => return drop(reply.send(Err(refusal))),
                }
            }
        };
        self.tail.join(&reader);
        let attached = Attached { unended, ..view.attached(begin) };
        let subscription = Subscription::new(
            &self.services.store,
            &self.services.metrics,
            Arc::clone(&self.tail),
            reader,
            attached.after,
        );
        // A client that left takes the subscription with it.
        drop(reply.send(Ok((attached, subscription))));
    }
}

/// Publishes the records up to a position that a tail does not have yet.
///
/// # Errors
/// When they cannot be read, or are not all there.
pub(crate) async fn fill(services: &Services, tail: &Arc<Tail>, to: Seq) -> Result<(), Refusal> {
    while tail.head() < to {
        let logs = services.store.logs();
        let records = logs.records_after(tail.session(), tail.head(), RECORDS_AT_ONCE).await?;
        let next = tail.head().next();
        if records.first().is_none_or(|record| record.seq != next) {
            return Err(Refusal::new(
                RefusalCode::StoreFailed,
                format!("the log has no record {next}"),
            ));
        }
        tail.publish(records.into_iter().filter(|one| one.seq <= to).map(Emission::Record));
    }
    Ok(())
}

/// The turn that runs behind a record.
fn turn_behind(record: &Record, before: Option<TurnId>) -> Option<TurnId> {
    if matches!(record.event, Event::Turn(TurnEvent::Ended { .. })) {
        return None;
    }
    record.turn.clone().or(before)
}

fn follow_request(storage: &SessionStorage, tail: &Tail) -> NodeRequest {
    NodeRequest::Follow {
        user: storage.user.clone(),
        session: storage.id.clone(),
        epoch: storage.epoch.clone(),
        after: tail.head(),
        clients: tail.presence(),
        tools: tail.tools(),
    }
}
