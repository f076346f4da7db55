//! Turns that go on after an interruption: how often, how soon, and what the log says of it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use thoughtwire_hub::Turn;
use thoughtwire_proto::{
    ApprovalAbout, Decision, Event, ItemId, Outcome, Record, ToolStatus, TurnEvent, TurnId,
};
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
        if self.has_nodes {
            // Each session has an owner before of its own.
            let is_counted = newest == before + 1 && !self.is_calm;
            return self.hold(newest == before || is_counted, || {
                format!("turn {} goes on as {newest} after {before}", turn.id)
            });
        }
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
                wrong.extend(abandoned(records, turn));
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

/// Calls of a turn that were running at its end, and that the log calls failed: nobody knows
/// whether they have taken effect.
fn abandoned(records: &[Record], turn: &TurnId) -> Vec<String> {
    let (mut held, mut wrong) = (HashSet::new(), Vec::new());
    for record in records.iter().filter(|record| record.turn.as_ref() == Some(turn)) {
        let Event::Turn(event) = &record.event else { continue };
        match event {
            TurnEvent::ApprovalAsked { call, about: ApprovalAbout::Run, .. } => {
                held.insert(call);
            }
            // A call that the owner did not approve does not run.
            TurnEvent::ApprovalSettled { call, decision: Decision::Approved, .. } => {
                held.remove(call);
            }
            TurnEvent::ToolReturned { call, status, text, .. } => {
                if *status == ToolStatus::Error && text == "abandoned" && !held.contains(call) {
                    wrong.push(format!("{call} was running, and is called failed"));
                }
            }
            TurnEvent::Started { .. }
            | TurnEvent::Resumed { .. }
            | TurnEvent::ToolCalled { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::ApprovalAsked { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::Thought { .. }
            | TurnEvent::Message { .. }
            | TurnEvent::Usage(_)
            | TurnEvent::Ended { .. } => {}
        }
    }
    wrong
}
