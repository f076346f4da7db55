//! Conditions that hold at the end of a run.

use std::collections::HashMap;

use serde_json::Value;

use super::reader::ChaosRead;
use super::writer::{AcknowledgedText, Written};

/// Compares a session's log with what its writer was told and what its reader saw. Gives each
/// breach.
pub(super) fn check(log: &[Value], written: &Written, read: &ChaosRead) -> Vec<String> {
    let mut breaches = Vec::new();
    for (at, frame) in log.iter().enumerate() {
        if frame["seq"] != at + 1 {
            breaches.push(format!("not record {}: {frame}", at + 1));
        }
    }
    if let Some(at) =
        (0..log.len().max(read.log.len())).find(|at| log.get(*at) != read.log.get(*at))
    {
        let (stored, seen) = (log.get(at), read.log.get(at));
        breaches.push(format!("{seen:?} was read, and the log has {stored:?}"));
    }
    inputs(log, written, &mut breaches);
    turns(log, written, &mut breaches);
    if let Some(read) = &written.transcripts {
        transcripts(log, read, &mut breaches);
    }
    breaches
}

/// Each acknowledged input is in the log once, at its position, in the order in which it was sent.
fn inputs(log: &[Value], written: &Written, breaches: &mut Vec<String>) {
    let mut found: HashMap<&str, Vec<u64>> = HashMap::new();
    for frame in log.iter().filter(|frame| frame["event"]["kind"] == "user_message") {
        let positions = found.entry(frame["event"]["text"].as_str().unwrap()).or_default();
        positions.push(frame["seq"].as_u64().unwrap());
    }
    let mut before = 0;
    for AcknowledgedText { text, seq } in &written.acknowledged {
        let positions = found.remove(text.as_str()).unwrap_or_default();
        let told = seq.or(positions.first().copied()).unwrap_or_default();
        if positions != [told] || told <= before {
            breaches.push(format!("{text} was acknowledged at {told}, and is at {positions:?}"));
        }
        before = told;
    }
    for text in &written.unsure {
        if let Some(positions) = found.remove(text.as_str()).filter(|found| found.len() > 1) {
            breaches.push(format!("{text} was sent once, and is at {positions:?}"));
        }
    }
    // A writer ends behind an acknowledgement.
    breaches.extend(found.into_iter().map(|input| format!("nobody was told of {input:?}")));
}

/// On a wire without positions, each connection goes on where an earlier one was, or before, and
/// the last one reads to the end.
fn transcripts(log: &[Value], transcripts: &[Vec<String>], breaches: &mut Vec<String>) {
    let said: Vec<_> = log
        .iter()
        .filter(|frame| frame["event"]["kind"] == "message")
        .map(|frame| frame["event"]["text"].as_str().unwrap())
        .collect();
    let mut end = 0;
    for read in transcripts {
        let begins = |at: &usize| said.get(*at..*at + read.len()).is_some_and(|some| some == read);
        match (0..=end).rev().find(begins) {
            Some(at) => end = end.max(at + read.len()),
            None => breaches.push(format!("behind {end} of {said:?} was read {read:?}")),
        }
    }
    if end != said.len() {
        breaches.push(format!("{end} texts were read, and the log has {}", said.len()));
    }
}

/// Each input has one turn, which has one end, and completes with its message. With one exception:
/// a turn of a client that could not know of it may be cancelled by the next input.
fn turns(log: &[Value], written: &Written, breaches: &mut Vec<String>) {
    let of_kind = |kind: &str| -> Vec<&Value> {
        log.iter().filter(|frame| frame["event"]["kind"] == kind).collect()
    };
    let (inputs, started) = (of_kind("user_message"), of_kind("turn_started"));
    if inputs.len() != started.len() {
        breaches.push(format!("{} inputs have {} turns", inputs.len(), started.len()));
    }
    let mut may_be_cancelled = written.unsure.len();
    for start in started {
        let turn = &start["turn"];
        let ends: Vec<_> =
            of_kind("turn_ended").into_iter().filter(|end| end["turn"] == *turn).collect();
        if let [end] = ends[..]
            && end["event"]["outcome"] == "cancelled"
            && may_be_cancelled > 0
        {
            may_be_cancelled -= 1;
            continue;
        }
        if ends.len() != 1 || ends[0]["event"]["outcome"] != "completed" {
            breaches.push(format!("turn {turn} ended so: {ends:?}"));
        }
        let messages = of_kind("message").into_iter().filter(|one| one["turn"] == *turn);
        if messages.filter(|one| one["event"]["complete"] == true).count() == 0 {
            breaches.push(format!("turn {turn} has no message"));
        }
    }
}
