//! Streams of server-sent events on the fan-out: parked, pushed to, and encoded once.
//!
//! ```text
//! request ─▶ handler ── head ──▶ HTTP library ── socket ──▶ EventStreamReader
//! push run ──▶ EventStreamSink ──bytes──▶ socket            │ parks, wakes for
//!                 └── StreamOutput: EventEncoder, gzip,     │ keep-alives, its end,
//!                     chunks, unsent bytes                  └ and a full socket
//! ```
//!
//! A handler makes an [`EventEncoder`] and calls [`EventStream::answer`]. All streams share the
//! parking, the push runs, keep-alives, compression, back-pressure and every way to end. An
//! idle stream holds its cursor, its encoder and a timer, and no buffer.

mod encoder;
mod gzip;
mod output;
mod reader;
mod shared_events;
#[cfg(test)]
mod tests;

pub(crate) use encoder::EventEncoder;
pub(crate) use reader::EventStream;
pub(crate) use shared_events::SharedEvents;
