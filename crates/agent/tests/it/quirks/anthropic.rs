//! Anthropic's Messages API.

use serde_json::{Value, json};

use super::{ANTHROPIC, ONE_AND_ONE, QuirkRow, SIX_BY_SEVEN, check, runs, says, sse, thinks};

pub(super) fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "m", "role": "assistant", "content": [],
        "usage": {"input_tokens": 1, "output_tokens": 1}}})
}

pub(super) fn begin(index: impl Into<Value>, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index.into(), "content_block": block})
}

pub(super) fn delta(index: impl Into<Value>, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index.into(), "delta": delta})
}

pub(super) fn end(index: impl Into<Value>) -> Value {
    json!({"type": "content_block_stop", "index": index.into()})
}

pub(super) fn words(index: impl Into<Value>, text: &str) -> Value {
    delta(index, json!({"type": "text_delta", "text": text}))
}

fn thought(index: impl Into<Value>, text: &str) -> Value {
    delta(index, json!({"type": "thinking_delta", "thinking": text}))
}

fn args(index: impl Into<Value>, json: &str) -> Value {
    delta(index, json!({"type": "input_json_delta", "partial_json": json}))
}

fn tool(id: &str, input: Value) -> Value {
    json!({"type": "tool_use", "id": id, "name": "calculator", "input": input})
}

fn empty_text() -> Value {
    json!({"type": "text", "text": ""})
}

pub(super) fn text(index: usize, text: &str) -> Vec<Value> {
    vec![begin(index, empty_text()), words(index, text), end(index)]
}

pub(super) fn reason(stop: &str) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 2}})
}

/// A reply with `event:` lines.
pub(super) fn reply(events: &[Value], stop: &str) -> String {
    let all = [&[start()], events, &[reason(stop), json!({"type": "message_stop"})]].concat();
    all.iter()
        .map(|event| {
            format!(
                "event: {}\n{}",
                event["type"].as_str().unwrap(),
                sse(std::slice::from_ref(event))
            )
        })
        .collect()
}

fn call(id: &str, json: &str) -> Vec<Value> {
    vec![begin(0, tool(id, json!({}))), args(0, json), end(0)]
}

#[tokio::test]
async fn event_lines_and_end_markers_may_be_missing() {
    let all = [
        vec![start()],
        text(0, "Said."),
        vec![reason("end_turn"), json!({"type": "message_stop"})],
    ]
    .concat();
    let only_lines: String = all
        .iter()
        .map(|event| {
            let mut data = event.clone();
            let kind = data.as_object_mut().unwrap().remove("type").unwrap();
            format!("event: {}\ndata: {data}\n\n", kind.as_str().unwrap())
        })
        .collect();
    let whole = |content: Value| {
        json!({"type": "message", "role": "assistant", "content": content,
        "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}})
    };
    let rows: Vec<QuirkRow> = vec![
        says("no event lines", sse(&all), "Said."),
        says("the type in event lines only", only_lines, "Said."),
        says(
            "no message_stop",
            sse(&[vec![start()], text(0, "Said."), vec![reason("end_turn")]].concat()),
            "Said.",
        ),
        says(
            "a marker of another wire",
            sse(&[vec![start()], text(0, "Said.")].concat()) + "data: [DONE]\n\n",
            "Said.",
        ),
        says(
            "no message_start",
            reply(&text(0, "Said."), "end_turn").split_once("\n\n").unwrap().1.to_owned(),
            "Said.",
        ),
        says(
            "no starts and ends of blocks",
            reply(&[words(0, "Sa"), words(0, "id.")], "end_turn"),
            "Said.",
        ),
        says(
            "no indexes",
            reply(
                &[
                    json!({"type": "content_block_start",
            "content_block": empty_text()}),
                    json!({"type": "content_block_delta",
                "delta": {"type": "text_delta", "text": "Said."}}),
                    json!({"type": "content_block_stop"}),
                ],
                "end_turn",
            ),
            "Said.",
        ),
        says("an unknown reason", reply(&text(0, "Said."), "something_new"), "Said."),
        says(
            "an error that is null",
            reply(
                &[vec![json!({"type": "ping", "error": null})], text(0, "Said.")].concat(),
                "end_turn",
            ),
            "Said.",
        ),
        says(
            "not streamed",
            whole(json!([{"type": "text", "text": "Said."}])).to_string(),
            "Said.",
        ),
        thinks(
            "not streamed, with a thought",
            whole(json!([{"type": "thinking", "thinking": "Hm.",
            "signature": "S"}, {"type": "text", "text": "Said."}]))
            .to_string(),
            "Hm.",
            "Said.",
        ),
        says(
            "text in the block's start",
            reply(
                &[begin(0, json!({"type": "text", "text": "Sa"})), words(0, "id."), end(0)],
                "end_turn",
            ),
            "Said.",
        ),
        runs(
            "a call that is not streamed",
            whole(json!([tool("t1", json!({"expression": "6*7"}))])).to_string(),
            &["42"],
        ),
    ];
    check(ANTHROPIC, rows).await;
}

#[tokio::test]
async fn unknown_kinds_and_overlapping_blocks_are_read() {
    let thinking = || json!({"type": "thinking", "thinking": "", "signature": ""});
    let signature = delta(0, json!({"type": "signature_delta", "signature": "S"}));
    let rows = vec![
        says(
            "unknown events",
            reply(
                &[vec![json!({"type": "new_event", "index": 0})], text(0, "Said.")].concat(),
                "end_turn",
            ),
            "Said.",
        ),
        says(
            "unknown deltas",
            reply(
                &[
                    begin(0, empty_text()),
                    delta(0, json!({"type": "citations_delta", "citation": {}})),
                    delta(0, json!({"type": "new_delta", "text": "x"})),
                    delta(0, json!({})),
                    words(0, "Said."),
                    end(0),
                ],
                "end_turn",
            ),
            "Said.",
        ),
        says(
            "unknown blocks",
            reply(
                &[
                    vec![
                        begin(
                            0,
                            json!({"type": "server_tool_use", "id": "s",
            "name": "web_search", "input": {}}),
                        ),
                        args(0, "{\"query\": 1}"),
                        end(0),
                        begin(1, json!({"type": "web_search_tool_result", "content": []})),
                        end(1),
                        begin(2, json!({"type": "new_block"})),
                        end(2),
                    ],
                    text(3, "Said."),
                ]
                .concat(),
                "end_turn",
            ),
            "Said.",
        ),
        says(
            "deltas of blocks that are not open",
            reply(
                &[
                    vec![
                        args(9, "{}"),
                        delta(8, json!({"type": "signature_delta", "signature": "x"})),
                        end(7),
                    ],
                    text(0, "Said."),
                ]
                .concat(),
                "end_turn",
            ),
            "Said.",
        ),
        says(
            "a huge index",
            reply(&[begin(1e300, empty_text()), words(1e300, "Said."), end(1e300)], "end_turn"),
            "Said.",
        ),
        thinks(
            "a thought and a text, alternating",
            reply(
                &[
                    begin(0, thinking()),
                    begin(1, empty_text()),
                    thought(0, "H"),
                    words(1, "Sa"),
                    thought(0, "m."),
                    words(1, "id."),
                    signature.clone(),
                    end(0),
                    end(1),
                ],
                "end_turn",
            ),
            "Hm.",
            "Said.",
        ),
        thinks(
            "the text ends first",
            reply(
                &[
                    begin(0, thinking()),
                    begin(1, empty_text()),
                    words(1, "Said."),
                    end(1),
                    thought(0, "Hm."),
                    end(0),
                ],
                "end_turn",
            ),
            "Hm.",
            "Said.",
        ),
        says(
            "two texts, alternating",
            reply(
                &[
                    begin(0, empty_text()),
                    begin(1, empty_text()),
                    words(1, "two."),
                    words(0, "One, "),
                    end(0),
                    end(1),
                ],
                "end_turn",
            ),
            "One, two.",
        ),
        thinks(
            "blocks that never end",
            reply(
                &[
                    begin(0, thinking()),
                    thought(0, "Hm."),
                    begin(1, empty_text()),
                    words(1, "Said."),
                ],
                "end_turn",
            ),
            "Hm.",
            "Said.",
        ),
        runs(
            "two calls, alternating",
            reply(
                &[
                    begin(0, tool("a", json!({}))),
                    begin(1, tool("b", json!({}))),
                    args(1, "{\"expression\":"),
                    args(0, SIX_BY_SEVEN),
                    args(1, " \"1+1\"}"),
                    end(1),
                    end(0),
                ],
                "tool_use",
            ),
            &["42", "2"],
        ),
    ];
    check(ANTHROPIC, rows).await;
}

#[tokio::test]
async fn calls_may_have_unusual_ids_names_and_inputs() {
    let rows = vec![
        runs(
            "input in the block's start",
            reply(&[begin(0, tool("a", json!({"expression": "6*7"}))), end(0)], "tool_use"),
            &["42"],
        ),
        runs(
            "input in both",
            reply(
                &[begin(0, tool("a", json!({"expression": "1+1"}))), args(0, SIX_BY_SEVEN), end(0)],
                "tool_use",
            ),
            &["42"],
        ),
        runs(
            "input that is a string",
            reply(&[begin(0, tool("a", json!(SIX_BY_SEVEN))), end(0)], "tool_use"),
            &["42"],
        ),
        runs(
            "empty pieces",
            reply(
                &[
                    begin(0, tool("a", json!({}))),
                    args(0, ""),
                    args(0, SIX_BY_SEVEN),
                    args(0, ""),
                    end(0),
                ],
                "tool_use",
            ),
            &["42"],
        ),
        runs(
            "equal ids",
            reply(
                &[
                    call("a", SIX_BY_SEVEN),
                    vec![begin(1, tool("a", json!({}))), args(1, ONE_AND_ONE), end(1)],
                ]
                .concat(),
                "tool_use",
            ),
            &["42", "2"],
        ),
        runs(
            "empty ids",
            reply(
                &[
                    call("", SIX_BY_SEVEN),
                    vec![begin(1, tool("", json!({}))), args(1, ONE_AND_ONE), end(1)],
                ]
                .concat(),
                "tool_use",
            ),
            &["42", "2"],
        ),
        runs(
            "one index",
            reply(&[call("a", SIX_BY_SEVEN), call("b", ONE_AND_ONE)].concat(), "tool_use"),
            &["42", "2"],
        ),
        runs(
            "one index, without ends",
            reply(
                &[
                    begin(0, tool("a", json!({}))),
                    args(0, SIX_BY_SEVEN),
                    begin(0, tool("b", json!({}))),
                    args(0, ONE_AND_ONE),
                ],
                "tool_use",
            ),
            &["42", "2"],
        ),
        runs("another reason", reply(&call("a", SIX_BY_SEVEN), "end_turn"), &["42"]),
    ];
    check(ANTHROPIC, rows).await;
}
