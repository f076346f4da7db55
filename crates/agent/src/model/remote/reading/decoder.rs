//! What the decoders of all wires have in common.

use serde_json::Value;

use super::assembly::Assembly;

/// A JSON value of a reply.
pub(super) struct Input<'a> {
    /// The event's type; empty where there is none.
    pub(super) event: &'a str,
    pub(super) value: &'a Value,
    /// The text that `value` was parsed from.
    pub(super) text: &'a str,
}

/// What a decoder makes of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is none of the wire's.
    Unknown,
    /// It is, and the reply goes on.
    Known,
    /// It is a whole reply that was not streamed. More may follow.
    Whole,
    /// It is the last one.
    Last,
}

/// Turns the JSON values of one wire into pieces of a reply, without I/O, time and limits.
///
/// Providers leave out, repeat and misspell most of what they document: a decoder reads what is
/// there and ignores what it does not know.
pub(super) trait Decoder: Send {
    fn take(&mut self, input: &Input<'_>, reply: &mut Assembly) -> Taken;

    /// Writes what was held back, when the reply is over.
    fn finish(&mut self, _reply: &mut Assembly) {}

    /// Whether all that was begun has ended, on a wire that says so in several places.
    fn has_ended(&self) -> bool {
        false
    }
}
