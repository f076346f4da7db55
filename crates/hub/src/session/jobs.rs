//! Jobs: work of a session that waits for the store beside the session's task. Their results come
//! back to the task.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_proto::{Attached, ItemId, Refusal, Seq, SessionReply, Start, Timestamp};
use thoughtwire_session::{SessionInput, StoredState};
use thoughtwire_store::{Store, StoreError};
use tokio::sync::oneshot;

use super::attach::{Begin, LogView};
use super::driver::SessionDriver;
use super::mail::AttachRequest;
use super::peer_position::PeerPosition;
use super::storage::Cut;
use crate::subscription::Subscription;

/// How long a client that attaches waits for the renewal of the lease, in steps of a tenth of a
/// second.
const LEASE_STEPS: u32 = 30;
const LEASE_STEP: Duration = Duration::from_millis(100);

/// Result of a job.
pub(crate) enum JobResult {
    Receipt(Result<Option<SessionReply>, Refusal>),
    Reloaded(Result<Option<StoredState>, Refusal>),
    Deleted(Result<(), Refusal>),
    Proven(AttachRequest, Result<PeerPosition, Refusal>),
    /// Whether the lease is held again.
    Leased(AttachRequest, Result<(), Refusal>),
    Shortened(oneshot::Sender<Result<bool, Refusal>>, Result<Option<Seq>, Refusal>),
}

impl SessionDriver {
    /// Starts a job.
    pub(super) fn spawn(&mut self, job: impl Future<Output = JobResult> + Send + 'static) {
        self.jobs.spawn(self.services.tasks.track_future(job));
    }

    /// Takes the result of a job.
    pub(super) fn take_job(&mut self, result: JobResult) {
        match result {
            JobResult::Receipt(found) => self.handle(SessionInput::ReceiptLookedUp(found)),
            JobResult::Reloaded(stored) => self.handle(SessionInput::Reloaded(stored)),
            JobResult::Deleted(result) => self.handle(SessionInput::Deleted(result)),
            JobResult::Proven(request, Ok(position)) => {
                let begin = self.log_view().proven(position.proven);
                self.join(request, begin, position.unended);
            }
            JobResult::Leased(request, Ok(())) => self.attach(request),
            JobResult::Leased(request, Err(refusal)) | JobResult::Proven(request, Err(refusal)) => {
                request.refuse(refusal);
            }
            JobResult::Shortened(reply, begin) => {
                if let Ok(Some(first)) = begin {
                    self.first = self.first.max(first);
                    self.tail.forget(first);
                }
                drop(reply.send(begin.map(|begin| begin.is_some())));
            }
        }
    }

    /// Attaches a client, or looks its peer's proven position up first. While another node may have
    /// taken the session and appended to it, the client waits.
    pub(crate) fn attach(&mut self, request: AttachRequest) {
        if self.services.store.check_lease().is_err() {
            let store = Arc::clone(&self.services.store);
            return self.spawn(async move {
                let held = lease_held(&store).await;
                JobResult::Leased(request, held.map_err(Refusal::from))
            });
        }
        if self.is_on_its_way(&request.start) {
            return self.attaching.push(request);
        }
        let peer = match self.log_view().begin(&request.start) {
            Ok(begin) => return self.join(request, begin, Vec::new()),
            Err(peer) => peer.clone(),
        };
        let now = self.services.clock().wall.as_millis();
        let window = self.services.options.proven_for_ms;
        let since = Timestamp::from_millis(now.saturating_sub(window));
        let storage = self.storage.clone();
        self.spawn(async move {
            let position = PeerPosition::read(&storage, peer, since).await;
            JobResult::Proven(request, position)
        });
    }

    /// Attaches the clients that wait for records which are saved, or have failed, by now.
    pub(super) fn attach_waiting(&mut self) {
        for request in std::mem::take(&mut self.attaching) {
            self.attach(request);
        }
    }

    /// Whether a client begins behind a record that is not shown yet. The store may have shown it:
    /// a write is there before its session is told.
    fn is_on_its_way(&self, start: &Start) -> bool {
        match start {
            Start::After(cursor) => {
                let is_same_log =
                    cursor.epoch.as_ref().is_none_or(|epoch| *epoch == self.storage.epoch);
                is_same_log
                    && cursor.seq > self.tail.head()
                    && cursor.seq <= self.core.state().head()
            }
            Start::Head | Start::Last(_) | Start::Proven(_) => false,
        }
    }

    fn log_view(&self) -> LogView<'_> {
        let turn = self.core.shown_turn();
        LogView { storage: &self.storage, tail: &self.tail, first: self.first, turn }
    }

    fn join(&mut self, request: AttachRequest, begin: Begin, unended: Vec<ItemId>) {
        let AttachRequest { reader, reply, .. } = request;
        self.tail.join(&reader);
        let attached = Attached { unended, ..self.log_view().attached(begin) };
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

    /// Lets the log begin behind its turns up to a position.
    pub(super) fn shorten(&mut self, through: Seq, reply: oneshot::Sender<Result<bool, Refusal>>) {
        let through = through.min(self.tail.head());
        let cut = Cut::new(self.core.state(), self.core.is_settled(), through);
        let (storage, first) = (self.storage.clone(), self.first);
        self.spawn(async move { JobResult::Shortened(reply, storage.shorten(cut, first).await) });
    }
}

/// Waits for a moment until the lease is held again.
async fn lease_held(store: &Store) -> Result<(), StoreError> {
    for _ in 0..LEASE_STEPS {
        match store.check_lease() {
            Err(StoreError::Away(_)) => tokio::time::sleep(LEASE_STEP).await,
            outcome => return outcome,
        }
    }
    store.check_lease()
}
