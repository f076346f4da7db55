//! Steps of a turn, and the events that a run shows of them.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use thoughtwire_proto::{
    CallId, Delta, Event, ItemId, Outcome, Record, Seq, StreamKind, Timestamp, ToolStatus,
    TurnEvent, TurnId,
};

use super::client_copy::SortedMessages;
use super::encode::{RunEncoder, RunFrame};
use super::wire::AgUiMessage;
use crate::endpoint::TurnStep;

fn item(id: &str) -> ItemId {
    ItemId::new(id).unwrap()
}

fn delta(id: &str, text: &str) -> TurnStep {
    TurnStep::Delta(Delta {
        turn: TurnId::new("t").unwrap(),
        item: item(id),
        n: 0,
        kind: StreamKind::Message,
        text: text.to_owned(),
        continues: None,
    })
}

fn record(seq: u64, event: TurnEvent) -> TurnStep {
    let turn = Some(TurnId::new("t").unwrap());
    let event = Event::Turn(event);
    TurnStep::Record(Record { seq: Seq(seq), at: Timestamp::from_millis(0), turn, event })
}

fn message(id: &str, text: &str, complete: bool, continues: Option<&str>) -> TurnEvent {
    let continues = continues.map(item);
    TurnEvent::Message { item: item(id), text: text.to_owned(), complete, continues }
}

/// A run for a client with these messages.
fn encoder(messages: &Value, answered: Option<Seq>) -> RunEncoder {
    let messages: Vec<AgUiMessage> = serde_json::from_value(messages.clone()).unwrap();
    let copy = SortedMessages::new(&messages).unwrap().copy;
    let (thread, run) = ("thread".to_owned(), "run".to_owned());
    let tools = HashSet::from(["door".to_owned()]);
    let frame = RunFrame { thread, run, before: Seq(1), answered, tools, state_at: None };
    RunEncoder::new(frame, copy)
}

/// The events of steps, in short.
fn events(mut encoder: RunEncoder, steps: Vec<TurnStep>) -> Vec<String> {
    let mut shown = Vec::new();
    for step in steps {
        let is_quiet = matches!(step, TurnStep::Quiet);
        encoder.take(step);
        if is_quiet {
            encoder.send_saved();
            encoder.end_if_waiting();
        }
        for event in encoder.take_events() {
            let event = serde_json::to_value(event).unwrap();
            let parts = ["type", "messageId", "toolCallId", "delta", "content"];
            let parts = parts.iter().filter_map(|key| event[key].as_str());
            let mut line: Vec<String> = parts.map(str::to_owned).collect();
            if event["outcome"].is_object() {
                line.push(event["outcome"].to_string());
            }
            shown.push(line.join(" "));
        }
    }
    shown
}

fn ended() -> TurnStep {
    TurnStep::Ended { outcome: Outcome::Completed, code: None, reason: None }
}

const SUCCESS: &str = "RUN_FINISHED {\"type\":\"success\"}";

#[test]
fn messages_may_overlap_and_each_has_its_own_text_once() {
    let steps = vec![
        delta("a", "one "),
        TurnStep::Quiet,
        delta("b", "two"),
        delta("a", "and "),
        TurnStep::Quiet,
        record(3, message("b", "two", true, None)),
        record(4, message("a", "one and three", true, None)),
        ended(),
    ];
    let expected = [
        "TEXT_MESSAGE_START tw-1-a",
        "TEXT_MESSAGE_CONTENT tw-1-a one ",
        "TEXT_MESSAGE_CONTENT tw-1-a and ",
        "TEXT_MESSAGE_START tw-1-b",
        "TEXT_MESSAGE_CONTENT tw-1-b two",
        "TEXT_MESSAGE_END tw-1-b",
        "TEXT_MESSAGE_CONTENT tw-1-a three",
        "TEXT_MESSAGE_END tw-1-a",
        SUCCESS,
    ];
    assert_eq!(events(encoder(&json!([]), None), steps), expected);
}

#[test]
fn a_text_that_was_cut_goes_on_under_its_id_from_where_the_client_is() {
    let whole = [
        "TEXT_MESSAGE_START tw-1-a",
        "TEXT_MESSAGE_CONTENT tw-1-a one tw",
        "TEXT_MESSAGE_END tw-1-a",
        "TEXT_MESSAGE_START tw-1-a",
        "TEXT_MESSAGE_CONTENT tw-1-a o three",
        "TEXT_MESSAGE_END tw-1-a",
    ];
    let partly = [
        "TEXT_MESSAGE_START tw-1-a",
        "TEXT_MESSAGE_CONTENT tw-1-a hree",
        "TEXT_MESSAGE_END tw-1-a",
    ];
    for (had, expected) in
        [(None, &whole[..]), (Some("one two t"), &partly[..]), (Some("one two three"), &[])]
    {
        let messages =
            had.map(|text| json!({"id": "tw-1-a", "role": "assistant", "content": text}));
        let messages: Vec<Value> = messages.into_iter().collect();
        let steps = vec![
            record(3, message("a", "one tw", false, None)),
            record(5, message("b", "o three", true, Some("a"))),
            ended(),
        ];
        let shown = events(encoder(&json!(messages), None), steps);
        assert_eq!(shown, [expected, &[SUCCESS]].concat(), "{had:?}");
    }
}

#[test]
fn calls_and_results_that_the_client_has_are_not_shown_again() {
    let call = CallId::new("c").unwrap();
    let name = "door".to_owned();
    let steps = || {
        let (call, name) = (call.clone(), name.clone());
        let (status, text, content) = (ToolStatus::Success, "open".to_owned(), None);
        vec![
            record(
                3,
                TurnEvent::ToolCalled { call: call.clone(), name: name.clone(), args: Map::new() },
            ),
            record(
                4,
                TurnEvent::ToolAwaited {
                    call: call.clone(),
                    expires_at: Timestamp::from_millis(9),
                },
            ),
            TurnStep::Quiet,
            record(5, TurnEvent::ToolReturned { call, name, status, text, content }),
            ended(),
        ]
    };
    let asked = [
        "TOOL_CALL_START tw-1-c",
        "TOOL_CALL_ARGS tw-1-c {}",
        "TOOL_CALL_END tw-1-c",
        "RUN_FINISHED {\"type\":\"success\",\"pendingToolCallIds\":[\"tw-1-c\"]}",
    ];
    let first: Vec<TurnStep> = steps().into_iter().take(3).collect();
    assert_eq!(events(encoder(&json!([]), None), first), asked);
    let function = json!({"name": "door", "arguments": "{}"});
    let called = json!({"id": "tw-1-c", "role": "assistant",
        "toolCalls": [{"id": "tw-1-c", "type": "function", "function": function}]});
    let answered = json!({"id": "mine", "role": "tool", "toolCallId": "tw-1-c", "content": "open"});
    // The wait that the client's answer ended does not end its next run.
    let shown = events(encoder(&json!([called, answered]), Some(Seq(5))), steps());
    assert_eq!(shown, [SUCCESS]);
    // Another client's result is shown.
    let shown = events(encoder(&json!([called]), Some(Seq(5))), steps());
    assert_eq!(shown, ["TOOL_CALL_RESULT tw-1-c-result tw-1-c open", SUCCESS]);
}
