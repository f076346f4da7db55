//! Table tests of replies as providers send them: the bytes, and the expected output.

mod anthropic;
mod bounds;
mod errors;
mod gemini;
mod ollama;
mod openai;
mod responses;
mod stops;

use thoughtwire_proto::Style;
use tokio::time::Instant;

use super::*;
use crate::model::Providers;

/// A row: a label, the reply, and the expected output.
pub(super) type DecoderRow<'a> = (&'a str, String, &'a str);

/// A reading whose reply has not begun.
pub(super) fn reading(wire: ProviderWire) -> ReplyStream {
    let key = crate::Endpoint { api_key: Some("none".to_owned()), base_url: None };
    let providers =
        Providers { openai: key.clone(), anthropic: key.clone(), gemini: key.clone(), ollama: key };
    let address = Address::new(wire, &providers).unwrap();
    let tools = ["sum", "time"].map(str::to_owned).to_vec();
    let reply = ReplyAssembly::new(Style::Native, tools, "maker".to_owned());
    let body = ReplyBody::of(http::Response::new(String::new()).into());
    ReplyStream::new(body, address, reply, Timeouts::default(), Instant::now())
}

/// Reads a reply in these chunks and formats its output.
pub(super) fn read<'a>(wire: ProviderWire, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut reading = reading(wire);
    for piece in pieces {
        if !reading.is_over {
            reading.take(piece);
        }
    }
    if !reading.is_over {
        reading.end_of_body();
    }
    let pieces = std::iter::from_fn(|| reading.reply.pop()).collect::<Vec<_>>();
    let mut shown: Vec<(String, String)> = Vec::new();
    let mut calls = Vec::new();
    for piece in pieces {
        let (kind, text) = match piece {
            ReplyPiece::Thought(text) => ("thought", text),
            ReplyPiece::Message(text) => ("", text),
            ReplyPiece::WasThought => ("was thought", String::new()),
            ReplyPiece::Call { index, name, .. } => {
                assert_eq!(index, calls.len());
                calls.push((name, String::new()));
                continue;
            }
            ReplyPiece::Args { index, json } => {
                calls[index].1.push_str(&json);
                continue;
            }
            ReplyPiece::ProviderState(_) => continue,
            ReplyPiece::Monologue(_) | ReplyPiece::Whole(_) | ReplyPiece::End(_) => {
                panic!("{piece:?}")
            }
        };
        match shown.last_mut() {
            Some((last, words)) if last == kind => words.push_str(&text),
            _ => shown.push((kind.to_owned(), text)),
        }
    }
    let mut parts: Vec<String> = shown
        .into_iter()
        .map(|(kind, text)| if kind.is_empty() { text } else { format!("{kind}: {text}") })
        .collect();
    parts.extend(calls.into_iter().map(|(name, args)| format!("{name}({args})")));
    for last in reading.ready.drain(..) {
        match last {
            Ok(ReplyPiece::End(ReplyEnd { stopped: None, .. })) => {}
            Ok(ReplyPiece::End(ReplyEnd { stopped: Some(error), .. })) => {
                parts.push(format!("stopped {}", error.code()));
            }
            Ok(piece) => panic!("{piece:?}"),
            Err(error) => parts.push(format!("failed {}", error.code())),
        }
    }
    parts.join(" | ")
}

/// Checks rows with each reply whole, byte by byte, cut in the middle, and with other line ends.
pub(super) fn check(wire: ProviderWire, rows: &[DecoderRow<'_>]) {
    for (what, reply, wanted) in rows {
        for line_end in ["\n", "\r\n", "\r"] {
            let reply = reply.replace('\n', line_end);
            let bytes = reply.as_bytes();
            assert_eq!(read(wire, [bytes]), *wanted, "{wire:?}, {what}: {reply}");
            assert_eq!(read(wire, bytes.chunks(1)), *wanted, "{wire:?}, {what}, in bytes: {reply}");
            let halves = bytes.split_at(bytes.len() / 2);
            assert_eq!(read(wire, [halves.0, halves.1]), *wanted, "{wire:?}, {what}, cut: {reply}");
        }
    }
}

/// Formats server-sent events without types.
pub(super) fn sse(values: &[&str]) -> String {
    values.iter().map(|value| format!("data: {value}\n\n")).collect()
}
