//! `thoughtwire frame`: single frames of any wire, for debugging and for checking us.

use std::io::BufRead;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use thoughtwire_proto::dialect::{memgpt, native, sparky};
use thoughtwire_proto::{Refusal, RefusalCode};

use crate::cli::{Dialect, FrameCommand};
use crate::{Outcome, out};

pub(crate) fn run(command: &FrameCommand) -> anyhow::Result<Outcome> {
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    while next_line(&mut input, &mut line)? {
        let text = std::str::from_utf8(&line)
            .map_err(|error| Refusal::new(RefusalCode::BadFrame, format!("the frame is not UTF-8 from byte {} on", error.valid_up_to())));
        match command {
            FrameCommand::Decode { dialect } => match text.and_then(|text| decode(*dialect, text)) {
                Ok(frame) => out::line(&format!("{{\"ok\":{frame}}}"))?,
                Err(refusal) => refused(&refusal)?,
            },
            FrameCommand::Encode { dialect } => match text.and_then(|text| encode(*dialect, text)) {
                Ok(frame) => out::line(&frame)?,
                Err(refusal) => refused(&refusal)?,
            },
        }
    }
    Ok(Outcome::Done)
}

/// Reads a line without its end; false when there is none.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    if input.read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(true)
}

/// The frame as JSON text: the older wires have integers that a JSON value of ours would round.
fn decode(dialect: Dialect, line: &str) -> Result<String, Refusal> {
    match dialect {
        Dialect::Memgpt => memgpt::normalise(line),
        Dialect::Sparky => sparky::normalise(line),
        Dialect::Native => native::normalise(line).map(|frame| frame.to_string()),
    }
}

fn encode(dialect: Dialect, line: &str) -> Result<String, Refusal> {
    let frame = unwrapped(line);
    match dialect {
        Dialect::Memgpt => memgpt::render(frame),
        Dialect::Sparky => sparky::render(frame),
        Dialect::Native => {
            let bad = |error| Refusal::new(RefusalCode::BadFrame, format!("the frame is not JSON: {error}"));
            native::render(&serde_json::from_str(frame).map_err(bad)?)
        }
    }
}

/// A line of `decode`'s output. No wire has a frame whose only key is `ok`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decoded<'a> {
    #[serde(borrow)]
    ok: &'a RawValue,
}

/// What `decode` prints is taken as well as the frame alone.
fn unwrapped(line: &str) -> &str {
    serde_json::from_str::<Decoded<'_>>(line).map_or(line, |decoded| decoded.ok.get())
}

fn refused(refusal: &Refusal) -> std::io::Result<()> {
    out::json(&json!({"error": {"code": refusal.code, "reason": refusal.reason}}))
}
