//! Turns that go on after an interruption: how often, how soon, and what the log says of it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use thoughtwire_hub::Turn;
use thoughtwire_proto::{Event, ItemId, Outcome, Record, ToolStatus, TurnEvent, TurnId};
use tokio::time::Instant;

use super::ledger::Ledger;

/// Least elapsed time between a start and the turn's going on, by its number of interruptions.
const PAUSES: [u64; 4] = [0, 0, 5, 30];

/// Facts about the start of the life under way.
#[derive(Default)]
pub(crate) struct Interruptions {
    /// When the life began, in elapsed time.
    pub(crate) began: Option<Instant>,
    /// Whether the stop before it was noted on disk as planned.
    pub(crate) was_planned: bool,
}

impl Ledger {
    /// An agent is handed a turn that it did not begin. `records` are the turn's so far.
    pub(crate) fn goes_on(&mut self, turn: &Turn, records: &[Record]) {
        let attempts: Vec<u32> = records.iter().filter_map(attempt).collect();
        let is_resumed = records.last().and_then(attempt).is_some();
        if !is_resumed {
            // It only waited for people or clients.
            return;
        }
        self.tally.resumed += 1;
        let newest = attempts.last().copied().unwrap_or(0);
        let before = attempts.iter().rev().nth(1).copied().unwrap_or(0);
        self.hold(newest == turn.attempt, || {
            format!("turn {} is handed out as attempt {}, not {newest}", turn.id, turn.attempt)
        });
        let was_planned = self.interruptions.was_planned;
        let expected = if was_planned { before } else { before + 1 };
        self.hold(newest == expected, || {
            format!("turn {} goes on as {newest} after {before}, planned: {was_planned}", turn.id)
        });
        let elapsed = self.interruptions.began.map(|began| began.elapsed()).unwrap_or_default();
        let pause = usize::try_from(newest).ok().and_then(|newest| PAUSES.get(newest));
        let pause = pause.copied().map(Duration::from_secs);
        let waited = was_planned || pause.is_some_and(|pause| elapsed >= pause);
        self.hold(waited, || {
            format!("turn {} goes on as {newest} after {elapsed:?} already", turn.id)
        });
    }
}

fn attempt(record: &Record) -> Option<u32> {
    match record.event {
        Event::Turn(TurnEvent::Resumed { attempt, .. }) => Some(attempt),
        _ => None,
    }
}

/// Holds the interruptions in a whole log to their rules: at most three that count, then the turn
/// ends as `crash_loop`; nothing of a turn follows its end; a text is continued once, in its turn.
/// `stops`: the agent's turns end when they are interrupted, so none goes on.
pub(crate) fn check(records: &[Record], stops: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut attempts: HashMap<&TurnId, u32> = HashMap::new();
    let mut ended: HashSet<&TurnId> = HashSet::new();
    let mut cut: HashMap<&ItemId, &TurnId> = HashMap::new();
    for Record { seq, turn, event, .. } in records {
        let (Some(turn), Event::Turn(event)) = (turn, event) else { continue };
        if ended.contains(turn) {
            wrong.push(format!("{seq} is of turn {turn}, which has ended"));
        }
        match event {
            TurnEvent::Resumed { attempt, .. } => {
                if stops {
                    wrong.push(format!("turn {turn} goes on, and its agent's turns must not"));
                }
                let before = attempts.insert(turn, *attempt).unwrap_or(0);
                if *attempt > 3 || (*attempt != before && *attempt != before + 1) {
                    wrong.push(format!("turn {turn} goes on as {attempt} after {before}"));
                }
            }
            TurnEvent::Thought { item, complete, continues, .. }
            | TurnEvent::Message { item, complete, continues, .. } => {
                if let Some(continued) = continues
                    && cut.remove(continued) != Some(turn)
                {
                    wrong.push(format!("{item} continues {continued}, which was not cut"));
                }
                if !complete {
                    cut.insert(item, turn);
                }
            }
            TurnEvent::Ended { outcome, code, .. } => {
                ended.insert(turn);
                let is_loop = code.as_deref() == Some("crash_loop");
                let times = attempts.get(turn).copied().unwrap_or(0);
                if is_loop && (times != 3 || *outcome != Outcome::Failed) {
                    wrong.push(format!("turn {turn} ended as crash_loop after {times} attempts"));
                }
                if is_loop || *outcome == Outcome::Interrupted {
                    wrong.extend(abandoned(records, turn));
                }
            }
            TurnEvent::Started { .. }
            | TurnEvent::ToolCalled { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ApprovalAsked { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::ToolReturned { .. }
            | TurnEvent::Usage(_) => {}
        }
    }
    wrong
}

/// Calls of an interrupted turn that were running at its end, and that the log calls failed:
/// nobody knows whether they have taken effect.
fn abandoned(records: &[Record], turn: &TurnId) -> Vec<String> {
    let (mut waits, mut wrong) = (HashSet::new(), Vec::new());
    for record in records.iter().filter(|record| record.turn.as_ref() == Some(turn)) {
        let Event::Turn(event) = &record.event else { continue };
        match event {
            TurnEvent::ApprovalAsked { call, .. } | TurnEvent::ToolAwaited { call, .. } => {
                waits.insert(call);
            }
            TurnEvent::ApprovalSettled { call, decision, .. } => {
                // A void approval was waiting until the end.
                if *decision != thoughtwire_proto::Decision::Void {
                    waits.remove(call);
                }
            }
            TurnEvent::ToolReturned { call, status, text, .. } => {
                if *status == ToolStatus::Error && text == "abandoned" && !waits.contains(call) {
                    wrong.push(format!("{call} was running, and is called failed"));
                }
            }
            TurnEvent::Started { .. }
            | TurnEvent::Resumed { .. }
            | TurnEvent::ToolCalled { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::Thought { .. }
            | TurnEvent::Message { .. }
            | TurnEvent::Usage(_)
            | TurnEvent::Ended { .. } => {}
        }
    }
    wrong
}
