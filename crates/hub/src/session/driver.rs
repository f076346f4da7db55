//! The driver: one task per live session that connects the session's core to the store, the tail and
//! the agent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use thoughtwire_proto::{Answer, Refusal, Seq, SessionId, Timestamp, UserId};
use thoughtwire_session::{
    Effect, LoadedSession, Runner, SessionCore, SessionEnd, SessionInput, SessionOptions,
    StoredState, TurnStart, unknown_session,
};
use thoughtwire_store::{Commit, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::TURN_MESSAGES;
use super::attach::{Begin, LogView};
use super::host::{SessionHost, reply};
use super::live_turn::{LiveTurn, TurnNews, TurnWork};
use super::mail::{AttachRequest, SessionMail};
use super::storage::{Cut, ReadSession, SessionStorage};
use crate::agent::{Log, Turn};
use crate::clients::Clients;
use crate::interface::Interface;
use crate::offers::is_offered;
use crate::retention::cut_before;
use crate::services::Services;
use crate::subscription::Subscription;
use crate::tail::{DELETED, Tail};

/// Longest sleep of a driver without a deadline.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// A live session.
pub(crate) struct SessionDriver {
    services: Arc<Services>,
    storage: SessionStorage,
    core: SessionCore<SessionHost>,
    /// Position of the log's first record.
    first: Seq,
    tail: Arc<Tail>,
    clients: Arc<Clients>,
    /// Batches that the store has, oldest first.
    commits: VecDeque<Commit<()>>,
    checkpoint: Option<Commit<()>>,
    turn: Option<LiveTurn>,
    /// Reads, deletions and cuts under way.
    jobs: JoinSet<JobResult>,
    idle_since: Instant,
    end: Option<LiveEnd>,
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
}

/// Result of work that runs beside the driver.
enum JobResult {
    Receipt(Result<Option<Answer>, Refusal>),
    Reloaded(Result<Option<StoredState>, Refusal>),
    Deleted(Result<(), Refusal>),
    Proven(AttachRequest, Result<Option<Seq>, Refusal>),
    Shortened(oneshot::Sender<Result<bool, Refusal>>, Result<Option<Seq>, Refusal>),
}

/// What a driver receives.
enum Received {
    Committed(Result<(), StoreError>),
    Turn(TurnNews),
    Mail(Option<SessionMail>),
    Job(JobResult),
    CheckpointSettled,
    PermitGiven,
    PresenceChanged,
    Timeout,
}

impl SessionDriver {
    /// Reads a session and starts its core.
    ///
    /// # Errors
    /// If there is no such session, or the store cannot be read.
    pub(crate) async fn load(
        services: &Arc<Services>,
        id: &SessionId,
        clients: impl FnOnce(&UserId) -> Arc<Clients>,
    ) -> Result<Self, Refusal> {
        let read = SessionStorage::load(&services.store, id).await?;
        let ReadSession { storage, first, profile, stored, seen_keys } = read;
        let tail = Tail::new(id.clone(), first, stored.state.head());
        let loaded = LoadedSession {
            id: id.clone(),
            seen_keys,
            resumes: is_offered(&profile) || services.agent.resumes(),
            stop_at: services.stopping().map(|at| services.elapsed_at(at)),
            stored,
        };
        let offers = Arc::clone(&services.offers);
        let host = SessionHost::new(offers, id.clone(), Arc::new(profile));
        let options = &services.options;
        let options = SessionOptions {
            queued_inputs: options.queued_inputs,
            open_approvals: options.open_approvals,
            turn_within: options.turn_within,
            resting: options.resting,
        };
        Ok(Self {
            core: SessionCore::new(loaded, options, host, services.clock()),
            clients: clients(&storage.user),
            services: Arc::clone(services),
            storage,
            first,
            tail,
            commits: VecDeque::new(),
            checkpoint: None,
            turn: None,
            jobs: JoinSet::new(),
            idle_since: Instant::now(),
            end: None,
        })
    }

    /// Runs the session until it ends. `retire` takes an idle session out of the registry, and fails
    /// if mail has come.
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
        }
    }

    /// Ends the agent's work and closes the tail.
    pub(crate) fn close(mut self, end: LiveEnd) {
        drop(self.turn.take());
        self.services.agent.left(self.storage.num);
        match end {
            LiveEnd::Idle => {}
            LiveEnd::Deleted => self.tail.close(DELETED),
            LiveEnd::Stopped => self.tail.close("the server is stopping"),
        }
    }

    async fn receive(&mut self, mailbox: &mut mpsc::Receiver<SessionMail>) -> Received {
        let wake_at = self.wake_at();
        let takes_agent = self.core.takes_agent_messages();
        let takes_mail = self.core.takes_commands();
        let is_gathering = self.core.is_gathering_presence();
        let tail = Arc::clone(&self.tail);
        let Self { core, commits, checkpoint, turn, jobs, .. } = self;
        // The agent's last messages come before its exit.
        tokio::select! {
            biased;
            Some(result) = front(commits) => Received::Committed(result),
            Some(Ok(result)) = jobs.join_next() => Received::Job(result),
            news = next_of(turn), if takes_agent => Received::Turn(news),
            mail = mailbox.recv(), if takes_mail => Received::Mail(mail),
            () = core.host_mut().permit_given(), if takes_agent => Received::PermitGiven,
            () = tail.presence_changed(), if !is_gathering => Received::PresenceChanged,
            Some(_) = settled(checkpoint) => Received::CheckpointSettled,
            () = tokio::time::sleep_until(wake_at) => Received::Timeout,
        }
    }

    fn take(&mut self, received: Received) {
        match received {
            Received::Committed(result) => {
                drop(self.commits.pop_front());
                match result {
                    Ok(()) => self.handle(SessionInput::Saved),
                    Err(error) => {
                        tracing::error!(session = %self.storage.id, %error, "events could not be saved");
                        self.handle(SessionInput::SaveFailed(Refusal::from(&error)));
                    }
                }
            }
            Received::Turn(news) => {
                let Some(turn) = self.turn.as_ref().map(|turn| turn.id.clone()) else { return };
                self.handle(match news {
                    TurnNews::Message(message) => {
                        SessionInput::Agent { turn: message.turn, verb: message.verb }
                    }
                    TurnNews::Exited(exit) => SessionInput::AgentExited { turn, exit },
                });
            }
            Received::Mail(Some(mail)) => {
                self.idle_since = Instant::now();
                self.take_mail(mail);
            }
            Received::Mail(None) => self.end = Some(LiveEnd::Stopped),
            Received::Job(result) => self.take_job(result),
            Received::CheckpointSettled => {
                self.checkpoint = None;
                self.handle(SessionInput::CheckpointSettled);
            }
            Received::PermitGiven => self.handle(SessionInput::PermitGiven),
            Received::PresenceChanged => self.handle(SessionInput::PresenceChanged),
            Received::Timeout => self.handle(SessionInput::TimePassed),
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
            SessionMail::Shorten { through, reply } => self.shorten(through, reply),
            SessionMail::Stop { deadline } => {
                let deadline = self.services.elapsed_at(deadline);
                self.handle(SessionInput::Stop { deadline });
            }
        }
    }

    fn take_job(&mut self, result: JobResult) {
        match result {
            JobResult::Receipt(found) => self.handle(SessionInput::ReceiptLookedUp(found)),
            JobResult::Reloaded(stored) => self.handle(SessionInput::Reloaded(stored)),
            JobResult::Deleted(result) => self.handle(SessionInput::Deleted(result)),
            JobResult::Proven(request, Ok(proven)) => {
                let begin = self.log_view().proven(proven);
                self.join(request, begin);
            }
            JobResult::Proven(request, Err(refusal)) => drop(request.reply.send(Err(refusal))),
            JobResult::Shortened(reply, begin) => {
                if let Ok(Some(first)) = begin {
                    self.first = self.first.max(first);
                    self.tail.forget(first);
                }
                drop(reply.send(begin.map(|begin| begin.is_some())));
            }
        }
    }

    /// Hands an input to the core, and carries its effects out.
    fn handle(&mut self, input: SessionInput<SessionHost>) {
        for effect in self.core.handle(input, self.services.clock()) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect<SessionHost>) {
        match effect {
            Effect::Append(batch) => self.commits.push_back(self.storage.append(*batch)),
            Effect::DiscardAppends => self.commits.clear(),
            Effect::Publish { records, then } => {
                self.services.committed(&self.storage.user, &self.storage.id, &records);
                let records = records.into_iter().map(thoughtwire_proto::Emission::Record);
                self.tail.publish(records.chain(then));
            }
            Effect::Show(emission) => self.tail.publish([emission]),
            Effect::SetStanding(text) => self.tail.stands(text),
            Effect::Checkpoint(texts) => self.checkpoint = self.storage.checkpoint(texts),
            Effect::StartTurn(start) => self.start_turn(*start),
            Effect::DropTurn => {
                self.turn = None;
                self.core.host_mut().turn_dropped();
            }
            Effect::LookUpReceipt(key) => {
                let storage = self.storage.clone();
                self.spawn(async move { JobResult::Receipt(storage.receipt(&key).await) });
            }
            Effect::Delete(key) => {
                let storage = self.storage.clone();
                self.spawn(async move { JobResult::Deleted(storage.delete(key).await) });
            }
            Effect::Reload => {
                let storage = self.storage.clone();
                self.spawn(async move { JobResult::Reloaded(storage.reload().await) });
            }
            Effect::CountClients => {
                let clients = self.tail.presence();
                self.handle(SessionInput::ClientsCounted(clients));
            }
            Effect::End(end) => {
                self.end = Some(match end {
                    SessionEnd::Deleted => LiveEnd::Deleted,
                    SessionEnd::Stopped => LiveEnd::Stopped,
                });
            }
            replied @ (Effect::ReplyCommand(..)
            | Effect::ReplySeq(..)
            | Effect::ReplyFinish(..)
            | Effect::ReplySteered(..)
            | Effect::ReplyCall(..)
            | Effect::RefuseBegin(..)) => reply(replied),
        }
    }

    fn spawn(&mut self, job: impl Future<Output = JobResult> + Send + 'static) {
        self.jobs.spawn(self.services.tasks.track_future(job));
    }

    fn start_turn(&mut self, start: TurnStart<SessionHost>) {
        let (sender, messages) = mpsc::channel(TURN_MESSAGES);
        let id = start.turn.clone();
        let interface = Interface {
            session: self.storage.id.clone(),
            turn: start.turn.clone(),
            messages: sender,
            tail: Arc::clone(&self.tail),
            clients: Arc::clone(&self.clients),
            input: Arc::new(start.input.clone()),
            memory: Arc::clone(&self.services.memory),
            agent: self.storage.agent.clone(),
        };
        let worker = match start.runner {
            Runner::Embedder(begun) => {
                drop(begun.send(Ok(interface)));
                TurnWork::Embedder
            }
            Runner::Agent(permit) => {
                let host = self.core.host_mut();
                let (cell, profile) = (host.turn_started(permit), Arc::clone(host.profile()));
                let turn = Turn {
                    session: self.storage.id.clone(),
                    id: start.turn,
                    instructions: start.instructions,
                    input: start.input,
                    waiting: start.open_calls,
                    compaction: start.compaction,
                    log: Log {
                        store: Arc::clone(&self.services.store),
                        session: self.storage.num,
                        first: self.first,
                        asked: start.asked,
                        started: start.started,
                        launched: start.launched,
                    },
                    interface,
                    agent: profile,
                };
                let work = if is_offered(&turn.agent) {
                    Box::pin(Arc::clone(&self.services.offers).run(turn, cell))
                } else {
                    self.services.agent.run(turn)
                };
                TurnWork::Task(tokio::spawn(self.services.agent_work.track_future(work)))
            }
        };
        self.turn = Some(LiveTurn::new(id, messages, worker));
    }

    fn log_view(&self) -> LogView<'_> {
        let turn = self.core.shown_turn();
        LogView { storage: &self.storage, tail: &self.tail, first: self.first, turn }
    }

    fn attach(&mut self, request: AttachRequest) {
        let peer = match self.log_view().begin(&request.start) {
            Ok(begin) => return self.join(request, begin),
            Err(peer) => peer.clone(),
        };
        let now = self.services.clock().wall.as_millis();
        let window = self.services.options.proven_for_ms;
        let since = Timestamp::from_millis(now.saturating_sub(window));
        let storage = self.storage.clone();
        self.spawn(async move {
            let proven = storage.proven(peer, since).await;
            JobResult::Proven(request, proven)
        });
    }

    fn join(&mut self, request: AttachRequest, begin: Begin) {
        let AttachRequest { reader, reply, .. } = request;
        self.tail.join(&reader);
        let attached = self.log_view().attached(begin);
        let subscription = Subscription::new(
            &self.services.store,
            &self.services.metrics,
            self.storage.num,
            Arc::clone(&self.tail),
            reader,
            attached.after,
        );
        // A client that left takes the subscription with it.
        drop(reply.send(Ok((attached, subscription))));
    }

    /// Lets the log begin behind its turns up to a position.
    fn shorten(&mut self, through: Seq, reply: oneshot::Sender<Result<bool, Refusal>>) {
        let state = self.core.state();
        let turn = state.turn().into_iter().flat_map(|turn| [turn.asked, turn.started]);
        let queued = state.queue().iter().map(|queued| queued.seq);
        let through = cut_before(turn.chain(queued), through.min(self.tail.head()));
        let is_idle = state.turn().is_none() && self.core.is_settled();
        let is_whole = is_idle && through == state.head();
        let cut = if is_whole { Cut::At(through) } else { Cut::Within(through) };
        let (storage, first) = (self.storage.clone(), self.first);
        self.spawn(async move { JobResult::Shortened(reply, storage.shorten(cut, first).await) });
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
async fn settled(checkpoint: &mut Option<Commit<()>>) -> Option<Result<(), StoreError>> {
    match checkpoint {
        Some(checkpoint) => Some(checkpoint.await),
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
