//! The session's turns: which input runs next, how a turn starts, and how it ends exactly once.

use std::collections::HashMap;
use std::time::Duration;

use thoughtwire_proto::{
    Event, IllegalEvent, Input, ItemId, OpenTurn, Outcome, Refusal, RefusalCode, ResumeReason,
    TurnEvent, TurnId, Usage,
};

use crate::accepted_log::{AcceptedLog, Entry, UnnumberedEvent};
use crate::host::NotAdmitted;
use crate::interruption::{Interruption, resume_delay};
use crate::pipeline::Waiter;
use crate::running_turn::RunningTurn;
use crate::{
    CoreReply, Effect, HandOver, LoadedSession, Now, Runner, SessionHost, SessionOptions,
    StoredState, TurnError, TurnStart,
};

/// The accepted log, the running turn and the queue's contents.
pub(crate) struct TurnQueue<H: SessionHost> {
    pub(crate) log: AcceptedLog<H>,
    pub(crate) running: Option<RunningTurn<H>>,
    /// Contents of the queued inputs.
    pub(crate) inputs: HashMap<ItemId, Input>,
    pub(crate) host: H,
    pub(crate) options: SessionOptions,
    /// An open turn whose end could not be saved, or that lost its agent.
    pub(crate) unended: Option<Unended>,
    /// An open turn that goes on when its time has come.
    pub(crate) interruption: Option<Interruption>,
    /// How the turn that the log left open was left.
    left: LeftTurn,
    /// Sender of the answer of a deletion under way.
    pub(crate) deletion: Option<H::CommandSender>,
    /// Whether the server stops: no further turn starts.
    pub(crate) is_stopping: bool,
}

/// How the turn that the log left open was left, and whether its agent can go on with it.
struct LeftTurn {
    resumes: bool,
    was_stopped: bool,
    interrupted_by: ResumeReason,
    /// The turn and how long it has run, until work on it begins.
    time_spent: Option<(TurnId, Duration)>,
}

/// A turn that has to be ended as failed.
pub(crate) struct Unended {
    /// Why it failed; inputs are refused with it until the turn is ended.
    pub(crate) refusal: Refusal,
    /// When to append its end.
    pub(crate) due: Duration,
}

/// A turn that is about to start.
pub(crate) struct Starting<H: SessionHost> {
    pub(crate) turn: TurnId,
    input: ItemId,
    permit: Option<H::TurnPermit>,
}

impl<H: SessionHost> Starting<H> {
    /// The event that starts the turn.
    pub(crate) fn event(&self) -> UnnumberedEvent {
        (Some(self.turn.clone()), Event::Turn(TurnEvent::Started { input: self.input.clone() }))
    }
}

/// How a turn ends.
pub(crate) struct TurnEnding<'a> {
    pub(crate) outcome: Outcome,
    pub(crate) code: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
}

impl<'a> TurnEnding<'a> {
    pub(crate) const COMPLETED: Self =
        Self { outcome: Outcome::Completed, code: None, reason: None };

    pub(crate) fn failed(code: &'a str, reason: &'a str) -> Self {
        Self { outcome: Outcome::Failed, code: Some(code), reason: Some(reason) }
    }

    pub(crate) fn cancelled(code: &'a str, reason: &'a str) -> Self {
        Self { outcome: Outcome::Cancelled, code: Some(code), reason: Some(reason) }
    }

    /// The end of a turn that does not go on after a stop or a crash of the server.
    const INTERRUPTED: Self = Self {
        outcome: Outcome::Interrupted,
        code: Some("server_stopped"),
        reason: Some("The server stopped in the middle of this turn."),
    };

    /// The end of a turn that was interrupted too often.
    const CRASH_LOOP: TurnEnding<'static> = TurnEnding {
        outcome: Outcome::Failed,
        code: Some("crash_loop"),
        reason: Some(
            "This turn was interrupted by a crash again and again, so it does not go on. Find out \
             what ends the server or the worker, then send the input again.",
        ),
    };

    /// Cause with which an open call is closed.
    fn call_cause(&self) -> &'static str {
        let is_interruption =
            self.outcome == Outcome::Interrupted || self.code == Self::CRASH_LOOP.code;
        if is_interruption { "interrupted" } else { "abandoned" }
    }
}

impl<H: SessionHost> TurnQueue<H> {
    pub(crate) fn new(loaded: LoadedSession, options: SessionOptions, host: H) -> Self {
        let LoadedSession {
            stored,
            seen_keys,
            resumes,
            was_stopped,
            interrupted_by,
            time_spent,
            stop_at,
            ..
        } = loaded;
        let StoredState { state, inputs, .. } = stored;
        let time_spent = state.turn().map(|turn| (turn.id.clone(), time_spent));
        Self {
            log: AcceptedLog::new(state, seen_keys),
            running: None,
            inputs,
            host,
            options,
            unended: None,
            interruption: None,
            left: LeftTurn { resumes, was_stopped, interrupted_by, time_spent },
            deletion: None,
            is_stopping: stop_at.is_some(),
        }
    }

    /// The open turn, by the accepted state.
    pub(crate) fn open_turn(&self) -> Option<&OpenTurn> {
        self.log.state().turn()
    }

    /// Whether the turn waits for people or clients only.
    pub(crate) fn is_parked(&self) -> bool {
        self.open_turn().is_some_and(OpenTurn::is_parked)
    }

    pub(crate) fn is_queue_full(&self) -> bool {
        self.log.state().queue().len() >= self.options.queued_inputs
    }

    /// Numbers events against the accepted state and hands them to the store, all or none. Illegal
    /// events are answered at once.
    pub(crate) fn append(
        &mut self,
        now: Now,
        events: Vec<UnnumberedEvent>,
        entry: Entry<H>,
    ) -> Result<(), IllegalEvent> {
        match self.log.number(now, events) {
            Ok(numbered) => {
                let mut closed = numbered.closed_items();
                if let Some(running) = &mut self.running {
                    closed.retain(|item| running.items.close(item));
                }
                self.log.append(numbered, closed, entry);
                Ok(())
            }
            Err(illegal) => {
                let refusal = Refusal::new(RefusalCode::BadRequest, illegal.to_string());
                if let Some(waiter) = entry.waiter {
                    self.log.reply(waiter.failed(&refusal));
                }
                Err(illegal)
            }
        }
    }

    /// Prepares a turn on an input, under a fresh id.
    pub(crate) fn starting(&mut self, input: ItemId, permit: Option<H::TurnPermit>) -> Starting<H> {
        Starting { turn: self.host.new_turn_id(), input, permit }
    }

    /// Admits an input that has just come: behind those that wait, or with the permit of the turn
    /// that it interrupts.
    pub(crate) fn admit_input(&mut self) -> Result<Option<H::TurnPermit>, NotAdmitted> {
        if !self.host.needs_permit() {
            return Ok(None);
        }
        if self.running.is_some() {
            return self.host.hand_over(HandOver::IfKept).granted();
        }
        if self.log.state().queue().is_empty() {
            return self.host.admit().granted();
        }
        Err(NotAdmitted)
    }

    /// The turn that starts with the running one's end, in the same append.
    pub(crate) fn next_in_line(&mut self) -> Option<Starting<H>> {
        if self.is_stopping {
            return None;
        }
        let input = self.log.state().queue().front()?.input.clone();
        // If other sessions wait for a permit, this one waits behind them.
        let permit = self.host.hand_over(HandOver::IfUnwanted).granted().ok()?;
        Some(self.starting(input, permit))
    }

    /// The running turn is over: starts the next one.
    pub(crate) fn go_on_with(&mut self, now: Now, next: Option<Starting<H>>) {
        self.drop_running();
        match next {
            Some(next) => self.launch(next),
            None => self.start_next(now),
        }
    }

    /// Starts the oldest queued input, if no turn runs and the input is admitted.
    pub(crate) fn start_next(&mut self, now: Now) {
        if self.options.resting
            || self.is_stopping
            || self.unended.is_some()
            || self.open_turn().is_some()
        {
            return;
        }
        let Some(queued) = self.log.state().queue().front() else {
            self.host.release_claim();
            return;
        };
        let input = queued.input.clone();
        let Ok(permit) = self.host.admit().granted() else {
            // Also if the input has waited since before a restart.
            if let Some(absence) = self.host.absence() {
                self.log.emit(Effect::SetStanding(Some(absence)));
            }
            return;
        };
        let next = self.starting(input, permit);
        if self.append(now, vec![next.event()], Entry::default()).is_ok() {
            self.launch(next);
        }
    }

    /// Takes up the turn that the log left open: goes on with it, or ends it.
    ///
    /// A turn that only waits for people or clients was not interrupted: it goes on waiting.
    pub(crate) fn take_up(&mut self, now: Now) {
        let Some(turn) = self.open_turn().cloned().filter(|_| !self.options.resting) else {
            return;
        };
        let LeftTurn { resumes, was_stopped, .. } = self.left;
        if turn.is_parked() && resumes {
            self.launch(Starting { turn: turn.id, input: turn.input, permit: None });
        } else if turn.is_parked() {
            self.unended = Some(Unended { refusal: lost_agent(), due: now.elapsed });
            self.end_unended(now);
        } else if !resumes || !self.host.resumes_interrupted() {
            let events = self.closing(&TurnEnding::INTERRUPTED);
            // Invariant: closing events are legal, they follow from the state. Test: `ends`.
            drop(self.end_with(now, events, None));
        } else {
            // A planned stop does not count.
            let (attempt, delay) = if was_stopped {
                (turn.attempt, Some(Duration::ZERO))
            } else {
                (turn.attempt + 1, resume_delay(turn.attempt + 1))
            };
            let Some(delay) = delay else {
                let events = self.closing(&TurnEnding::CRASH_LOOP);
                return drop(self.end_with(now, events, None));
            };
            self.interruption = Some(Interruption { attempt, due: now.elapsed + delay });
            self.go_on_if_due(now);
        }
    }

    /// Goes on with the interrupted turn once its time has come.
    pub(crate) fn go_on_if_due(&mut self, now: Now) {
        let is_due = self.interruption.as_ref().is_some_and(|left| left.due <= now.elapsed);
        let Some(Interruption { attempt, .. }) = self.interruption.take_if(|_| is_due) else {
            return;
        };
        let Some(OpenTurn { id, input, .. }) = self.open_turn().cloned() else { return };
        let reason = self.left.interrupted_by;
        let resumed = Event::Turn(TurnEvent::Resumed { attempt, reason });
        if self.append(now, vec![(Some(id.clone()), resumed)], Entry::default()).is_ok() {
            self.launch(Starting { turn: id, input, permit: None });
        }
    }

    /// Lets the running turn go on after its worker was lost. Returns the events that say so, or
    /// `None` if that has happened too often.
    pub(crate) fn resuming(&mut self, reason: ResumeReason) -> Option<Vec<UnnumberedEvent>> {
        let (turn, attempt) = self.open_turn().map(|open| (open.id.clone(), open.attempt + 1))?;
        resume_delay(attempt)?;
        let cut = self.running.as_mut().map(|running| running.items.cut());
        let resumed = Event::Turn(TurnEvent::Resumed { attempt, reason });
        let events = cut.unwrap_or_default().into_iter().chain([resumed]);
        Some(events.map(|event| (Some(turn.clone()), event)).collect())
    }

    /// Hands an accepted turn to the agent, without waiting for the disk.
    fn launch(&mut self, starting: Starting<H>) {
        self.log.emit(Effect::SetStanding(None));
        let Starting { turn, input, permit } = starting;
        self.run(turn, &input, Runner::Agent(permit));
    }

    /// Begins the work on an accepted turn.
    pub(crate) fn run(&mut self, turn: TurnId, input: &ItemId, runner: Runner<H>) {
        let input = self.inputs.remove(input).unwrap_or_else(|| Input {
            item: input.clone(),
            text: String::new(),
            attachments: Vec::new(),
        });
        let is_embedders = matches!(runner, Runner::Embedder(_));
        let spent = self.left.time_spent.take().filter(|(left, _)| *left == turn);
        let spent = spent.map_or(Duration::ZERO, |(_, spent)| spent);
        let within = self.options.turn_within.saturating_sub(spent);
        self.running = Some(RunningTurn::new(turn.clone(), within, is_embedders));
        let state = self.log.state();
        let (head, open) = (state.head(), state.turn());
        let start = TurnStart {
            turn,
            input,
            runner,
            attempt: open.map_or(0, |open| open.attempt),
            open_calls: open.map(|open| open.calls.clone()).unwrap_or_default(),
            instructions: state.instructions().map(str::to_owned),
            compaction: state.compaction(),
            asked: open.map_or(head, |open| open.asked),
            started: open.map_or(head, |open| open.started),
            launched: head,
        };
        self.log.emit(Effect::StartTurn(Box::new(start)));
    }

    /// Drops the running turn's work. Calls that wait are told that the turn has ended.
    pub(crate) fn drop_running(&mut self) {
        self.abort_running();
        (self.running, self.interruption) = (None, None);
    }

    fn end_waits(&mut self, running: &mut RunningTurn<H>) {
        for sender in running.waiters.clear() {
            self.log.reply(CoreReply::Call(sender, Err(TurnError::Ended)));
        }
    }

    /// Silences the running turn's agent and keeps the turn's open text, for a turn that is ended
    /// later.
    pub(crate) fn abort_running(&mut self) {
        if let Some(mut running) = self.running.take() {
            if !std::mem::replace(&mut running.is_aborted, true) {
                self.log.emit(Effect::DropTurn);
            }
            self.end_waits(&mut running);
            self.running = Some(running);
        }
    }

    /// The events that end the open turn: open items as incomplete, open calls without a result,
    /// the end.
    pub(crate) fn closing(&mut self, ending: &TurnEnding<'_>) -> Vec<UnnumberedEvent> {
        let Some(turn) = self.open_turn().cloned() else { return Vec::new() };
        let mut events = Vec::new();
        let mut spent = Usage::default();
        if let Some(mut running) = self.running.take() {
            events.extend(running.items.closing_events());
            spent = std::mem::take(&mut running.spent);
            self.end_waits(&mut running);
            self.running = Some(running);
        }
        for open in turn.calls {
            events.extend(open.closing_events(ending.call_cause()));
        }
        if spent != Usage::default() {
            events.push(Event::Turn(TurnEvent::Usage(spent)));
        }
        events.push(Event::Turn(TurnEvent::Ended {
            input: turn.input,
            outcome: ending.outcome,
            code: ending.code.map(str::to_owned),
            reason: ending.reason.map(str::to_owned),
        }));
        events.into_iter().map(|event| (Some(turn.id.clone()), event)).collect()
    }

    /// Appends a turn's last events and the start of the next turn, and drops the agent's work.
    pub(crate) fn end_with(
        &mut self,
        now: Now,
        mut events: Vec<UnnumberedEvent>,
        waiter: Option<Waiter<H>>,
    ) -> Result<(), IllegalEvent> {
        let next = self.next_in_line();
        events.extend(next.as_ref().map(Starting::event));
        self.append(now, events, Entry { waiter, ..Entry::default() })?;
        self.go_on_with(now, next);
        Ok(())
    }

    /// Ends a turn that could not be ended before, as failed.
    pub(crate) fn end_unended(&mut self, now: Now) {
        let Some(Unended { refusal, .. }) = self.unended.take() else { return };
        let events = self.closing(&TurnEnding::failed(refusal.code.as_str(), &refusal.reason));
        self.drop_running();
        // If this cannot be saved either, the failed append comes here again after its pause.
        if self.append(now, events, Entry::default()).is_ok() {
            self.start_next(now);
        }
    }

    /// Leaves what runs for a stop. A turn that waits for people or clients goes on waiting at the
    /// next start. Another one goes on, unless its agent cannot or its settings forbid it.
    pub(crate) fn leave_for_stop(&mut self, now: Now) {
        if let Some(turn) = self.open_turn().map(|open| open.id.clone()) {
            let is_embedders = self.running.as_ref().is_some_and(|running| running.is_embedders);
            let goes_on = self.left.resumes && !is_embedders && self.host.resumes_interrupted();
            let events = if self.is_parked() || goes_on {
                self.cut_text_and_cost(&turn)
            } else {
                self.closing(&TurnEnding::INTERRUPTED)
            };
            if !events.is_empty() {
                // If it cannot be appended, the next start takes care of the turn.
                drop(self.append(now, events, Entry::default()));
            }
        }
        self.drop_running();
    }

    /// Events that save what a turn that is left open must not lose: the text of its open items,
    /// and its cost.
    fn cut_text_and_cost(&mut self, turn: &TurnId) -> Vec<UnnumberedEvent> {
        let Some(running) = &mut self.running else { return Vec::new() };
        let mut events = running.items.closing_events();
        let spent = std::mem::take(&mut running.spent);
        if !spent.is_none() {
            events.push(Event::Turn(TurnEvent::Usage(spent)));
        }
        events.into_iter().map(|event| (Some(turn.clone()), event)).collect()
    }
}

fn lost_agent() -> Refusal {
    Refusal::new(RefusalCode::Internal, "the turn was left without its agent")
}
