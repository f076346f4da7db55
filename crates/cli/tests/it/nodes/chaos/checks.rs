//! What must hold at the end of a run.

use std::collections::HashMap;

use serde_json::Value;

use super::reader::Read;
use super::writer::Written;

/// Compares a session's log with what its writer was told and what its reader saw. Gives each
/// breach.
pub(super) fn check(log: &[Value], written: &Written, read: &Read) -> Vec<String> {
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
    turns(log, &mut breaches);
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
    for (id, seq) in &written.acknowledged {
        let positions = found.remove(id.as_str()).unwrap_or_default();
        if positions != [*seq] || *seq <= before {
            breaches.push(format!("{id} was acknowledged at {seq}, and is at {positions:?}"));
        }
        before = *seq;
    }
    // A writer ends behind an acknowledgement.
    breaches.extend(found.into_iter().map(|input| format!("nobody was told of {input:?}")));
}

/// Each input has one turn, which has one end, and completes with all its messages.
fn turns(log: &[Value], breaches: &mut Vec<String>) {
    let of_kind = |kind: &str| -> Vec<&Value> {
        log.iter().filter(|frame| frame["event"]["kind"] == kind).collect()
    };
    let (inputs, started) = (of_kind("user_message"), of_kind("turn_started"));
    if inputs.len() != started.len() {
        breaches.push(format!("{} inputs have {} turns", inputs.len(), started.len()));
    }
    for start in started {
        let turn = &start["turn"];
        let ends: Vec<_> =
            of_kind("turn_ended").into_iter().filter(|end| end["turn"] == *turn).collect();
        if ends.len() != 1 || ends[0]["event"]["outcome"] != "completed" {
            breaches.push(format!("turn {turn} ended so: {ends:?}"));
        }
        let messages = of_kind("message").into_iter().filter(|one| one["turn"] == *turn);
        if messages.filter(|one| one["event"]["complete"] == true).count() == 0 {
            breaches.push(format!("turn {turn} has no message"));
        }
    }
}
