//! `frame decode` and `frame encode`: one line of any wire, read and written without a connection.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{memgpt, native, sparky};
use crate::{Refusal, RefusalCode};

/// A wire, by its dialect.
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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Native, Self::Memgpt, Self::Sparky];
}

/// Reads a frame of either direction and gives it back normalised, as JSON text: the older wires have
/// integers that a JSON value of ours would round.
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

/// Writes a normalised frame as it is sent. A line as `frame decode` prints it, `{"ok": …}`, is taken as well.
///
/// # Errors
/// As [`decode`].
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

/// A line of `frame decode`'s output. No wire has a frame whose only key is `ok`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decoded<'a> {
    #[serde(borrow)]
    ok: &'a RawValue,
}

fn unwrapped(line: &str) -> &str {
    serde_json::from_str::<Decoded<'_>>(line).map_or(line, |decoded| decoded.ok.get())
}
