//! `frame decode` and `frame encode`: one line of any dialect, read and written without a
//! connection.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{memgpt, native, sparky};
use crate::{Refusal, RefusalCode};

/// A protocol's encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `thoughtwire.v1`.
    Native,
    /// `MemGPT`'s.
    Memgpt,
    /// Sparky's.
    Sparky,
}

impl Dialect {
    /// All dialects.
    pub const ALL: [Self; 3] = [Self::Native, Self::Memgpt, Self::Sparky];
}

/// Reads a frame of either direction and returns it normalised as JSON text. It is text because the
/// older dialects have integers that a JSON value would round.
///
/// ```
/// use thoughtwire_proto::dialect::line::{Dialect, decode, encode};
///
/// let frame = decode(Dialect::Sparky, r#"{"type": "message", "data": "hi"}"#)?;
/// assert_eq!(frame, r#"{"type": "message", "data": {"text": "hi"}}"#);
/// assert_eq!(encode(Dialect::Sparky, &frame)?, frame);
/// # Ok::<(), thoughtwire_proto::Refusal>(())
/// ```
///
/// # Errors
/// What is wrong with it.
pub fn decode(dialect: Dialect, line: &str) -> Result<String, Refusal> {
    match dialect {
        Dialect::Memgpt => memgpt::normalise(line),
        Dialect::Sparky => sparky::normalise(line),
        Dialect::Native => native::normalise(line).map(|frame| frame.to_string()),
    }
}

/// Writes a normalised frame as it is sent. Also accepts a line that `frame decode` printed,
/// `{"ok": …}`.
///
/// # Errors
/// Those of [`decode`].
pub fn encode(dialect: Dialect, line: &str) -> Result<String, Refusal> {
    let frame = unwrapped(line);
    match dialect {
        Dialect::Memgpt => memgpt::render(frame),
        Dialect::Sparky => sparky::render(frame),
        Dialect::Native => {
            let bad = |error| {
                Refusal::new(RefusalCode::BadFrame, format!("the frame is not JSON: {error}"))
            };
            native::render(&serde_json::from_str(frame).map_err(bad)?)
        }
    }
}

/// A line of `frame decode`'s output. No dialect has a frame whose only key is `ok`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decoded<'a> {
    #[serde(borrow)]
    ok: &'a RawValue,
}

fn unwrapped(line: &str) -> &str {
    serde_json::from_str::<Decoded<'_>>(line).map_or(line, |decoded| decoded.ok.get())
}
