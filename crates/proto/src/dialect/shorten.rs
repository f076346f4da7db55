//! Frames of the older wires that are too large: cutting texts, and shortening what cannot be cut.

use super::limit::{FrameLimit, pieces};
use super::python::Json;
use crate::connection::Frame;

/// What stands where a text was shortened.
const MARK: &str = "… [shortened]";
/// Texts that cost less than this are not shortened.
const SHORT: usize = 64;
/// The least room for a piece of text; with less, a frame's other keys are the problem.
const LEAST_ROOM: usize = 256;

/// Cuts a text for frames of one kind. `frame` makes the frame of a piece. Nothing if the frame is
/// too large even without the text.
pub(super) fn cut(
    text: &str,
    limit: FrameLimit,
    frame: impl Fn(&str) -> Frame,
) -> Option<Vec<Frame>> {
    let room = limit.bytes().checked_sub(frame("").len()).filter(|room| *room >= LEAST_ROOM)?;
    Some(pieces(text, room, cost).into_iter().map(frame).collect())
}

/// A frame with its longest texts shortened until it is within the limit.
pub(super) fn shorten_frame(frame: Frame, limit: FrameLimit) -> Frame {
    match Json::parse(&frame) {
        Ok(json) => shorten(json, limit.bytes()).dumps(),
        Err(_) => frame,
    }
}

/// A value with its longest texts shortened until its JSON has at most `room` bytes, or until no
/// long text is left.
pub(super) fn shorten(mut json: Json, room: usize) -> Json {
    loop {
        let excess = json.dumps().len().saturating_sub(room);
        let longest = longest(&json);
        if excess == 0 || longest <= SHORT {
            return json;
        }
        // The longest alone if half of it is enough, else all long ones by half.
        clip(&mut json, longest.saturating_sub(excess).max(longest / 2).min(longest - 1));
    }
}

/// The beginning of a text, within `room` bytes of JSON, with the mark behind it.
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

/// The bytes that a character takes in Python's JSON, which is ASCII.
fn cost(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        ' '..='~' => 1,
        c => 6 * c.len_utf16(),
    }
}
