//! Chat completions whose messages have other shapes.

use serde_json::{Value, json};

use super::openai::{call, calls, content, delta, finish, function, stream};
use super::{OPENAI, SIX_BY_SEVEN, check, runs, says, sse, thinks};

#[tokio::test]
async fn calls_are_read_in_other_places() {
    let tool = json!({"id": "c1", "type": "function", "function": function(SIX_BY_SEVEN)});
    let whole = |message: Value, reason: &str| {
        json!({"id": "x", "object": "chat.completion", "error": null, "usage": {"prompt_tokens": 1},
               "choices": [{"index": 0, "message": message, "finish_reason": reason}]})
    };
    let message = json!({"role": "assistant", "content": null, "tool_calls": [tool.clone()]});
    let rows = vec![
        runs(
            "the deprecated function_call",
            stream(&[
                delta(json!({"function_call": {"name": "calculator", "arguments": ""}})),
                delta(json!({"function_call": {"arguments": "{\"expression\":"}})),
                delta(json!({"function_call": {"arguments": " \"6*7\"}"}})),
                finish("function_call"),
            ]),
            &["42"],
        ),
        runs(
            "a message in a stream",
            stream(&[json!({"choices": [{"index": 0, "message": message,
                    "finish_reason": "tool_calls"}]})]),
            &["42"],
        ),
        runs(
            "a body that is not streamed",
            whole(message.clone(), "tool_calls").to_string(),
            &["42"],
        ),
        runs("a pretty-printed body", format!("{:#}", whole(message, "tool_calls")), &["42"]),
        runs(
            "with the finish reason",
            stream(&[json!({"choices": [{"index": 0, "delta": {"tool_calls": [tool.clone()]},
                    "finish_reason": "tool_calls"}]})]),
            &["42"],
        ),
        runs(
            "with the finish reason of an answer",
            stream(&[json!({"choices": [{"index": 0, "delta": {"tool_calls": [tool.clone()]},
                    "finish_reason": "stop"}]})]),
            &["42"],
        ),
        runs(
            "not in a list",
            stream(&[delta(json!({"tool_calls": tool.clone()})), finish("stop")]),
            &["42"],
        ),
        runs(
            "in a second choice",
            stream(&[json!({"choices": [
            {"index": 0, "delta": {"content": ""}, "finish_reason": null},
            {"index": 1, "delta": {"tool_calls": [tool]}, "finish_reason": "tool_calls"}]})]),
            &["42"],
        ),
        runs(
            "beside empty ones",
            calls(&[
                delta(json!({"tool_calls": null})),
                delta(json!({"tool_calls": []})),
                call(json!({})),
                call(Value::Null),
                call(json!({"index": 0, "id": "c1", "function": function(SIX_BY_SEVEN)})),
            ]),
            &["42"],
        ),
        says(
            "an answer that is not streamed",
            whole(json!({"role": "assistant", "content": "Whole."}), "stop").to_string(),
            "Whole.",
        ),
    ];
    check(OPENAI, rows).await;
}

#[tokio::test]
async fn content_and_reasoning_are_read_in_other_shapes() {
    let stop = finish("stop");
    let rows = vec![
        says(
            "a list of parts",
            stream(&[
                delta(json!({"content": [{"type": "text", "text": "One, "}, "two."]})),
                stop.clone(),
            ]),
            "One, two.",
        ),
        says(
            "a part",
            stream(&[delta(json!({"content": {"type": "text", "text": "One."}})), stop.clone()]),
            "One.",
        ),
        says(
            "with the finish reason",
            stream(&[
                json!({"choices": [{"delta": {"content": "One."}, "finish_reason": "stop"}]}),
            ]),
            "One.",
        ),
        says(
            "chunks without choices",
            stream(&[
                json!({"choices": []}),
                json!({"id": "x", "choices": null}),
                content("One."),
                stop.clone(),
                json!({"choices": [], "usage": {"prompt_tokens": 1e300, "completion_tokens": -1}}),
            ]),
            "One.",
        ),
        says(
            "an error that is null",
            stream(&[
                json!({"error": null, "choices": [{"delta": {"content": "One."}, "error": null}]}),
                stop.clone(),
            ]),
            "One.",
        ),
        says("an unknown reason", stream(&[content("One."), finish("something_new")]), "One."),
        says("no last marker", sse(&[content("One."), stop.clone()]), "One."),
        says(
            "no last marker, but a count of tokens",
            sse(&[content("One."), stop.clone(), json!({"choices": [], "usage": {}})]),
            "One.",
        ),
        says("the marker, but no reason", stream(&[content("One.")]), "One."),
        says(
            "more behind the reason",
            stream(&[content("One, "), stop.clone(), content("two.")]),
            "One, two.",
        ),
        thinks(
            "reasoning",
            stream(&[
                delta(json!({"reasoning": "Hm", "content": ""})),
                delta(json!({"reasoning": "."})),
                content("One."),
                stop.clone(),
            ]),
            "Hm.",
            "One.",
        ),
        thinks(
            "under two keys",
            stream(&[
                delta(json!({"reasoning": "Hm.", "reasoning_content": "Hm."})),
                content("One."),
                stop.clone(),
            ]),
            "Hm.",
            "One.",
        ),
        thinks(
            "details",
            stream(&[
                delta(json!({"reasoning_details": [{"type": "reasoning.text", "text": "Hm.",
                        "index": 0}]})),
                content("One."),
                stop.clone(),
            ]),
            "Hm.",
            "One.",
        ),
        thinks(
            "both",
            stream(&[
                delta(json!({"reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.text",
                        "text": "Hm.", "index": 0}]})),
                content("One."),
                stop.clone(),
            ]),
            "Hm.",
            "One.",
        ),
        thinks(
            "a part that thinks",
            stream(&[
                delta(json!({"content": [{"type": "thinking", "thinking": [{"type": "text",
                        "text": "Hm."}]}, {"type": "text", "text": "One."}]})),
                stop.clone(),
            ]),
            "Hm.",
            "One.",
        ),
        thinks(
            "in one chunk",
            stream(&[delta(json!({"reasoning_content": "Hm.", "content": "One."})), stop]),
            "Hm.",
            "One.",
        ),
    ];
    check(OPENAI, rows).await;
}
