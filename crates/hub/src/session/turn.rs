//! The running turn of a live session: hearing its agent, ending it once.

use futures::FutureExt as _;
use thoughtwire_proto::{
    Decision, Delta, Emission, Event, ItemId, Outcome, Refusal, RefusalCode, Seq, SessionEvent,
    SessionReply, StreamKind, Timestamp, ToolStatus, TurnEvent, TurnId, Usage,
};
use thoughtwire_store::{Commit, OpenItem};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::asked::refuse;
use super::commit::Waiter;
use super::starting::Starting;
use super::task::{Also, CHECKPOINT_EVERY, Task};
use super::turn_time::TurnTime;
use super::waits::Waits;
use super::{Once, Reply};
use crate::Input;
use crate::item_writer::item_of;
use crate::tail::OpenText;
use crate::turn_message::{AgentError, Finish, TurnError, TurnMessage, TurnVerb};
use crate::workers::PermitCell;

/// The running turn. Dropping it silences the agent and drops its future.
pub(crate) struct Running {
    pub(super) id: TurnId,
    pub(super) messages: mpsc::Receiver<TurnMessage>,
    pub(super) work: Work,
    pub(super) steered: Vec<Input>,
    /// Its place with the program outside that runs it, if one does.
    pub(super) slot: PermitCell,
    open: Vec<OpenText>,
    /// Items that have a checkpoint in the store.
    checkpointed: Vec<ItemId>,
    checkpoint_due: Option<Instant>,
    /// The last checkpoint that was handed to the store.
    checkpoint: Option<Commit<()>>,
    pub(super) waits: Waits,
    time: TurnTime,
    /// What the turn cost so far, where its agent said so.
    spent: Usage,
}

/// Who runs the turn.
pub(crate) enum Work {
    /// Our own task; nothing once it was joined.
    Task(Option<JoinHandle<Result<(), AgentError>>>),
    /// An embedder, outside.
    Embedded,
}

impl Work {
    pub(super) fn is_embedded(&self) -> bool {
        matches!(self, Self::Embedded)
    }

    pub(super) fn abort(&self) {
        if let Self::Task(Some(task)) = self {
            task.abort();
        }
    }

    pub(super) async fn returned(&mut self) -> Result<Result<(), AgentError>, JoinError> {
        match self {
            Self::Task(Some(task)) => {
                let outcome = task.await;
                *self = Self::Task(None);
                outcome
            }
            Self::Task(None) | Self::Embedded => std::future::pending().await,
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What blocks in the agent is left to itself, never waited for.
        self.abort();
    }
}

impl Running {
    /// A turn that nothing was said in yet.
    pub(super) fn new(
        id: TurnId,
        messages: mpsc::Receiver<TurnMessage>,
        waits: Waits,
        time: TurnTime,
    ) -> Self {
        Self {
            id,
            messages,
            work: Work::Embedded,
            steered: Vec::new(),
            slot: PermitCell::default(),
            open: Vec::new(),
            checkpointed: Vec::new(),
            checkpoint_due: None,
            checkpoint: None,
            waits,
            time,
            spent: Usage::default(),
        }
    }

    /// When something has to be done by the clock.
    pub(super) fn due(&self, now: Timestamp) -> Option<Instant> {
        let lapse = self.waits.due().map(|at| {
            let millis = u64::try_from(at.as_millis().saturating_sub(now.as_millis())).unwrap_or(0);
            Instant::now() + std::time::Duration::from_millis(millis)
        });
        [self.checkpoint_due, lapse, self.time.up()].into_iter().flatten().min()
    }

    /// Forgets an open item; true when it has a checkpoint that must go.
    pub(super) fn close(&mut self, item: &ItemId) -> bool {
        self.open.retain(|open| open.item != *item);
        let before = self.checkpointed.len();
        self.checkpointed.retain(|known| known != item);
        before != self.checkpointed.len()
    }
}

impl Task {
    /// Handles one message of the agent.
    pub(super) fn hear(&mut self, message: TurnMessage) {
        let TurnMessage { turn, verb } = message;
        match verb {
            TurnVerb::Append { events, block, output, kept, durable, reply } => {
                if events.iter().any(|event| !is_sayable(event)) {
                    drop(reply.send(Err(TurnError::Illegal(
                        "an agent cannot say this event".to_owned(),
                    ))));
                    return;
                }
                let events = events.into_iter().map(|event| (Some(turn.clone()), event)).collect();
                if durable {
                    let seq = self.state.head().next();
                    drop(self.append(
                        events,
                        Also { block, output, kept, ..Also::default() },
                        vec![Waiter::Agent(reply, seq)],
                    ));
                } else {
                    let outcome = self.append(
                        events,
                        Also { block, output, kept, ..Also::default() },
                        Vec::new(),
                    );
                    drop(
                        reply.send(
                            outcome.map_err(|illegal| TurnError::Illegal(illegal.to_string())),
                        ),
                    );
                }
            }
            TurnVerb::Delta { item, kind, text } => self.piece(turn, item, kind, text),
            TurnVerb::Status { text } => self.show(Emission::Status { turn: Some(turn), text }),
            TurnVerb::Finish { events, failed, on_disk, reply } => {
                let waiter = |seq| on_disk.map(|told| Waiter::Agent(told, seq));
                self.finish(&turn, events, failed.as_ref(), waiter, reply);
            }
            TurnVerb::Steered { reply } => {
                let inputs = self
                    .running
                    .as_mut()
                    .map(|running| std::mem::take(&mut running.steered))
                    .unwrap_or_default();
                drop(reply.send(inputs));
            }
            TurnVerb::Spent(usage) => {
                if let Some(running) = &mut self.running {
                    running.spent = usage;
                }
            }
            TurnVerb::Await { call, question, reply, asked } => {
                self.begin_waiting(turn, call, question, reply, asked);
            }
        }
    }

    fn piece(&mut self, turn: TurnId, item: ItemId, kind: StreamKind, text: String) {
        let Some(running) = &mut self.running else { return };
        let at = match running.open.iter().position(|open| open.item == item) {
            Some(at) => at,
            None => {
                running.open.push(OpenText {
                    item: item.clone(),
                    kind,
                    n: 0,
                    text: String::new(),
                    dirty: false,
                });
                running.open.len() - 1
            }
        };
        let Some(open) = running.open.get_mut(at) else { return };
        let n = open.n;
        open.n += 1;
        open.text.push_str(&text);
        open.dirty = true;
        running.checkpoint_due.get_or_insert_with(|| Instant::now() + CHECKPOINT_EVERY);
        self.show(Emission::Delta(Delta { turn, item, n, kind, text }));
    }

    /// Saves what open items have so far, once it is due.
    pub(super) fn checkpoint(&mut self) {
        let Some(running) = &mut self.running else { return };
        if running.checkpoint_due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        // One at a time: a disk that stands still would have them pile up, each with the whole text.
        if running.checkpoint.as_mut().is_some_and(|under_way| under_way.now_or_never().is_none()) {
            running.checkpoint_due = Some(Instant::now() + CHECKPOINT_EVERY);
            return;
        }
        running.checkpoint = None;
        running.checkpoint_due = None;
        for open in running
            .open
            .iter_mut()
            .filter(|open| open.dirty && !matches!(open.kind, StreamKind::ToolArgs))
        {
            open.dirty = false;
            if !running.checkpointed.contains(&open.item) {
                running.checkpointed.push(open.item.clone());
            }
            let item = OpenItem {
                item: open.item.clone(),
                turn: running.id.clone(),
                kind: open.kind,
                text: open.text.clone(),
            };
            // A checkpoint that fails costs what the next one saves; appends report the disk's state.
            running.checkpoint = Some(self.shared.store.logs().checkpoint(&self.stored.id, item));
        }
    }

    /// Counts the running turn's time, or has it stand still.
    pub(super) fn mind_time(&mut self) {
        let is_parked = self.is_parked();
        if let Some(running) = &mut self.running {
            running.time.runs(!is_parked);
        }
    }

    /// Ends a turn that has taken all the time that it may.
    pub(super) fn end_overdue(&mut self) {
        let is_up = self
            .running
            .as_ref()
            .and_then(|running| running.time.up())
            .is_some_and(|up| up <= Instant::now());
        if !is_up || self.unended.is_some() {
            return;
        }
        let most = self.shared.options.turn_within.as_secs();
        let reason = format!(
            "The turn took longer than {most} s, which is the limit. Say how it should go on."
        );
        let closing = self.closing(Outcome::Failed, Some("turn_limit"), Some(&reason));
        // What an agent cannot say in a turn cannot be said here either; then it ends as it can.
        if let Err(error) = self.end_with(&mut Vec::new(), closing, None) {
            tracing::error!(session = %self.stored.id, %error, "a turn whose time is up could not be ended");
        }
    }

    fn finish(
        &mut self,
        turn: &TurnId,
        mut events: Vec<Event>,
        failed: Option<&AgentError>,
        waiter: impl FnOnce(Seq) -> Option<Waiter>,
        reply: oneshot::Sender<Result<Finish, TurnError>>,
    ) {
        if let Some(illegal) = events.iter().find(|event| {
            matches!(
                event,
                Event::Turn(TurnEvent::Message { text, .. }) if text.is_empty())
        }) {
            drop(
                reply.send(Err(TurnError::Illegal(format!(
                    "a {} must not be empty",
                    illegal.kind()
                )))),
            );
            return;
        }
        // What it cost is among the events, unless it failed.
        if failed.is_none()
            && let Some(running) = &mut self.running
        {
            running.spent = Usage::default();
        }
        let steered = self
            .running
            .as_mut()
            .map(|running| std::mem::take(&mut running.steered))
            .unwrap_or_default();
        if !steered.is_empty() && failed.is_none() {
            let events: Vec<_> =
                events.drain(..).map(|event| (Some(turn.clone()), event)).collect();
            let last = Seq(self.state.head().0 + events.len() as u64);
            let outcome = self
                .append(events, Also::default(), waiter(last).into_iter().collect())
                .map(|_| Finish::Steered(steered));
            drop(reply.send(outcome.map_err(|illegal| TurnError::Illegal(illegal.to_string()))));
            return;
        }
        let mut all: Vec<_> = events.drain(..).map(|event| (Some(turn.clone()), event)).collect();
        let said: Vec<ItemId> =
            all.iter().filter_map(|(_, event)| item_of(event).cloned()).collect();
        if let Some(running) = &mut self.running {
            running.open.retain(|open| !said.contains(&open.item));
        }
        // Whatever the agent left open is closed in front of the end, not in front of its message.
        let closing = match failed {
            None => self.closing(Outcome::Completed, None, None),
            Some(error) => self.closing(Outcome::Failed, Some(&error.code), Some(&error.reason)),
        };
        let last = Seq(self.state.head().0 + (all.len() + closing.len()) as u64);
        let ended = self.end_with(&mut all, closing, waiter(last));
        drop(reply.send(ended.map(|()| Finish::Ended)));
    }

    /// Appends a turn's last events, goes on with the queue in the same append, and lets the agent go.
    fn end_with(
        &mut self,
        events: &mut Vec<(Option<TurnId>, Event)>,
        closing: Vec<(Option<TurnId>, Event)>,
        waiter: Option<Waiter>,
    ) -> Result<(), TurnError> {
        events.extend(closing);
        let next = self.next_in_line();
        events.extend(next.as_ref().map(Starting::event));
        let outcome =
            self.append(std::mem::take(events), Also::default(), waiter.into_iter().collect());
        outcome
            .map(|_| self.go_on_with(next))
            .map_err(|illegal| TurnError::Illegal(illegal.to_string()))
    }

    /// The agent's future ended: end the turn if the agent did not.
    pub(super) fn returned(&mut self, outcome: Result<Result<(), AgentError>, JoinError>) {
        if self.unended.is_some() {
            return;
        }
        let mut last_words = Vec::new();
        if let Some(running) = &mut self.running {
            while let Ok(message) = running.messages.try_recv() {
                last_words.push(message);
            }
        }
        let ended = self.running.as_ref().map(|running| running.id.clone());
        for message in last_words {
            self.hear(message);
        }
        if self.running.as_ref().map(|running| running.id.clone()) != ended
            || self.running.is_none()
        {
            return;
        }
        let closing = match outcome {
            Ok(Ok(())) => self.closing(Outcome::Completed, None, None),
            Ok(Err(error)) => self.closing(Outcome::Failed, Some(&error.code), Some(&error.reason)),
            Err(error) if error.is_panic() => self.closing(
                Outcome::Failed,
                Some("agent_panicked"),
                Some("The agent broke off because of a defect in it."),
            ),
            Err(_) => self.closing(
                Outcome::Failed,
                Some("agent_gone"),
                Some("The agent was stopped from outside."),
            ),
        };
        if let Err(error) = self.end_with(&mut Vec::new(), closing, None) {
            tracing::error!(session = %self.stored.id, %error, "a turn could not be ended");
        }
    }

    /// The events that end the running turn: open items as incomplete, open calls as abandoned, the end.
    pub(super) fn closing(
        &mut self,
        outcome: Outcome,
        code: Option<&str>,
        reason: Option<&str>,
    ) -> Vec<(Option<TurnId>, Event)> {
        let Some(turn) = self.state.turn().cloned() else { return Vec::new() };
        let mut events = Vec::new();
        if let Some(running) = &mut self.running {
            for open in &running.open {
                let (item, text) = (open.item.clone(), open.text.clone());
                match open.kind {
                    StreamKind::Thought => {
                        events.push(Event::Turn(TurnEvent::Thought {
                            item,
                            text,
                            complete: false,
                        }));
                    }
                    StreamKind::Message => {
                        events.push(Event::Turn(TurnEvent::Message {
                            item,
                            text,
                            complete: false,
                        }));
                    }
                    StreamKind::ToolArgs => {}
                }
            }
            running.waits.clear();
        }
        for open in &turn.calls {
            if open.approval.is_some() {
                events.push(Event::Turn(TurnEvent::ApprovalSettled {
                    call: open.call.clone(),
                    decision: Decision::Void,
                    by: None,
                }));
            }
            events.push(Event::Turn(TurnEvent::ToolReturned {
                call: open.call.clone(),
                name: open.name.clone(),
                status: ToolStatus::Error,
                text: "abandoned".to_owned(),
                content: None,
            }));
        }
        if let Some(running) = &mut self.running
            && running.spent != Usage::default()
        {
            events.push(Event::Turn(TurnEvent::Usage(std::mem::take(&mut running.spent))));
        }
        events.push(Event::Turn(TurnEvent::Ended {
            input: turn.input,
            outcome,
            code: code.map(str::to_owned),
            reason: reason.map(str::to_owned),
        }));
        events.into_iter().map(|event| (Some(turn.id.clone()), event)).collect()
    }

    pub(super) fn cancel(&mut self, turn: Option<&TurnId>, once: Option<Once>, reply: Reply) {
        let running = self.state.turn().map(|open| open.id.clone());
        match (running, turn) {
            (None, _) => {
                refuse(reply, RefusalCode::NoTurn, "no turn runs in this session".to_owned());
            }
            (Some(running), Some(turn)) if running != *turn => {
                refuse(
                    reply,
                    RefusalCode::NoTurn,
                    format!("turn {turn} does not run; it has ended or never was"),
                );
            }
            (Some(_), _) => {
                let mut events = self.closing(
                    Outcome::Cancelled,
                    Some("cancelled"),
                    Some("the turn was cancelled"),
                );
                let seq = self.state.head().0 + events.len() as u64;
                let answer =
                    SessionReply::Done { seq: Some(thoughtwire_proto::Seq(seq)), duplicate: false };
                let next = self.next_in_line();
                events.extend(next.as_ref().map(Starting::event));
                if self
                    .append(events, once.into(), vec![Waiter::Client(reply, Box::new(answer))])
                    .is_ok()
                {
                    self.unended = None;
                    self.go_on_with(next);
                }
            }
        }
    }

    /// The server stops: what runs ends here and now, as a crash would have it end at the next start.
    pub(super) fn interrupt_for_stop(&mut self) {
        if self.is_parked() {
            // It goes on at the next start.
            drop(self.running.take());
        } else if self.state.turn().is_some() {
            let events = self.closing(
                Outcome::Interrupted,
                Some("server_stopped"),
                Some("The server stopped in the middle of this turn."),
            );
            if let Err(error) = self.append(events, Also::default(), Vec::new()) {
                let refusal = Refusal::new(RefusalCode::Internal, error.to_string());
                tracing::error!(session = %self.stored.id, error = %refusal, "a turn could not be ended; the next start ends it");
            }
            drop(self.running.take());
        }
    }
}

/// What an agent may say of itself; the rest is the session's to say.
fn is_sayable(event: &Event) -> bool {
    match event {
        Event::Turn(
            TurnEvent::Thought { .. }
            | TurnEvent::Message { .. }
            | TurnEvent::ToolCalled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::ToolReturned { .. }
            | TurnEvent::Usage(_),
        )
        | Event::Session(SessionEvent::MemoryEdited { .. } | SessionEvent::Compacted { .. }) => {
            true
        }
        Event::Session(
            SessionEvent::Opened { .. }
            | SessionEvent::Renamed { .. }
            | SessionEvent::InstructionsChanged { .. },
        )
        | Event::Input(_)
        | Event::Turn(
            TurnEvent::Started { .. }
            | TurnEvent::ApprovalAsked { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::Ended { .. },
        )
        | Event::Other(_) => false,
    }
}
