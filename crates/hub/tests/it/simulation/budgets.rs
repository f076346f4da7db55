//! The time that turns may take over all their attempts, held against the log.
//!
//! The wall clock of a log is the time that its turns ran, as long as nobody sets the clock. So
//! this is checked in histories with a [`TimeLimit`], whose clock and disk are left alone.

use std::collections::HashMap;
use std::time::Duration;

use thoughtwire_proto::{Event, OpenCall, Outcome, Record, ResumeReason, TurnEvent, TurnId};

/// How exactly a limit is kept: timers are late by a few milliseconds.
const TIMER_MS: i64 = 20;

/// How long turns may take in a history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimit {
    pub(crate) within: Duration,
    /// Whether the clock and the disk are left alone, so that the limit can be checked.
    pub(crate) is_checked: bool,
}

/// Turns that ran out of time in a log.
#[derive(Default)]
pub(crate) struct OutOfTime {
    pub(crate) wrong: Vec<String>,
    pub(crate) turns: u64,
    /// Those of them that had been interrupted.
    pub(crate) resumed: u64,
}

/// Time that one turn has run, by its records.
#[derive(Default)]
struct RunTime {
    millis: i64,
    /// Time before items that were cut. It counts unless an interruption cut them.
    uncertain: i64,
    before: Option<i64>,
    open: Vec<OpenCall>,
    attempts: u32,
    /// Whether a worker was lost: the time until then counted, and the log does not tell it.
    is_longer: bool,
}

impl TimeLimit {
    /// The limit of a history, if it has one.
    pub(crate) fn of(seed: u64) -> Option<Self> {
        let within = Duration::from_secs(6 + seed / 8 % 20);
        match seed % 8 {
            0 => Some(Self { within, is_checked: true }),
            1 => Some(Self { within, is_checked: false }),
            _ => None,
        }
    }

    /// Holds a whole log to the limit: no turn completes later, all attempts together, and none
    /// that ended for it ran shorter.
    pub(crate) fn check(self, records: &[Record]) -> OutOfTime {
        let limit = i64::try_from(self.within.as_millis()).unwrap();
        let mut turns: HashMap<&TurnId, RunTime> = HashMap::new();
        let mut found = OutOfTime::default();
        for Record { at, turn, event, .. } in records {
            let Some(turn) = turn else { continue };
            let ran = turns.entry(turn).or_default();
            let step = ran.step(at.as_millis());
            // An input that steers the turn is not an event of its agent.
            let Event::Turn(event) = event else {
                ran.millis += step;
                continue;
            };
            ran.goes_on(step, event);
            let TurnEvent::Ended { outcome, code, .. } = event else { continue };
            let (millis, is_late) = (ran.millis, code.as_deref() == Some("turn_limit"));
            // Others may have ended while they waited to go on.
            let is_ran = is_late || *outcome == Outcome::Completed;
            if self.is_checked && is_ran && millis > limit + TIMER_MS {
                found.wrong.push(format!("turn {turn} ran {millis} ms, and may run {limit} ms"));
            }
            if is_late {
                found.turns += 1;
                found.resumed += u64::from(ran.attempts > 0);
                if self.is_checked && !ran.is_longer && millis < limit - TIMER_MS {
                    found.wrong.push(format!("turn {turn} ended after {millis} of {limit} ms"));
                }
            }
        }
        found
    }
}

impl RunTime {
    /// Time from the turn's last event that does not wait for people or clients.
    fn step(&mut self, at: i64) -> i64 {
        let step = self.before.replace(at).map_or(0, |before| at - before);
        if OpenCall::all_wait(&self.open) { 0 } else { step }
    }

    fn goes_on(&mut self, step: i64, event: &TurnEvent) {
        match event {
            // Nobody knows how much of the time before an interruption the turn ran.
            TurnEvent::Resumed { attempt, reason, .. } => {
                (self.uncertain, self.attempts) = (0, *attempt);
                self.is_longer |= *reason == ResumeReason::WorkerLost;
            }
            TurnEvent::Thought { complete: false, .. }
            | TurnEvent::Message { complete: false, .. } => self.uncertain += step,
            TurnEvent::Ended { .. } => self.millis += step + std::mem::take(&mut self.uncertain),
            TurnEvent::Started { .. }
            | TurnEvent::Thought { .. }
            | TurnEvent::Message { .. }
            | TurnEvent::ToolCalled { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ApprovalAsked { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::ToolReturned { .. }
            | TurnEvent::Usage(_) => self.millis += step,
        }
        OpenCall::follow(&mut self.open, event);
    }
}
