//! The session core: takes inputs, returns effects.

use std::collections::VecDeque;
use std::time::Duration;

use thoughtwire_proto::{
    Emission, OpenTurn, Refusal, RefusalCode, SessionCommand, SessionId, SessionReply, State,
    TurnId,
};

use crate::text_saves::TextSaves;
use crate::turns::{TurnQueue, Unended};
use crate::{
    CommandRequest, CoreReply, Effect, LoadedSession, Now, SessionEnd, SessionHost, SessionInput,
    SessionOptions, SessionRequest, StoredState, agent_messages, commands, deadlines,
    unknown_session,
};

/// How long changes of presence are gathered before clients are told.
const PRESENCE_DELAY: Duration = Duration::from_millis(100);
/// How long to wait before a read or a turn's end that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Commands that may wait behind a lookup, a reload or a deletion.
const MAX_HELD: usize = 64;

/// The state machine of one live session.
pub struct SessionCore<H: SessionHost> {
    id: SessionId,
    turns: TurnQueue<H>,
    life: LifePhase,
    /// The command whose receipt is looked up. Commands behind it keep their order and are held.
    lookup: Option<CommandRequest<H>>,
    /// Commands that wait for the lookup, the reload or the deletion under way. A reload that fails
    /// refuses them.
    held: VecDeque<SessionRequest<H>>,
    reload: Option<Reload>,
    presence: PresenceGathering,
    saves: TextSaves<H>,
    /// When a turn that still runs has to end, once the server stops.
    stop_at: Option<Duration>,
}

/// Which part of its life the session is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LifePhase {
    Live,
    /// Nothing more is accepted; what is under way is settled first.
    Settling(SessionEnd),
    Ended,
}

/// A failed append made the accepted state wrong: the stored state is read.
struct Reload {
    refusal: Refusal,
    /// When to read again after a read that failed; `None` while a read is under way.
    retry_at: Option<Duration>,
}

#[derive(Default)]
struct PresenceGathering {
    shown: u64,
    due: Option<Duration>,
}

impl PresenceGathering {
    /// Takes the number of clients. Returns whether clients must be told.
    fn count(&mut self, clients: u64) -> bool {
        std::mem::replace(&mut self.shown, clients) != clients
    }
}

impl<H: SessionHost> SessionCore<H> {
    /// Takes a session as it was loaded. The first input is [`SessionInput::Start`].
    pub fn new(loaded: LoadedSession, options: SessionOptions, host: H) -> Self {
        let (id, stop_at) = (loaded.id.clone(), loaded.stop_at);
        Self {
            id,
            turns: TurnQueue::new(loaded, options, host),
            life: LifePhase::Live,
            lookup: None,
            held: VecDeque::new(),
            reload: None,
            presence: PresenceGathering::default(),
            saves: TextSaves::default(),
            stop_at,
        }
    }

    /// The accepted state.
    #[must_use]
    pub fn state(&self) -> &State {
        self.turns.log.state()
    }

    /// The running turn as committed records show it.
    #[must_use]
    pub fn shown_turn(&self) -> Option<&TurnId> {
        self.turns.log.shown_turn()
    }

    /// The driver's host.
    pub fn host_mut(&mut self) -> &mut H {
        &mut self.turns.host
    }

    /// Whether everything that was accepted is on disk and shown.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.turns.log.is_settled()
    }

    /// Whether the session has something to do, so that it stays in memory.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let state = self.state();
        state.turn().is_some()
            || !state.queue().is_empty()
            || !self.is_settled()
            || self.is_paused()
            || self.lookup.is_some()
    }

    /// Whether the driver may hand in commands. Otherwise they stay in its mailbox.
    #[must_use]
    pub fn takes_commands(&self) -> bool {
        self.life == LifePhase::Live && self.turns.log.has_room() && self.held.len() < MAX_HELD
    }

    /// Whether the driver may hand in messages of the agent, its exit and permits.
    #[must_use]
    pub fn takes_agent_messages(&self) -> bool {
        self.life == LifePhase::Live && self.turns.log.has_room() && !self.is_paused()
    }

    /// Whether changes of presence are gathered already, so that the driver need not report more.
    #[must_use]
    pub fn is_gathering_presence(&self) -> bool {
        self.presence.due.is_some()
    }

    /// When [`SessionInput::TimePassed`] is due, in elapsed time.
    #[must_use]
    pub fn next_timeout(&self, now: Now) -> Option<Duration> {
        if self.life != LifePhase::Live {
            return None;
        }
        let reload = self.reload.as_ref().and_then(|reload| reload.retry_at);
        let turn = if self.is_paused() { None } else { deadlines::next(&self.turns, now) };
        [reload, turn, self.presence.due, self.stop_at].into_iter().flatten().min()
    }

    /// Takes one input at a time and returns what to do, in order.
    pub fn handle(&mut self, input: SessionInput<H>, now: Now) -> Vec<Effect<H>> {
        match input {
            SessionInput::Start => self.start(now),
            SessionInput::Request(request) => self.receive(request, now),
            SessionInput::ProfileChanged | SessionInput::PermitGiven => self.start_next(now),
            SessionInput::Agent { turn, verb } => {
                if self.life == LifePhase::Live {
                    agent_messages::handle(&mut self.turns, now, turn, verb);
                } else {
                    agent_messages::refuse_ended(&mut self.turns, verb);
                }
            }
            SessionInput::AgentExited { turn, exit } => {
                if self.life == LifePhase::Live {
                    agent_messages::exited(&mut self.turns, now, &turn, &exit);
                }
            }
            SessionInput::Saved => self.saved(),
            SessionInput::SaveFailed(refusal) => self.save_failed(refusal),
            SessionInput::StoreLost(refusal) => self.store_lost(refusal),
            SessionInput::CheckpointSettled(outcome) => {
                if let Some(running) = &mut self.turns.running {
                    running.items.checkpoint_settled(&outcome, now.elapsed);
                }
                self.saves.settled(&mut self.turns, now, &outcome);
            }
            SessionInput::ReceiptLookedUp(result) => self.receipt_looked_up(result, now),
            SessionInput::Reloaded(result) => self.reloaded(result, now),
            SessionInput::Deleted(result) => self.deleted(result, now),
            SessionInput::Erased => self.erased(),
            SessionInput::PresenceChanged => {
                self.presence.due.get_or_insert(now.elapsed + PRESENCE_DELAY);
            }
            SessionInput::ClientsCounted(clients) => {
                if self.presence.count(clients) {
                    self.turns.log.show(Emission::Presence { clients });
                }
            }
            SessionInput::TimePassed => self.time_passed(now),
            SessionInput::Stop { deadline } => {
                self.stop_at = Some(deadline);
                self.turns.is_stopping = true;
            }
        }
        self.settle(now);
        if let Some(running) = &mut self.turns.running {
            let is_parked = self.turns.log.state().turn().is_some_and(OpenTurn::is_parked);
            running.time.set_running(!is_parked, now.elapsed);
        }
        self.turns.log.take_effects()
    }

    /// Whether the accepted state is uncertain, so that nothing is accepted.
    fn is_paused(&self) -> bool {
        self.reload.is_some() || self.turns.deletion.is_some()
    }

    /// Goes on with what the log left open. Nobody is refused for a turn that was left before.
    fn start(&mut self, now: Now) {
        if self.stop_at.is_none() {
            self.turns.take_up(now);
            self.turns.start_next(now);
        }
    }

    fn start_next(&mut self, now: Now) {
        if self.life == LifePhase::Live && !self.is_paused() {
            self.turns.start_next(now);
        }
    }

    /// Takes a request, or holds it behind the work under way.
    fn receive(&mut self, request: SessionRequest<H>, now: Now) {
        let refusal = match self.life {
            LifePhase::Live if self.is_paused() || self.lookup.is_some() => {
                return self.held.push_back(request);
            }
            LifePhase::Live => return self.run(request, now),
            LifePhase::Settling(SessionEnd::Stopped | SessionEnd::StoreLost) => stopping(),
            LifePhase::Settling(SessionEnd::Deleted) | LifePhase::Ended => {
                unknown_session(&self.id)
            }
        };
        self.turns.log.reply(request.refused(refusal));
    }

    fn run(&mut self, request: SessionRequest<H>, now: Now) {
        match request {
            // Deletions have receipts outside the session, which the driver has looked up.
            SessionRequest::Command(request) if request.command == SessionCommand::Delete => {
                commands::apply(&mut self.turns, now, request);
            }
            SessionRequest::Command(request) => self.run_once(request, now),
            SessionRequest::EditBlock { changed, extras, reply } => {
                commands::edit_block(&mut self.turns, now, changed, extras, reply);
            }
            SessionRequest::SaveOpenText { reply } => {
                self.saves.ask(&mut self.turns, now, reply);
            }
            SessionRequest::Begin { text, reply } => {
                commands::begin(&mut self.turns, now, text, reply);
            }
        }
    }

    /// Lets a command through the first time its key is seen; answers repetitions.
    fn run_once(&mut self, request: CommandRequest<H>, now: Now) {
        let CommandRequest { command, from, key, reply } = request;
        let Some(key) = key else {
            let request = CommandRequest { command, from, key: None, reply };
            return commands::apply(&mut self.turns, now, request);
        };
        let Some(reply) = self.turns.log.join(&key, reply) else { return };
        if self.turns.log.is_new(&key) {
            let request = CommandRequest { command, from, key: Some(key), reply };
            commands::apply(&mut self.turns, now, request);
        } else {
            self.turns.log.emit(Effect::LookUpReceipt(key.clone()));
            self.lookup = Some(CommandRequest { command, from, key: Some(key), reply });
        }
    }

    fn receipt_looked_up(&mut self, result: Result<Option<SessionReply>, Refusal>, now: Now) {
        let Some(request) = self.lookup.take() else { return };
        let answer = match result {
            Ok(None) => {
                if self.life == LifePhase::Live && !self.is_paused() {
                    commands::apply(&mut self.turns, now, request);
                } else {
                    self.held.push_front(SessionRequest::Command(request));
                }
                return self.release(now);
            }
            Ok(Some(answer)) => Ok(answer),
            Err(refusal) => Err(refusal),
        };
        self.turns.log.reply(CoreReply::Command(request.reply, answer));
        self.release(now);
    }

    /// Takes the held commands, until one of them has to wait again.
    fn release(&mut self, now: Now) {
        while self.life == LifePhase::Live
            && !self.is_paused()
            && self.lookup.is_none()
            && let Some(input) = self.held.pop_front()
        {
            self.run(input, now);
        }
    }

    /// The oldest append is on disk: replies, then shows it.
    fn saved(&mut self) {
        let Some((append, then)) = self.turns.log.confirm() else { return };
        // Invariant: a reply comes before the events that it is about. Test: `batches`.
        for waiter in append.waiters {
            self.turns.log.reply(waiter.saved());
        }
        if let Some(settled) = append.settles
            && let Some(running) = &mut self.turns.running
            && running.id == settled.turn
            && let Some((sender, reply)) = running.waiters.settled(&settled.call, settled.reply)
        {
            self.turns.log.reply(CoreReply::Call(sender, Ok(reply)));
        }
        self.turns.log.emit(Effect::Publish { records: append.records, then });
    }

    /// An append failed: the core goes back to what is on disk. Appends under way may be there, if
    /// the outcome is unknown.
    fn save_failed(&mut self, refusal: Refusal) {
        if self.turns.log.is_settled() || self.life == LifePhase::Ended {
            return;
        }
        self.turns.log.discard(&refusal);
        if self.life == LifePhase::Live {
            self.reload = Some(Reload { refusal, retry_at: None });
            self.turns.log.emit(Effect::Reload);
        }
    }

    /// The store was lost. A session that ends anyway, or waits for its deletion, tries on.
    fn store_lost(&mut self, refusal: Refusal) {
        if self.life != LifePhase::Live || self.turns.deletion.is_some() {
            return self.save_failed(refusal);
        }
        self.turns.log.discard(&refusal);
        self.end(SessionEnd::StoreLost, &refusal);
    }

    fn reloaded(&mut self, result: Result<Option<StoredState>, Refusal>, now: Now) {
        let Some(reload) = &mut self.reload else { return };
        match result {
            Ok(Some(StoredState { state, inputs, unseen })) => {
                self.turns.log.restore(state, unseen);
                self.turns.inputs = inputs;
            }
            Ok(None) => {
                self.reload = None;
                // A deletion that is under way has an answer of its own.
                if self.turns.deletion.is_none() {
                    self.erased();
                }
                return;
            }
            // Neither writing nor reading works: there is nothing true to go on with yet. Callers
            // do not wait for it.
            Err(refusal) => {
                reload.retry_at = Some(now.elapsed + RETRY_AFTER);
                return self.refuse_held(&refusal);
            }
        }
        let Some(Reload { refusal, .. }) = self.reload.take() else { return };
        let open = self.turns.open_turn().map(|turn| turn.id.clone());
        // The agent of a turn that is not on disk says nothing in the one that is.
        if self.turns.running.as_ref().is_some_and(|running| Some(&running.id) != open.as_ref()) {
            self.turns.drop_running();
        }
        if open.is_some() {
            let text = refusal.reason.clone();
            self.turns.log.show(Emission::Status { turn: None, text });
            self.turns.unended = Some(Unended { refusal, due: now.elapsed + RETRY_AFTER });
            // Events behind the failed append are lost with it: a log has no gaps.
            self.turns.abort_running();
        } else {
            self.start_next(now);
        }
        self.release(now);
    }

    fn deleted(&mut self, result: Result<(), Refusal>, now: Now) {
        let Some(reply) = self.turns.deletion.take() else { return };
        let answer = result.map(|()| SessionReply::Done { seq: None, duplicate: false });
        if answer.is_ok() {
            self.reload = None;
            self.life = LifePhase::Settling(SessionEnd::Deleted);
        }
        self.turns.log.reply(CoreReply::Command(reply, answer));
        self.release(now);
    }

    fn erased(&mut self) {
        if self.life != LifePhase::Ended {
            self.turns.log.discard(&unknown_session(&self.id));
            self.life = LifePhase::Settling(SessionEnd::Deleted);
        }
    }

    fn time_passed(&mut self, now: Now) {
        if self.life != LifePhase::Live {
            return;
        }
        if let Some(reload) = &mut self.reload
            && reload.retry_at.is_some_and(|at| at <= now.elapsed)
        {
            reload.retry_at = None;
            self.turns.log.emit(Effect::Reload);
        }
        let is_paused = self.is_paused();
        if !is_paused
            && self.turns.unended.as_ref().is_some_and(|unended| unended.due <= now.elapsed)
        {
            self.turns.end_unended(now);
        }
        if self.presence.due.is_some_and(|due| due <= now.elapsed) {
            self.presence.due = None;
            self.turns.log.emit(Effect::CountClients);
        }
        if !is_paused {
            deadlines::pass(&mut self.turns, now);
        }
    }

    /// Ends the session's life once a stop or a deletion lets it.
    fn settle(&mut self, now: Now) {
        if self.life == LifePhase::Live
            && let Some(stop_at) = self.stop_at
        {
            let is_late = stop_at <= now.elapsed;
            let is_idle = self.turns.running.is_none() || self.turns.is_parked();
            if is_late && self.is_paused() {
                // The disk neither takes nor gives; the next start takes up what is open.
                self.turns.drop_running();
                self.life = LifePhase::Settling(SessionEnd::Stopped);
            } else if (is_late || is_idle) && !self.is_paused() {
                self.turns.leave_for_stop(now);
                self.life = LifePhase::Settling(SessionEnd::Stopped);
            }
        }
        if let LifePhase::Settling(end) = self.life
            && self.is_settled()
        {
            let refusal = match end {
                SessionEnd::Deleted => unknown_session(&self.id),
                SessionEnd::Stopped | SessionEnd::StoreLost => stopping(),
            };
            self.end(end, &refusal);
        }
    }

    fn end(&mut self, end: SessionEnd, refusal: &Refusal) {
        self.life = LifePhase::Ended;
        self.turns.drop_running();
        if let Some(reply) = self.turns.deletion.take() {
            self.turns.log.reply(CoreReply::Command(reply, Err(refusal.clone())));
        }
        if let Some(request) = self.lookup.take() {
            self.turns.log.reply(SessionRequest::Command(request).refused(refusal.clone()));
        }
        self.refuse_held(refusal);
        self.turns.log.emit(Effect::End(end));
    }

    fn refuse_held(&mut self, refusal: &Refusal) {
        for request in std::mem::take(&mut self.held) {
            self.turns.log.reply(request.refused(refusal.clone()));
        }
    }
}

fn stopping() -> Refusal {
    Refusal::new(RefusalCode::Stopping, "the server is stopping; ask again when it is back")
}
