//! The trait of the decoders of all wires.

use serde_json::Value;

use super::assembly::ReplyAssembly;

/// A JSON value of a reply.
pub(super) struct DecoderInput<'a> {
    /// The event's type; empty if there is none.
    pub(super) event: &'a str,
    pub(super) value: &'a Value,
    /// The text that `value` was parsed from.
    pub(super) text: &'a str,
}

/// Result of decoding a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecodeOutcome {
    /// The value does not belong to the wire.
    Unknown,
    /// The value belongs to the wire, and the reply continues.
    Known,
    /// The value is a complete reply that was not streamed. More may follow.
    Whole,
    /// The value is the last one.
    Last,
}

/// Turns the JSON values of one wire into pieces of a reply, without I/O, time and limits.
///
/// Providers leave out, repeat and misspell most of what they document: a decoder reads what is
/// there and ignores what it does not know.
pub(super) trait StreamDecoder: Send {
    fn take(&mut self, input: &DecoderInput<'_>, reply: &mut ReplyAssembly) -> DecodeOutcome;

    /// Writes the text that was held back, at the end of the reply.
    fn finish(&mut self, _reply: &mut ReplyAssembly) {}

    /// Whether everything that began has ended, on a wire that marks ends in several places.
    fn has_ended(&self) -> bool {
        false
    }
}
