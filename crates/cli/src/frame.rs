//! `thoughtwire frame`: decodes and encodes single frames, for debugging and for client tests.

use std::io::BufRead;

use serde_json::json;
use thoughtwire_proto::dialect::line::{self, decode, encode};
use thoughtwire_proto::{Refusal, RefusalCode};

use crate::cli::{DialectChoice, FrameCommand};
use crate::{CommandStatus, out};

pub(crate) fn run(command: &FrameCommand) -> anyhow::Result<CommandStatus> {
    let mut input = std::io::stdin().lock();
    let mut read = Vec::new();
    while next_line(&mut input, &mut read)? {
        let text = std::str::from_utf8(&read).map_err(|error| {
            Refusal::new(
                RefusalCode::BadFrame,
                format!("the frame is not valid UTF-8 at byte {}", error.valid_up_to()),
            )
        });
        match command {
            FrameCommand::Decode { dialect } => {
                match text.and_then(|text| decode((*dialect).into(), text)) {
                    Ok(frame) => out::line(&format!("{{\"ok\":{frame}}}"))?,
                    Err(refusal) => refused(&refusal)?,
                }
            }
            FrameCommand::Encode { dialect } => {
                match text.and_then(|text| encode((*dialect).into(), text)) {
                    Ok(frame) => out::line(&frame)?,
                    Err(refusal) => refused(&refusal)?,
                }
            }
        }
    }
    Ok(CommandStatus::Done)
}

/// Reads a line without its end; returns false at the end of the input.
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

impl From<DialectChoice> for line::Dialect {
    fn from(dialect: DialectChoice) -> Self {
        match dialect {
            DialectChoice::Native => Self::Native,
            DialectChoice::Memgpt => Self::Memgpt,
            DialectChoice::Sparky => Self::Sparky,
        }
    }
}

fn refused(refusal: &Refusal) -> std::io::Result<()> {
    out::json(&json!({"error": {"code": refusal.code, "reason": refusal.reason}}))
}
