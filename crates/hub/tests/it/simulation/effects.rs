//! Effects of tools in the world, which no crash undoes, held against the log.

use std::collections::HashMap;

use thoughtwire_proto::{CallId, Decision, Event, Record, ToolStatus, TurnEvent};

use super::played_steps::STEP;

/// How a tool's call is treated if its outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Safe,
    Ask,
    Never,
}

impl Class {
    /// The class that the dice have drawn with a step's number.
    pub(crate) fn of(number: u64) -> Self {
        [Self::Safe, Self::Ask, Self::Never][usize::try_from(number % 3).unwrap_or(0)]
    }
}

/// Number of effects by call and by how often the call had been allowed, over all crashes.
#[derive(Default)]
pub(crate) struct Effects(HashMap<CallId, HashMap<u32, u32>>);

/// One call as the log tells of it.
#[derive(Default)]
struct Account {
    /// Whether the simulation's agent made it, and runs it.
    is_run: bool,
    retries: u32,
    returned: Vec<ToolStatus>,
    is_done: bool,
    /// Whether a client brings the result.
    is_clients: bool,
}

impl Effects {
    /// A tool takes effect. `records` are the turn's on disk. Returns what they lack.
    pub(crate) fn happens(
        &mut self,
        call: &CallId,
        is_asked: bool,
        records: &[Record],
    ) -> Option<&'static str> {
        let (mut is_called, mut is_approved, mut allowed) = (false, false, 1);
        for record in records {
            match &record.event {
                Event::Turn(TurnEvent::ToolCalled { call: of, .. }) => is_called |= of == call,
                Event::Turn(TurnEvent::ToolRetried { call: of, .. }) if of == call => allowed += 1,
                Event::Turn(TurnEvent::ApprovalSettled { call: of, decision, .. }) => {
                    is_approved |= of == call && *decision == Decision::Approved;
                }
                _ => {}
            }
        }
        // A node that was paused may do so late: each attempt does it once.
        let times = self.0.entry(call.clone()).or_default().entry(allowed).or_default();
        *times += 1;
        if !is_called {
            Some("a tool ran whose call is not on disk")
        } else if is_asked && !is_approved {
            Some("a tool ran whose approval is not on disk")
        } else if *times > 1 {
            Some("a tool ran again, and that is not on disk")
        } else {
            None
        }
    }

    /// Holds the effects against a whole log: every call has one result by the end of its turn, and
    /// no more effects than it was made times.
    pub(crate) fn check(&self, records: &[Record]) -> Vec<String> {
        let mut calls: HashMap<&CallId, Account> = HashMap::new();
        let mut open: HashMap<_, Vec<&CallId>> = HashMap::new();
        let mut scripts = HashMap::new();
        let mut numbers: HashMap<&CallId, u64> = HashMap::new();
        let mut turns = HashMap::new();
        let mut wrong = Vec::new();
        for record in records {
            match &record.event {
                Event::Input(thoughtwire_proto::InputEvent::UserMessage { item, text, .. }) => {
                    scripts.insert(item, text.as_str());
                }
                Event::Turn(TurnEvent::Started { input }) => {
                    turns.insert(&record.turn, input);
                }
                Event::Turn(TurnEvent::ToolCalled { call, args, .. }) => {
                    let step = args.get(STEP).and_then(serde_json::Value::as_u64);
                    calls.entry(call).or_default().is_run = step.is_some();
                    open.entry(&record.turn).or_default().push(call);
                    let text = turns.get(&record.turn).and_then(|input| scripts.get(*input));
                    let number = step
                        .zip(text)
                        .and_then(|(step, text)| {
                            text.split(' ').nth(usize::try_from(step).ok()? + 1)
                        })
                        .and_then(|word| word.split_once(':')?.1.parse().ok());
                    numbers.extend(number.map(|number| (call, number)));
                }
                Event::Turn(TurnEvent::ToolRetried { call, attempt, .. }) => {
                    let account = calls.entry(call).or_default();
                    account.retries += 1;
                    if account.retries != *attempt {
                        wrong.push(format!("{call} was made again as {attempt}, out of order"));
                    }
                }
                Event::Turn(TurnEvent::ToolAwaited { call, .. }) => {
                    calls.entry(call).or_default().is_clients = true;
                }
                Event::Turn(TurnEvent::ApprovalSettled { call, decision, .. }) => {
                    calls.entry(call).or_default().is_done |= *decision == Decision::Done;
                }
                Event::Turn(TurnEvent::ToolReturned { call, status, .. }) => {
                    calls.entry(call).or_default().returned.push(*status);
                }
                Event::Turn(TurnEvent::Ended { .. }) => {
                    for call in open.remove(&record.turn).into_iter().flatten() {
                        let returned = calls.get(call).map_or(0, |call| call.returned.len());
                        if returned != 1 {
                            wrong.push(format!("{call} has {returned} results at its turn's end"));
                        }
                    }
                }
                _ => {}
            }
        }
        for (call, account) in calls.iter().filter(|(_, account)| account.is_run) {
            let effects = self.0.get(*call).map_or(0, |times| times.values().sum());
            let never = numbers.get(*call).is_some_and(|number| Class::of(*number) == Class::Never);
            if effects > account.retries + 1 {
                wrong.push(format!(
                    "{call} took effect {effects} times, made again {} times",
                    account.retries
                ));
            }
            if never && !account.is_clients && (account.retries > 0 || effects > 1) {
                wrong.push(format!("{call} must never be made again, and was"));
            }
            let is_success = account.returned.contains(&ToolStatus::Success);
            if is_success && effects == 0 && !account.is_done && !account.is_clients {
                wrong.push(format!("{call} returned, and never took effect"));
            }
        }
        wrong
    }
}
