//! The driver: one task per live session that connects the session's core to the store, the tail
//! and the agent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, JoinAll, join_all};
use thoughtwire_proto::{Refusal, RefusalCode, ResumeReason, Seq, SessionId, UserId};
use thoughtwire_session::{
    AgentError, AgentExit, LoadedSession, SessionCore, SessionInput, SessionOptions,
    unknown_session,
};
use thoughtwire_store::{Commit, StoreError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::host::DriverHost;
use super::jobs::JobResult;
use super::live_turn::{LiveTurn, TurnNews};
use super::mail::{AttachRequest, SessionMail};
use super::storage::{NotLoaded, ReadSession, SessionStorage};
use crate::clients::Clients;
use crate::cluster::fill;
use crate::services::Services;
use crate::store_wait::store_is_away;
use crate::tail::{DELETED, Tail};
use crate::workers::is_offered;

/// Longest sleep of a driver without a deadline.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// A live session.
pub(crate) struct SessionDriver {
    pub(super) services: Arc<Services>,
    pub(super) storage: SessionStorage,
    pub(super) core: SessionCore<DriverHost>,
    /// Position of the log's first record.
    pub(super) first: Seq,
    pub(super) tail: Arc<Tail>,
    pub(super) clients: Arc<Clients>,
    /// Batches that the store has, oldest first.
    pub(super) commits: VecDeque<Commit<()>>,
    /// Batches behind one that was not saved. Some may be saved.
    pub(super) discarded: Vec<Commit<()>>,
    /// The checkpoint under way: one write for each of its items.
    pub(super) checkpoint: Option<JoinAll<Commit<()>>>,
    /// Clients that wait for records under way.
    pub(super) attaching: Vec<AttachRequest>,
    pub(super) turn: Option<LiveTurn>,
    /// Reads, deletions and cuts under way.
    pub(super) jobs: JoinSet<JobResult>,
    idle_since: Instant,
    pub(super) end: Option<LiveEnd>,
}

/// A session whose driver lost the store.
pub(crate) struct LostSession {
    pub(crate) tail: Arc<Tail>,
    pub(crate) user: UserId,
    /// Resolves when no write of the driver can be saved any more.
    pub(crate) settled: BoxFuture<'static, ()>,
}

/// Why a driver ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiveEnd {
    /// Nothing was left to do.
    Idle,
    /// The session is deleted.
    Deleted,
    /// The server stops.
    Stopped,
    /// The store was lost: the session has to be loaded again.
    StoreLost,
}

/// One thing that a driver receives.
enum DriverEvent {
    Committed(Result<(), StoreError>),
    Turn(TurnNews),
    Mail(Option<SessionMail>),
    Job(JobResult),
    CheckpointSettled(Result<(), StoreError>),
    PermitGiven,
    PresenceChanged,
    Timeout,
}

impl SessionDriver {
    /// Reads a session and starts its core. `tail` is the one that clients have already, where
    /// another node had the session.
    ///
    /// # Errors
    /// If there is no such session, another node has it, or the store cannot be read.
    pub(crate) async fn load(
        services: &Arc<Services>,
        id: &SessionId,
        clients: impl FnOnce(&UserId) -> Arc<Clients>,
        tail: Option<Arc<Tail>>,
    ) -> Result<Self, NotLoaded> {
        let limit = services.options.turn_within;
        let read = SessionStorage::load(&services.store, id, services.now(), limit).await?;
        let ReadSession { storage, first, profile, stored, seen_keys, time_spent, taken_from } =
            read;
        let tail = match tail {
            Some(tail) => {
                fill(services, &tail, stored.state.head()).await?;
                tail
            }
            None => Tail::new(id.clone(), first, stored.state.head()),
        };
        let is_moved = taken_from.is_some_and(|earlier| earlier.is_other_node);
        let loaded = LoadedSession {
            id: id.clone(),
            seen_keys,
            time_spent,
            was_stopped: taken_from.map_or(services.was_stopped, |earlier| earlier.was_stopped),
            interrupted_by: if is_moved { ResumeReason::Moved } else { ResumeReason::Restart },
            resumes: is_offered(&profile) || services.agent.resumes(),
            stop_at: services.stopping().map(|at| services.elapsed_at(at)),
            stored,
        };
        let workers = Arc::clone(&services.workers);
        let host = DriverHost::new(workers, id.clone(), Arc::new(profile));
        let options = &services.options;
        let options = SessionOptions {
            queued_inputs: options.queued_inputs,
            open_approvals: options.open_approvals,
            turn_within: options.turn_within,
            resting: options.resting,
        };
        Ok(Self {
            core: SessionCore::new(loaded, options, host),
            clients: clients(&storage.user),
            services: Arc::clone(services),
            storage,
            first,
            tail,
            commits: VecDeque::new(),
            discarded: Vec::new(),
            checkpoint: None,
            attaching: Vec::new(),
            turn: None,
            jobs: JoinSet::new(),
            idle_since: Instant::now(),
            end: None,
        })
    }

    /// Runs the session until it ends. `retire` takes an idle session out of the registry, and
    /// fails if mail has come.
    pub(crate) async fn run(
        &mut self,
        mailbox: &mut mpsc::Receiver<SessionMail>,
        retire: impl Fn(&mut mpsc::Receiver<SessionMail>) -> bool,
    ) -> LiveEnd {
        self.handle(SessionInput::Start);
        loop {
            if let Some(end) = self.end {
                return end;
            }
            let passivate_after = self.services.options.passivate_after;
            if self.core.is_busy() || self.tail.has_readers() || !self.jobs.is_empty() {
                self.idle_since = Instant::now();
            } else if self.idle_since.elapsed() >= passivate_after && retire(mailbox) {
                return LiveEnd::Idle;
            }
            let received = self.receive(mailbox).await;
            self.take(received);
            self.attach_waiting();
        }
    }

    /// Ends the agent's work and closes the tail.
    pub(crate) fn close(mut self, end: LiveEnd) {
        drop(self.turn.take());
        self.services.agent.left(&self.storage.id);
        match end {
            LiveEnd::Idle => {}
            LiveEnd::Deleted => self.tail.close(DELETED),
            LiveEnd::Stopped => self.tail.close("the server is stopping"),
            LiveEnd::StoreLost => {}
        }
    }

    /// Ends the agent's work after the store was lost, and refuses clients that wait to attach.
    pub(crate) fn into_lost(mut self) -> LostSession {
        self.attaching.drain(..).for_each(|request| request.refuse(store_is_away()));
        let (tail, user) = (Arc::clone(&self.tail), self.storage.user.clone());
        let mut writes = std::mem::take(&mut self.discarded);
        writes.extend(self.commits.drain(..));
        let texts = self.checkpoint.take();
        self.close(LiveEnd::StoreLost);
        let settled = async move {
            // A log that is read before they are settled may grow.
            drop(join_all(writes).await);
            if let Some(texts) = texts {
                drop(texts.await);
            }
        };
        LostSession { tail, user, settled: Box::pin(settled) }
    }

    async fn receive(&mut self, mailbox: &mut mpsc::Receiver<SessionMail>) -> DriverEvent {
        let wake_at = self.wake_at();
        let takes_agent = self.core.takes_agent_messages();
        let takes_mail = self.core.takes_commands();
        let is_gathering = self.core.is_gathering_presence();
        let tail = Arc::clone(&self.tail);
        let Self { core, commits, checkpoint, turn, jobs, .. } = self;
        // The agent's last messages come before its exit.
        tokio::select! {
            biased;
            Some(result) = front(commits) => DriverEvent::Committed(result),
            Some(Ok(result)) = jobs.join_next() => DriverEvent::Job(result),
            news = next_of(turn), if takes_agent => DriverEvent::Turn(news),
            mail = mailbox.recv(), if takes_mail => DriverEvent::Mail(mail),
            () = core.host_mut().permit_given(), if takes_agent => DriverEvent::PermitGiven,
            () = tail.presence_changed(), if !is_gathering => DriverEvent::PresenceChanged,
            Some(result) = settled(checkpoint) => DriverEvent::CheckpointSettled(result),
            () = tokio::time::sleep_until(wake_at) => DriverEvent::Timeout,
        }
    }

    fn take(&mut self, received: DriverEvent) {
        match received {
            DriverEvent::Committed(result) => {
                drop(self.commits.pop_front());
                match result {
                    Ok(()) => self.handle(SessionInput::Saved),
                    Err(error) => {
                        let session = &self.storage.id;
                        tracing::error!(%session, %error, "events could not be saved");
                        let refusal = Refusal::from(&error);
                        let is_shared = self.services.store.lease().is_some();
                        self.handle(match is_shared && error.is_lost_store() {
                            true => SessionInput::StoreLost(refusal),
                            false => SessionInput::SaveFailed(refusal),
                        });
                    }
                }
            }
            DriverEvent::Turn(news) => {
                let Some(turn) = self.turn.as_ref().map(|turn| turn.id.clone()) else { return };
                self.handle(match news {
                    TurnNews::Message(message) => {
                        SessionInput::Agent { turn: message.turn, verb: message.verb }
                    }
                    TurnNews::Exited(AgentExit::Failed(error))
                        if error.code == AgentError::STORE_LOST =>
                    {
                        let refusal = Refusal::new(RefusalCode::StoreFailed, error.reason);
                        SessionInput::StoreLost(refusal)
                    }
                    TurnNews::Exited(exit) => SessionInput::AgentExited { turn, exit },
                });
            }
            DriverEvent::Mail(Some(mail)) => {
                self.idle_since = Instant::now();
                self.take_mail(mail);
            }
            DriverEvent::Mail(None) => self.end = Some(LiveEnd::Stopped),
            DriverEvent::Job(result) => self.take_job(result),
            DriverEvent::CheckpointSettled(result) => {
                self.checkpoint = None;
                let outcome = result.map_err(|error| {
                    let session = &self.storage.id;
                    tracing::warn!(%session, %error, "open items could not be checkpointed");
                    Refusal::from(&error)
                });
                self.handle(SessionInput::CheckpointSettled(outcome));
            }
            DriverEvent::PermitGiven => self.handle(SessionInput::PermitGiven),
            DriverEvent::PresenceChanged => self.handle(SessionInput::PresenceChanged),
            DriverEvent::Timeout => self.handle(SessionInput::TimePassed),
        }
    }

    fn take_mail(&mut self, mail: SessionMail) {
        if mail.user().is_some_and(|user| *user != self.storage.user) {
            return mail.refuse(unknown_session(&self.storage.id));
        }
        match mail {
            SessionMail::Attach { request, .. } => self.attach(request),
            SessionMail::Request { request, .. } => self.handle(SessionInput::Request(request)),
            SessionMail::ProfileChanged(profile) => {
                self.core.host_mut().set_profile(profile);
                self.handle(SessionInput::ProfileChanged);
            }
            SessionMail::Erased => self.handle(SessionInput::Erased),
            // This node has the session itself.
            SessionMail::NodeGone(_) => {}
            SessionMail::Shorten { through, reply } => self.shorten(through, reply),
            SessionMail::Stop { deadline } => {
                let deadline = self.services.elapsed_at(deadline);
                self.handle(SessionInput::Stop { deadline });
            }
        }
    }

    /// Hands an input to the core, and carries its effects out.
    pub(super) fn handle(&mut self, input: SessionInput<DriverHost>) {
        for effect in self.core.handle(input, self.services.clock()) {
            self.carry_out(effect);
        }
    }

    fn wake_at(&self) -> Instant {
        let now = self.services.clock();
        let mut wake_at = Instant::now() + LONGEST_SLEEP;
        if !self.core.is_busy() && !self.tail.has_readers() && self.jobs.is_empty() {
            wake_at = wake_at.min(self.idle_since + self.services.options.passivate_after);
        }
        match self.core.next_timeout(now) {
            Some(at) => wake_at.min(self.services.instant_at(at)),
            None => wake_at,
        }
    }
}

/// Result of the oldest commit; `None` while there is none. Safe to drop and call again.
async fn front(commits: &mut VecDeque<Commit<()>>) -> Option<Result<(), StoreError>> {
    match commits.front_mut() {
        Some(commit) => Some(commit.await),
        None => None,
    }
}

/// Result of the checkpoint under way; `None` while there is none. Safe to drop and call again.
async fn settled(checkpoint: &mut Option<JoinAll<Commit<()>>>) -> Option<Result<(), StoreError>> {
    match checkpoint {
        Some(writes) => Some(writes.await.into_iter().collect()),
        None => None,
    }
}

/// The next news of the running turn. Never resolves while no turn runs.
async fn next_of(turn: &mut Option<LiveTurn>) -> TurnNews {
    match turn {
        Some(turn) => turn.next().await,
        None => std::future::pending().await,
    }
}
