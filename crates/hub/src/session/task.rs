//! The task of one live session.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use thoughtwire_proto::{
    AgentProfile, CallId, Emission, Event, InputEvent, ItemId, OpenTurn, QueuedInput, Record,
    Refusal, RefusalCode, Seq, SessionId, State, TurnEvent, TurnId,
};
use thoughtwire_store::{
    Batch, BatchExtras, BlockEdit, Commit, Receipt, Store, StoreError, StoredSession,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::asked::unknown_session;
use super::commit::{Pending, UnderWay, Waiter};
use super::starting::Place;
use super::turn::Running;
use super::{Ask, Once};
use crate::clients::Clients;
use crate::hub::Shared;
use crate::tail::{DELETED, Tail};
use crate::turn_message::CallReply;
use crate::workers::is_offered;
use crate::{Input, receipts};

/// How long changes of presence are gathered before they are told.
const PRESENCE_GATHER: Duration = Duration::from_millis(100);
/// How often open items are checkpointed: a crash costs at most so much of an unfinished sentence.
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_millis(900);
/// How long to wait before a turn's end that could not be saved is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A live session.
pub(crate) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) stored: StoredSession,
    pub(super) profile: Arc<AgentProfile>,
    /// Accepted: ahead of the disk by what is under way.
    pub(super) state: State,
    pub(super) tail: Arc<Tail>,
    pub(super) clients: Arc<Clients>,
    pub(super) under_way: UnderWay,
    pub(super) known: receipts::Known,
    /// The queued inputs' contents.
    pub(super) inputs: HashMap<ItemId, Input>,
    pub(super) running: Option<Running>,
    /// For the next turn, where programs outside run the agent.
    pub(super) place: Place,
    /// The running turn as subscribers know it.
    pub(super) shown_turn: Option<TurnId>,
    told_presence: u64,
    presence_due: Option<Instant>,
    /// A turn whose end could not be saved: why it ended, and when to try again.
    pub(super) unended: Option<(Refusal, Instant)>,
    /// When what still runs has to end.
    pub(super) stopping: Option<Instant>,
}

enum Next {
    Committed(Result<(), StoreError>),
    TurnMessage(Option<crate::turn_message::TurnMessage>),
    Returned(Result<Result<(), crate::AgentError>, tokio::task::JoinError>),
    Asked(Option<Ask>),
    /// There is a place for the next turn.
    Given,
    PresenceChanged,
    Tick,
}

/// What goes to disk together with events.
#[derive(Default)]
pub(super) struct Also {
    /// The command that asked for them.
    pub(super) once: Option<Once>,
    /// A memory block that changes with them.
    pub(super) block: Option<BlockEdit>,
    /// The whole of a call's output.
    pub(super) output: Option<(CallId, String)>,
    /// What the provider wants back with the calls that the events begin with.
    pub(super) kept: Option<String>,
    /// What the agent that waits for a call is told once they are on disk.
    pub(super) answered: Option<(CallId, CallReply)>,
}

impl From<Option<Once>> for Also {
    fn from(once: Option<Once>) -> Self {
        Self { once, ..Self::default() }
    }
}

/// Why a live session ended.
pub(super) enum End {
    Idle,
    Deleted,
    Stopped,
}

impl Task {
    /// Loads a session and runs it until it is idle. Asks for a session that is not there are refused.
    pub(crate) async fn run(shared: Arc<Shared>, id: SessionId, mut asks: mpsc::Receiver<Ask>) {
        match Self::load(&shared, &id).await {
            Ok(mut task) => {
                let end = task.live(&mut asks).await;
                drop(task.running.take());
                shared.agent.left(&id);
                match end {
                    End::Idle => {}
                    End::Deleted => task.tail.close(DELETED),
                    End::Stopped => task.tail.close("the server is stopping"),
                }
                if matches!(end, End::Deleted | End::Stopped) {
                    shared.forget(&id, &mut asks);
                }
            }
            Err(refusal) => {
                shared.forget(&id, &mut asks);
                while let Ok(ask) = asks.try_recv() {
                    ask.what.refuse(refusal.clone());
                }
                return;
            }
        }
        // Who met this mailbox just before it closed is sent on to the next one, if there is to be one.
        while let Ok(ask) = asks.try_recv() {
            match shared.stopping() {
                Some(_) => ask.what.refuse(stopping()),
                None => shared.deliver(&id, ask).await,
            }
        }
    }

    async fn load(shared: &Arc<Shared>, id: &SessionId) -> Result<Self, Refusal> {
        let store = &shared.store;
        let Some(stored) = store.logs().load(id, shared.now()).await? else {
            return Err(unknown_session(id));
        };
        let (profile, ids, inputs) = tokio::try_join!(
            store.directory().agent_by_id(&stored.agent),
            store.logs().receipt_ids(&stored.user, id, receipts::BY_HEART),
            read_inputs(store, &stored),
        )?;
        let Some(profile) = profile else { return Err(unknown_session(id)) };
        let state = stored.state.clone();
        let resumes = is_offered(&profile) || shared.agent.resumes();
        let tail = Tail::new(id.clone(), stored.first, state.head());
        let clients = Clients::new(shared, &stored.user, id);
        Ok(Self {
            shared: Arc::clone(shared),
            clients,
            stored,
            profile: Arc::new(profile),
            shown_turn: state.turn().map(|turn| turn.id.clone()),
            unended: state
                .turn()
                .filter(|turn| !turn.is_parked() || !resumes)
                .map(|_| (left_alone(), Instant::now())),
            state,
            tail,
            under_way: UnderWay::default(),
            known: receipts::Known::new(ids),
            inputs,
            running: None,
            place: Place::default(),
            told_presence: 0,
            presence_due: None,
            stopping: shared.stopping(),
        })
    }

    async fn live(&mut self, asks: &mut mpsc::Receiver<Ask>) -> End {
        if self.stopping.is_none() {
            self.resume();
            // Before anything is asked: nobody is refused for a turn that was left before their time.
            self.end_unended();
            self.start_next();
        }
        let mut idle_since = Instant::now();
        loop {
            if let Some(deadline) = self.stopping
                && (self.running.is_none() || self.is_parked() || deadline <= Instant::now())
            {
                self.settle().await;
                return End::Stopped;
            }
            if self.is_busy() {
                idle_since = Instant::now();
            } else if idle_since.elapsed() >= self.shared.options.passivate_after
                && self.shared.passivate(&self.stored.id, asks)
            {
                return End::Idle;
            }
            self.mind_time();
            match self.next(asks, idle_since).await {
                Next::Committed(Ok(())) => self.confirm(),
                Next::Committed(Err(error)) => self.fail(&error).await,
                Next::TurnMessage(Some(message)) => self.hear(message),
                // An embedder let go of its interface.
                Next::TurnMessage(None) => self.returned(Ok(Ok(()))),
                Next::Returned(outcome) => self.returned(outcome),
                Next::Asked(Some(ask)) => {
                    idle_since = Instant::now();
                    if let Some(end) = self.asked(ask).await {
                        return end;
                    }
                }
                Next::Asked(None) => return End::Stopped,
                Next::Given => self.start_next(),
                Next::PresenceChanged => self.presence_due = Some(Instant::now() + PRESENCE_GATHER),
                Next::Tick => self.tick(),
            }
        }
    }

    /// Ends what runs and waits until all that is under way is settled.
    async fn settle(&mut self) {
        self.interrupt_for_stop();
        while !self.under_way.is_empty() {
            match self.under_way.front().await {
                Ok(()) => self.confirm(),
                Err(error) => drop(self.refuse_under_way(&error)),
            }
        }
    }

    async fn next(&mut self, asks: &mut mpsc::Receiver<Ask>, idle_since: Instant) -> Next {
        let room = self.under_way.has_room();
        let wake_at = self.wake_at(idle_since);
        let presence = Arc::clone(&self.tail);
        let Self { under_way, running, place, presence_due, .. } = self;
        let (messages, work) = match running {
            Some(running) => {
                (Some((&mut running.messages, running.work.is_embedded())), Some(&mut running.work))
            }
            None => (None, None),
        };
        // The agent's last words come before its return.
        tokio::select! {
            biased;
            result = under_way.front() => Next::Committed(result),
            message = recv(messages), if room => Next::TurnMessage(message),
            outcome = join(work), if room => Next::Returned(outcome),
            ask = asks.recv(), if room => Next::Asked(ask),
            () = place.given(), if room => Next::Given,
            () = presence.presence_changed(), if presence_due.is_none() => Next::PresenceChanged,
            () = tokio::time::sleep_until(wake_at) => Next::Tick,
        }
    }

    /// Whether the turn merely waits for people or clients outside.
    pub(super) fn is_parked(&self) -> bool {
        self.state.turn().is_some_and(OpenTurn::is_parked)
    }

    fn is_busy(&self) -> bool {
        self.state.turn().is_some()
            || !self.state.queue().is_empty()
            || !self.under_way.is_empty()
            || self.tail.has_readers()
    }

    fn wake_at(&self, idle_since: Instant) -> Instant {
        let mut at = if self.is_busy() {
            Instant::now() + Duration::from_secs(3600)
        } else {
            idle_since + self.shared.options.passivate_after
        };
        if let Some(running) = &self.running
            && let Some(due) = running.due(self.shared.now())
        {
            at = at.min(due);
        }
        if let Some((_, due)) = &self.unended {
            at = at.min(*due);
        }
        for due in [self.presence_due, self.stopping].into_iter().flatten() {
            at = at.min(due);
        }
        at
    }

    fn tick(&mut self) {
        if self.unended.as_ref().is_some_and(|(_, due)| *due <= Instant::now()) {
            self.end_unended();
        }
        if self.presence_due.is_some_and(|due| due <= Instant::now()) {
            self.presence_due = None;
            self.tell_presence();
        }
        self.checkpoint();
        self.expire_waits();
        self.end_overdue();
    }

    fn tell_presence(&mut self) {
        let clients = self.tail.presence();
        if clients != self.told_presence {
            self.told_presence = clients;
            self.show(Emission::Presence { clients });
        }
    }

    /// Numbers events against the accepted state and hands them to the store, all or none.
    pub(super) fn append(
        &mut self,
        events: Vec<(Option<TurnId>, Event)>,
        also: Also,
        waiters: Vec<Waiter>,
    ) -> Result<Seq, thoughtwire_proto::IllegalEvent> {
        let Also { once, block, output, kept, answered } = also;
        let mut state = self.state.clone();
        let after = state.head();
        let at = self.shared.now();
        let mut records = Vec::with_capacity(events.len());
        let mut closed_items = Vec::new();
        for (turn, event) in events {
            if let Err(illegal) = state.apply(turn.as_ref(), &event) {
                let refusal = Refusal::new(RefusalCode::BadRequest, illegal.to_string());
                waiters.into_iter().for_each(|waiter| waiter.failed(&refusal));
                return Err(illegal);
            }
            if let Event::Turn(TurnEvent::Thought { item, .. } | TurnEvent::Message { item, .. }) =
                &event
            {
                closed_items.push(item.clone());
            }
            records.push(Record { seq: state.head(), at, turn, event });
        }
        if let Some(running) = &mut self.running {
            closed_items.retain(|item| running.close(item));
        }
        let receipt = once.as_ref().map(|once| Receipt {
            user: self.stored.user.clone(),
            id: once.id.clone(),
            digest: once.digest.clone(),
            answer: waiters
                .iter()
                .find_map(|waiter| match waiter {
                    Waiter::Client(_, answer) => Some(receipts::to_json(answer)),
                    Waiter::Agent(..) => None,
                })
                .unwrap_or_default(),
        });
        if let Some(once) = &once {
            self.known.add(&once.id);
        }
        let head = state.head();
        let extras = BatchExtras { receipt, block, output, provider_reply: kept, closed_items };
        let batch = Batch::new(self.stored.id.clone(), after, records.clone(), state.clone());
        let commit = match batch {
            Ok(batch) => self.shared.store.logs().append(batch.with(extras)),
            // The fold above numbered the records.
            Err(error) => Commit::failed(error.into()),
        };
        self.state = state;
        self.under_way.push(Pending {
            commit,
            records,
            command: once.map(|once| (once.id, once.digest)),
            waiters,
            answered,
        });
        Ok(head)
    }

    /// Shows something transient, behind what is under way.
    pub(super) fn show(&mut self, emission: Emission) {
        if let Some(emission) = self.under_way.show(emission) {
            self.tail.publish([emission]);
        }
    }

    /// The front append is on disk: answer, then show.
    fn confirm(&mut self) {
        let Some((pending, shown)) = self.under_way.confirmed() else { return };
        // Invariant: an answer is ready before the events it is about can be read from the tail.
        for waiter in pending.waiters {
            waiter.saved();
        }
        // An approved tool must not run before its approval is on disk.
        if let (Some((call, answered)), Some(running)) = (pending.answered, &mut self.running) {
            running.waits.settle(&call, answered);
        }
        for record in &pending.records {
            match &record.event {
                Event::Turn(TurnEvent::Started { .. }) => self.shown_turn.clone_from(&record.turn),
                Event::Turn(TurnEvent::Ended { .. }) => self.shown_turn = None,
                Event::Session(_)
                | Event::Input(_)
                | Event::Turn(
                    TurnEvent::Thought { .. }
                    | TurnEvent::ToolCalled { .. }
                    | TurnEvent::ApprovalAsked { .. }
                    | TurnEvent::ApprovalSettled { .. }
                    | TurnEvent::ToolAwaited { .. }
                    | TurnEvent::ToolReturned { .. }
                    | TurnEvent::Message { .. }
                    | TurnEvent::Usage(_),
                )
                | Event::Other(_) => {}
            }
        }
        self.shared.metrics.committed(&pending.records);
        self.shared.changed(&self.stored.user, &self.stored.id, &pending.records);
        self.tail.publish(pending.records.into_iter().map(Emission::Record).chain(shown));
    }

    fn refuse_under_way(&mut self, error: &StoreError) -> Refusal {
        let refusal = Refusal::from(error);
        for pending in self.under_way.discard() {
            for waiter in pending.waiters {
                waiter.failed(&refusal);
            }
        }
        refusal
    }

    /// An append failed: nothing under way is on disk, so go back to what is.
    async fn fail(&mut self, error: &StoreError) {
        tracing::error!(session = %self.stored.id, %error, "events could not be saved");
        let refusal = self.refuse_under_way(error);
        loop {
            match self.read_back().await {
                Ok(Some((stored, inputs))) => {
                    self.state = stored.state.clone();
                    self.stored = stored;
                    self.inputs = inputs;
                    break;
                }
                Ok(None) => break,
                // Neither writing nor reading works: there is nothing truthful to go on with yet. A stop
                // does not wait for it; the next start ends what is open.
                Err(_) => match self.shared.stopping() {
                    Some(deadline) if deadline <= Instant::now() => {
                        self.stopping = Some(deadline);
                        return;
                    }
                    Some(_) | None => tokio::time::sleep(RETRY_AFTER).await,
                },
            }
        }
        if let Some(turn) = self.state.turn() {
            // What was said in a turn that is not on disk is not said in the one that is.
            if self.running.as_ref().is_some_and(|running| running.id != turn.id) {
                drop(self.running.take());
            }
            self.tail.publish([Emission::Status { turn: None, text: refusal.reason.clone() }]);
            self.unended = Some((refusal, Instant::now() + RETRY_AFTER));
            if let Some(running) = &mut self.running {
                running.work.abort();
                running.messages.close();
                // What it had said behind what is lost is lost as well: a log has no holes.
                while running.messages.try_recv().is_ok() {}
                // Questions that were not saved would lapse without end.
                running.waits.clear();
            }
        } else {
            drop(self.running.take());
            self.start_next();
        }
    }

    /// Reads the session as it is on disk, with the inputs that wait: those whose turns were not
    /// saved wait again.
    async fn read_back(
        &self,
    ) -> Result<Option<(StoredSession, HashMap<ItemId, Input>)>, StoreError> {
        let store = &self.shared.store;
        let stored = store.directory().session(&self.stored.id).await?;
        let Some(stored) = stored else { return Ok(None) };
        let inputs = read_inputs(store, &stored).await?;
        Ok(Some((stored, inputs)))
    }

    fn end_unended(&mut self) {
        let Some((refusal, _)) = self.unended.take() else { return };
        let code = refusal.code.as_str();
        let events =
            self.closing(thoughtwire_proto::Outcome::Failed, Some(code), Some(&refusal.reason));
        drop(self.running.take());
        // Should this fail too, `fail` comes here again after its pause.
        if self.append(events, Also::default(), Vec::new()).is_ok() {
            self.start_next();
        }
    }
}

/// The contents of the inputs that wait. A parked turn's input is among them: it is run again like a queued one.
async fn read_inputs(
    store: &Store,
    stored: &StoredSession,
) -> Result<HashMap<ItemId, Input>, StoreError> {
    let mut inputs = HashMap::new();
    let parked =
        stored.state.turn().map(|turn| QueuedInput { input: turn.input.clone(), seq: turn.asked });
    for queued in stored.state.queue().iter().chain(&parked) {
        let before = Seq(queued.seq.0.saturating_sub(1));
        for record in store.logs().records_after(&stored.id, before, 1).await? {
            if let Event::Input(InputEvent::UserMessage { item, text, attachments, .. }) =
                record.event
            {
                inputs.insert(item.clone(), Input { item, text, attachments });
            }
        }
    }
    Ok(inputs)
}

fn stopping() -> Refusal {
    Refusal::new(RefusalCode::Stopping, "the server is stopping; ask again when it is back")
}

fn left_alone() -> Refusal {
    Refusal::new(RefusalCode::Internal, "the turn was left without its agent")
}

async fn recv(
    messages: Option<(&mut mpsc::Receiver<crate::turn_message::TurnMessage>, bool)>,
) -> Option<crate::turn_message::TurnMessage> {
    match messages {
        Some((messages, embedded)) => match messages.recv().await {
            Some(message) => Some(message),
            None if embedded => None,
            // A closed channel would be ready for ever; the agent's return says the same once.
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn join(
    work: Option<&mut super::turn::Work>,
) -> Result<Result<(), crate::AgentError>, tokio::task::JoinError> {
    match work {
        Some(work) => work.returned().await,
        None => std::future::pending().await,
    }
}
