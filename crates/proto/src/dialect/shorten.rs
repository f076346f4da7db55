//! Frames of the older dialects that are too large: long texts are cut, everything else is
//! shortened.

use super::limit::{FrameLimit, pieces};
use super::python::Json;
use crate::connection::Frame;

/// Mark at the end of a shortened text.
const MARK: &str = "… [shortened]";
/// Texts of at most this cost are not shortened.
const SHORT: usize = 64;
/// Smallest room for a piece of text. With less, the frame's other keys are too long.
const LEAST_ROOM: usize = 256;

/// Cuts a text into frames of one kind. `frame` makes the frame of a piece. Returns `None` if the
/// frame is too large even without text.
pub(super) fn cut(
    text: &str,
    limit: FrameLimit,
    frame: impl Fn(&str) -> Frame,
) -> Option<Vec<Frame>> {
    let room = limit.bytes().checked_sub(frame("").len()).filter(|room| *room >= LEAST_ROOM)?;
    Some(pieces(text, room, cost).into_iter().map(frame).collect())
}

/// Shortens the longest texts of a frame until it is within the limit.
pub(super) fn shorten_frame(frame: Frame, limit: FrameLimit) -> Frame {
    match Json::parse(&frame) {
        Ok(json) => shorten(json, limit.bytes()).dumps(),
        Err(_) => frame,
    }
}

/// Shortens the longest texts of a value until its JSON has at most `room` bytes, or until no long
/// text is left.
pub(super) fn shorten(mut json: Json, room: usize) -> Json {
    loop {
        let excess = json.dumps().len().saturating_sub(room);
        let longest = longest(&json);
        if excess == 0 || longest <= SHORT {
            return json;
        }
        // Shortens only the longest text if half of it is enough, else all long ones by half.
        clip(&mut json, longest.saturating_sub(excess).max(longest / 2).min(longest - 1));
    }
}

/// Beginning of a text followed by the mark, within `room` bytes of JSON.
pub(super) fn clipped(text: &str, room: usize) -> String {
    let kept = room.saturating_sub(MARK.chars().map(cost).sum());
    let start = pieces(text, kept, cost).first().copied().unwrap_or_default();
    format!("{start}{MARK}")
}

fn longest(json: &Json) -> usize {
    match json {
        Json::Text(text) => text.chars().map(cost).sum(),
        Json::List(items) => items.iter().map(longest).max().unwrap_or(0),
        Json::Dict(members) => members.iter().map(|(_, value)| longest(value)).max().unwrap_or(0),
        Json::Null | Json::Bool(_) | Json::Int(_) | Json::Float(_) => 0,
    }
}

fn clip(json: &mut Json, most: usize) {
    match json {
        Json::Text(text) if text.chars().map(cost).sum::<usize>() > most => {
            *text = clipped(text, most);
        }
        Json::List(items) => items.iter_mut().for_each(|item| clip(item, most)),
        Json::Dict(members) => members.iter_mut().for_each(|(_, value)| clip(value, most)),
        Json::Text(_) | Json::Null | Json::Bool(_) | Json::Int(_) | Json::Float(_) => {}
    }
}

/// Number of bytes of a character in Python's JSON, which is ASCII.
fn cost(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        ' '..='~' => 1,
        c => 6 * c.len_utf16(),
    }
}
