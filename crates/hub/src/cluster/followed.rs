//! A session that another node owns, as the clients of this node see it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use thoughtwire_proto::cluster::{NodeAnswer, NodeRequest, OwnerFrame};
use thoughtwire_proto::{
    Attached, Emission, Event, Record, Refusal, RefusalCode, Seq, SessionId, Start, Timestamp,
    TurnEvent, TurnId,
};
use thoughtwire_session::{SessionRequest, unknown_session};
use thoughtwire_store::StoreError;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::link::OwnerLink;
use crate::directory::forwarded_edit;
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
    /// The owner's first answer, until it is taken.
    opened: Option<OwnerFrame>,
    /// Where the log ends by the database, for clients that want to attach.
    looks: FuturesUnordered<BoxFuture<'static, LogLook>>,
    /// Clients that attach once this node has the log up to there.
    attaching: Vec<AttachLater>,
    idle_since: Instant,
}

/// The log in the database, looked at for a client that attaches.
type LogLook = (AttachRequest, Result<AttachPoint, Refusal>);

/// Facts that have to be known before a client attaches.
struct AttachPoint {
    head: Seq,
    first: Seq,
    /// The peer's position, if the client wants to begin there.
    position: Option<PeerPosition>,
}

/// A client that waits for the records up to a position.
struct AttachLater {
    request: AttachRequest,
    point: AttachPoint,
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
        Ok(Self {
            services: Arc::clone(services),
            first: stored.first,
            storage,
            tail,
            turn: None,
            url: url.to_owned(),
            owner,
            opened: Some(answer),
            looks: FuturesUnordered::new(),
            attaching: Vec::new(),
            idle_since: Instant::now(),
        })
    }

    /// Its tail, and the clients that wait to attach, for whoever has the session next.
    pub(crate) async fn into_parts(mut self) -> (Arc<Tail>, Vec<AttachRequest>) {
        let mut waiting: Vec<_> = self.attaching.into_iter().map(|one| one.request).collect();
        while let Some((request, _)) = self.looks.next().await {
            waiting.push(request);
        }
        (self.tail, waiting)
    }

    /// Follows until something ends it. `retire` takes an idle session out of the registry, and
    /// fails if mail has come.
    pub(crate) async fn run(
        &mut self,
        mailbox: &mut mpsc::Receiver<SessionMail>,
        retire: impl Fn(&mut mpsc::Receiver<SessionMail>) -> bool,
    ) -> FollowEnd {
        let passivate_after = self.services.options.passivate_after;
        if let Some(end) = self.opened.take().and_then(|answer| self.said(answer)) {
            return end;
        }
        loop {
            let is_needed = !self.owner.is_idle() || !self.looks.is_empty();
            if is_needed || !self.attaching.is_empty() || self.tail.has_readers() {
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
                Some((request, point)) = self.looks.next() => {
                    self.looked(request, point);
                    None
                }
                mail = mailbox.recv() => match mail {
                    Some(mail) => self.mail(mail),
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
            self.attach_waiting();
        }
    }

    async fn answered(&mut self, answer: NodeAnswer) -> Option<FollowEnd> {
        match answer {
            NodeAnswer::Emission(shown) => match self.show(shown.emission).await {
                Ok(()) => None,
                Err(error) => {
                    let session = &self.storage.id;
                    tracing::warn!(%session, %error, "records of another node are missing");
                    Some(FollowEnd::Moved)
                }
            },
            NodeAnswer::Said(frame) => self.said(frame),
        }
    }

    fn said(&mut self, frame: OwnerFrame) -> Option<FollowEnd> {
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
            OwnerFrame::Offers { .. } => {
                tracing::warn!("another node sent what does not belong to a followed session");
                Some(FollowEnd::Moved)
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
    async fn show(&mut self, emission: Emission) -> Result<(), StoreError> {
        if let Emission::Record(record) = &emission {
            self.turn = turn_behind(record, self.turn.take());
            if record.seq <= self.tail.head() {
                return Ok(());
            }
            if record.seq > self.tail.head().next() {
                fill(&self.services, &self.tail, Seq(record.seq.0 - 1)).await?;
            }
        }
        self.tail.publish([emission]);
        Ok(())
    }

    fn mail(&mut self, mail: SessionMail) -> Option<FollowEnd> {
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
                self.attach(request);
                None
            }
            SessionMail::Request { request: SessionRequest::Command(request), .. } => {
                self.services.metrics.forwarded.inc();
                self.owner.command(request);
                None
            }
            SessionMail::Request {
                request: SessionRequest::EditBlock { changed, extras, reply },
                ..
            } => {
                self.services.metrics.forwarded.inc();
                match forwarded_edit(changed, extras) {
                    Some(edit) => self.owner.edit_block(edit, reply),
                    None => drop(reply.send(Err(another_node_has_it()))),
                }
                None
            }
            SessionMail::Request { request: SessionRequest::SaveOpenText { reply }, .. } => {
                self.owner.save_open_text(reply);
                None
            }
            mail @ SessionMail::Request { request: SessionRequest::Begin { .. }, .. } => {
                mail.refuse(another_node_has_it());
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

    /// Attaches a client once this node has everything that the database has by now: what any node
    /// has acknowledged before is there. The owner's frames may still be on their way.
    pub(crate) fn attach(&mut self, request: AttachRequest) {
        let (services, storage) = (Arc::clone(&self.services), self.storage.clone());
        self.looks.push(Box::pin(async move {
            let point = AttachPoint::look(&services, &storage, &request.start).await;
            (request, point)
        }));
    }

    fn looked(&mut self, request: AttachRequest, point: Result<AttachPoint, Refusal>) {
        match point {
            Ok(point) => self.attaching.push(AttachLater { request, point }),
            Err(refusal) => request.refuse(refusal),
        }
    }

    fn attach_waiting(&mut self) {
        let head = self.tail.head();
        for AttachLater { request, point } in
            self.attaching.extract_if(.., |waiting| waiting.point.head <= head).collect::<Vec<_>>()
        {
            if point.first > self.first {
                self.first = point.first;
                self.tail.forget(point.first);
            }
            self.join(request, point.position);
        }
    }

    fn join(&self, request: AttachRequest, position: Option<PeerPosition>) {
        let AttachRequest { start, reader, reply } = request;
        let view = LogView {
            storage: &self.storage,
            tail: &self.tail,
            first: self.first,
            turn: self.turn.as_ref(),
        };
        let (proven, unended) =
            position.map_or((None, Vec::new()), |position| (position.proven, position.unended));
        let begin = view.begin(&start).unwrap_or_else(|_| view.proven(proven));
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

impl AttachPoint {
    async fn look(
        services: &Services,
        storage: &SessionStorage,
        start: &Start,
    ) -> Result<Self, Refusal> {
        let stored = services.store.directory().session(&storage.id).await?;
        let stored = stored.ok_or_else(|| unknown_session(&storage.id))?;
        let position = match start {
            Start::Proven(peer) => {
                let now = services.now().as_millis();
                let since = now.saturating_sub(services.options.proven_for_ms);
                let since = Timestamp::from_millis(since);
                Some(PeerPosition::read(storage, peer.clone(), since).await?)
            }
            Start::Head | Start::Last(_) | Start::After(_) => None,
        };
        Ok(Self { head: stored.state.head(), first: stored.first, position })
    }
}

/// Publishes the records up to a position that a tail does not have yet.
///
/// # Errors
/// When they cannot be read, or are not all there.
pub(crate) async fn fill(services: &Services, tail: &Arc<Tail>, to: Seq) -> Result<(), StoreError> {
    while tail.head() < to {
        let logs = services.store.logs();
        let records = logs.records_after(tail.session(), tail.head(), RECORDS_AT_ONCE).await?;
        let next = tail.head().next();
        if records.first().is_none_or(|record| record.seq != next) {
            return Err(StoreError::Failed(format!("the log has no record {next}")));
        }
        tail.publish(records.into_iter().filter(|one| one.seq <= to).map(Emission::Record));
    }
    Ok(())
}

fn another_node_has_it() -> Refusal {
    Refusal::new(RefusalCode::Moved, "another node has this session; ask that one")
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
