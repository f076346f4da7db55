//! Output of the view for a session.

use serde_json::json;
use thoughtwire_proto::dialect::native::ServerFrame;
use thoughtwire_proto::{Attached, Emission, Seq};

use super::{LiveView, OutputPiece};
use crate::out::TextStyle;

/// Writes a view's output as one text: dim text in parentheses, each complete text on a line.
fn told(frames: &[serde_json::Value]) -> String {
    let mut view = LiveView::default();
    let attached = Attached {
        session: "s".parse().unwrap(),
        agent: "a".parse().unwrap(),
        epoch: "e".parse().unwrap(),
        first: Seq(1),
        head: Seq(0),
        recovered: true,
        after: Seq(0),
        turn: None,
        unended: Vec::new(),
    };
    assert!(view.attach(&attached).is_empty());
    view.typed_here("in-1".parse().unwrap());
    let mut out = String::new();
    for frame in frames {
        for piece in view.apply(&emission(frame)) {
            match piece {
                OutputPiece::Text(TextStyle::Dim, text) => out.push_str(&format!("({text})")),
                OutputPiece::Text(_, text) => out.push_str(&text),
                OutputPiece::End(_) => out.push('\n'),
                OutputPiece::Whole((_, text)) => out.push_str(&format!("{text}\n")),
                OutputPiece::TurnEnded(outcome) => out.push_str(&format!("[{outcome:?}]\n")),
            }
        }
    }
    out
}

fn emission(frame: &serde_json::Value) -> Emission {
    let ServerFrame::SessionEmission(emitted) = ServerFrame::decode(&frame.to_string()).unwrap()
    else {
        panic!("{frame}")
    };
    emitted.emission
}

fn event(seq: u64, turn: Option<&str>, event: serde_json::Value) -> serde_json::Value {
    let mut frame = json!({"type": "event", "session": "s", "seq": seq,
        "at": "2026-01-01T00:00:00.000Z", "event": event});
    if let Some(turn) = turn {
        frame["turn"] = turn.into();
    }
    frame
}

fn delta(item: &str, n: u64, kind: &str, text: &str) -> serde_json::Value {
    json!({"type": "delta", "session": "s", "turn": "t", "item": item, "n": n, "kind": kind,
        "text": text})
}

fn begun() -> Vec<serde_json::Value> {
    vec![
        event(1, None, json!({"kind": "session_opened", "agent": "a"})),
        event(2, None, json!({"kind": "user_message", "item": "in-1", "text": "hi"})),
        event(3, Some("t"), json!({"kind": "turn_started", "input": "in-1"})),
    ]
}

fn ended(seq: u64) -> serde_json::Value {
    event(seq, Some("t"), json!({"kind": "turn_ended", "input": "in-1", "outcome": "completed"}))
}

#[test]
fn streamed_text_is_printed_once() {
    let mut frames = begun();
    frames.extend([
        delta("th", 0, "thought", "Hm"),
        delta("th", 1, "thought", ", yes"),
        event(
            4,
            Some("t"),
            json!({"kind": "thought", "item": "th", "text": "Hm, yes.",
            "complete": true}),
        ),
        delta("m", 0, "message", "Hel"),
        delta("m", 0, "message", "Hel"),
        json!({"type": "partial", "session": "s", "turn": "t", "item": "m", "n": 2,
            "kind": "message", "text": "Hello"}),
        event(
            5,
            Some("t"),
            json!({"kind": "message", "item": "m", "text": "Hello",
            "complete": true}),
        ),
        ended(6),
    ]);
    assert_eq!(told(&frames), "(Hm)(, yes)(.)\nHello\n[Completed]\n");
}

#[test]
fn entries_wait_for_the_streamed_item() {
    let mut frames = begun();
    frames.extend([
        delta("m", 0, "message", "One "),
        event(
            4,
            Some("t"),
            json!({"kind": "tool_called", "call": "c", "name": "f",
            "args": {"x": 1}}),
        ),
        delta("n", 0, "message", "Two"),
        event(
            5,
            Some("t"),
            json!({"kind": "tool_returned", "call": "c", "name": "f",
            "status": "success", "text": "2"}),
        ),
        event(
            6,
            None,
            json!({"kind": "user_message", "item": "in-2", "text": "and?",
            "from": "phone"}),
        ),
        event(
            7,
            Some("t"),
            json!({"kind": "message", "item": "m", "text": "One moment",
            "complete": true}),
        ),
        event(
            8,
            Some("t"),
            json!({"kind": "message", "item": "n", "text": "Two",
            "complete": true}),
        ),
        ended(9),
    ]);
    assert_eq!(told(&frames), "One moment\n⚙ f(1) → 2\n› phone: and?\nTwo\n[Completed]\n");
}

#[test]
fn an_incomplete_item_ends_with_its_turn() {
    let mut frames = begun();
    frames.extend([
        delta("m", 0, "message", "Once"),
        event(4, Some("t"), json!({"kind": "usage", "input_tokens": 1, "output_tokens": 1})),
        event(
            5,
            Some("t"),
            json!({"kind": "turn_ended", "input": "in-1", "outcome": "failed",
            "reason": "no model"}),
        ),
    ]);
    assert_eq!(told(&frames), "Once\n✗ failed: no model\n[Failed]\n");
}

#[test]
fn the_event_overrides_its_deltas() {
    let mut frames = begun();
    frames.extend([
        delta("m", 0, "message", "Once upon"),
        event(
            4,
            Some("t"),
            json!({"kind": "message", "item": "m", "text": "Once", "complete": false}),
        ),
        delta("n", 0, "message", "Yes"),
        event(
            5,
            Some("t"),
            json!({"kind": "message", "item": "n", "text": "No", "complete": true}),
        ),
        ended(6),
    ]);
    assert_eq!(told(&frames), "Once upon…\nYes\nNo\n[Completed]\n");
}

fn said(seq: u64, item: &str, text: &str, complete: bool) -> serde_json::Value {
    let said = json!({"kind": "message", "item": item, "text": text, "complete": complete});
    event(seq, Some("t"), said)
}

fn resumed(seq: u64) -> serde_json::Value {
    event(seq, Some("t"), json!({"kind": "turn_resumed", "attempt": 1, "reason": "restart"}))
}

/// An event or a delta of an item that continues another.
fn continues(mut frame: serde_json::Value, item: &str) -> serde_json::Value {
    let named = if frame["type"] == "event" { &mut frame["event"] } else { &mut frame };
    named["continues"] = item.into();
    frame
}

const NOTE: &str = "↻ the server was restarted; the turn goes on\n";

#[test]
fn a_continued_text_goes_on_where_it_was_cut() {
    let cut = [delta("m", 0, "message", "Once"), said(4, "m", "Once upon", false), resumed(5)];
    let rest = [
        continues(delta("n", 0, "message", " a"), "m"),
        continues(said(6, "n", " a ti", false), "m"),
        resumed(7),
        continues(delta("o", 0, "message", "me"), "n"),
        continues(said(8, "o", "me.", true), "n"),
        ended(9),
    ];
    let frames: Vec<_> = [begun(), cut.to_vec(), rest.to_vec()].concat();
    assert_eq!(told(&frames), format!("Once upon a time.\n{NOTE}{NOTE}[Completed]\n"));
    // A client that sees only events prints the same.
    let events: Vec<_> = frames.into_iter().filter(|frame| frame["type"] == "event").collect();
    assert_eq!(told(&events), format!("Once upon a time.\n{NOTE}{NOTE}[Completed]\n"));
}

#[test]
fn a_thought_before_the_continuation_comes_after_the_text() {
    let thought = json!({"kind": "thought", "item": "th", "text": "Hm", "complete": true});
    let mut frames = begun();
    frames.extend([
        said(4, "m", "Once", false),
        resumed(5),
        delta("th", 0, "thought", "Hm"),
        event(6, Some("t"), thought),
        continues(delta("n", 0, "message", " upon"), "m"),
        continues(said(7, "n", " upon a time", true), "m"),
        ended(8),
    ]);
    assert_eq!(told(&frames), format!("Once upon a time\n{NOTE}Hm\n[Completed]\n"));
}

#[test]
fn a_text_that_nothing_continues_ends_with_an_ellipsis() {
    let call = |seq| {
        let call = json!({"kind": "tool_called", "call": "c", "name": "f", "args": {}});
        event(seq, Some("t"), call)
    };
    let mut frames = begun();
    frames.extend([said(4, "m", "Once", false), resumed(5), call(6)]);
    assert_eq!(told(&frames), format!("Once…\n{NOTE}"));
    // If it is continued after all, only the new part is printed.
    frames.extend([continues(said(7, "n", " upon", true), "m"), ended(8)]);
    assert_eq!(told(&frames), format!("Once…\n{NOTE} upon\n[Completed]\n"));
    // An item that says of itself that it continues none.
    let mut frames = begun();
    frames.extend([
        said(4, "m", "Once", false),
        resumed(5),
        delta("n", 0, "message", "No"),
        said(6, "n", "No.", true),
        ended(7),
    ]);
    assert_eq!(told(&frames), format!("Once…\n{NOTE}No.\n[Completed]\n"));
}

#[test]
fn a_call_in_doubt_is_asked_about_and_told_with_its_outcome() {
    let of_call = |seq, kind: &str, more: serde_json::Value| {
        let mut frame = event(seq, Some("t"), more);
        frame["event"]["kind"] = kind.into();
        frame["event"]["call"] = "c".into();
        frame
    };
    let asked = json!({"name": "pay", "about": "retry",
        "expires_at": "2026-01-01T00:05:00.000Z"});
    let mut frames = begun();
    frames.extend([
        of_call(4, "tool_called", json!({"name": "pay", "args": {"sum": 12}})),
        resumed(5),
        of_call(6, "approval_asked", asked),
    ]);
    let text = told(&frames);
    assert!(
        text.contains("? ⚙ pay(12) was interrupted and may already have taken effect."),
        "{text}"
    );
    let returned = json!({"name": "pay", "status": "unknown", "text": "Nobody decided."});
    frames.extend([
        of_call(7, "approval_settled", json!({"decision": "approved"})),
        of_call(8, "tool_retried", json!({"attempt": 1, "reason": "approved"})),
        of_call(9, "tool_returned", returned),
        ended(10),
    ]);
    let last = "⚙ pay(12) (run again) ? outcome unknown: Nobody decided.\n[Completed]\n";
    assert_eq!(told(&frames), format!("{text}{last}"));
}
