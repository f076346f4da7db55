//! Events of a response, numbered.

use serde_json::{Value, json};

/// One event of a stream.
pub(super) struct ResponseEvent {
    pub(super) kind: &'static str,
    /// Its position in the response, from 0 without gaps.
    pub(super) number: u64,
    pub(super) body: Value,
}

/// The events that were made and not taken yet.
#[derive(Default)]
pub(super) struct EventLog {
    next: u64,
    ready: Vec<ResponseEvent>,
}

impl EventLog {
    /// Adds an event. Its `type` and `sequence_number` are added to the body.
    pub(super) fn push(&mut self, kind: &'static str, body: Value) {
        let number = self.next;
        self.next += 1;
        let mut whole = json!({"type": kind, "sequence_number": number});
        if let (Some(whole), Value::Object(body)) = (whole.as_object_mut(), body) {
            whole.extend(body);
        }
        self.ready.push(ResponseEvent { kind, number, body: whole });
    }

    /// Takes the events.
    pub(super) fn take(&mut self) -> Vec<ResponseEvent> {
        std::mem::take(&mut self.ready)
    }
}
