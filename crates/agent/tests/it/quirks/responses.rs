//! `OpenAI`'s Responses API.

use serde_json::{Value, json};

use super::{ONE_AND_ONE, RESPONSES, SIX_BY_SEVEN, check, runs, says, sse, thinks};

pub(super) fn said(text: &str) -> Value {
    json!({"type": "response.output_text.delta", "item_id": "m1", "output_index": 0,
        "content_index": 0, "delta": text})
}

pub(super) fn completed(output: &[Value]) -> Value {
    json!({"type": "response.completed", "response": {"id": "r", "object": "response",
        "status": "completed",
        "output": output, "error": null, "incomplete_details": null, "usage": {"input_tokens": 1,
            "output_tokens": 2}}})
}

fn message(id: &str, text: &str) -> Value {
    json!({"type": "message", "id": id, "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

fn function(call_id: &str, args: &str) -> Value {
    json!({"type": "function_call", "id": format!("fc_{call_id}"), "call_id": call_id,
        "name": "calculator", "arguments": args})
}

fn added(index: usize, item: Value) -> Value {
    json!({"type": "response.output_item.added", "output_index": index, "item": item})
}

fn done(index: usize, item: Value) -> Value {
    json!({"type": "response.output_item.done", "output_index": index, "item": item})
}

fn without(mut event: Value, key: &str) -> Value {
    event.as_object_mut().unwrap().remove(key);
    event
}

#[tokio::test]
async fn text_in_several_events_is_one_message() {
    let whole = message("m1", "Said.");
    let text_done = json!({"type": "response.output_text.done", "item_id": "m1", "output_index": 0,
        "content_index": 0, "text": "Said."});
    let rows = vec![
        says(
            "everywhere",
            sse(&[
                added(0, message("m1", "")),
                said("Sa"),
                said("id."),
                text_done.clone(),
                done(0, whole.clone()),
                completed(std::slice::from_ref(&whole)),
            ]),
            "Said.",
        ),
        says(
            "in the item's end",
            sse(&[done(0, whole.clone()), completed(std::slice::from_ref(&whole))]),
            "Said.",
        ),
        says("in the item's end only", sse(&[done(0, whole.clone()), completed(&[])]), "Said."),
        says("in the text's end", sse(&[text_done, completed(&[])]), "Said."),
        says("in the last event", sse(&[completed(std::slice::from_ref(&whole))]), "Said."),
        says(
            "partly in deltas",
            sse(&[said("Sa"), completed(std::slice::from_ref(&whole))]),
            "Said.",
        ),
        says(
            "other ids in each event",
            sse(&[
                added(0, message("m2", "")),
                said("Said."),
                done(0, message("m3", "Said.")),
                completed(&[message("m4", "Said.")]),
            ]),
            "Said.",
        ),
        says(
            "no index",
            sse(&[
                without(said("Said."), "output_index"),
                without(done(0, whole.clone()), "output_index"),
                completed(std::slice::from_ref(&whole)),
            ]),
            "Said.",
        ),
        says(
            "neither index nor id",
            sse(&[
                json!({"type": "response.output_text.delta", "delta": "Said."}),
                completed(std::slice::from_ref(&whole)),
            ]),
            "Said.",
        ),
        says(
            "two messages",
            sse(&[
                said("One, "),
                done(0, message("m1", "One, ")),
                done(1, message("m2", "two.")),
                completed(&[message("m1", "One, "), message("m2", "two.")]),
            ]),
            "One, two.",
        ),
        says(
            "two messages, the second last",
            sse(&[said("One, "), completed(&[message("m1", "One, "), message("m2", "two.")])]),
            "One, two.",
        ),
        says(
            "content that is a string",
            sse(&[completed(&[json!({"type": "message", "content": "Said."})])]),
            "Said.",
        ),
        says(
            "the whole text only",
            sse(&[json!({"type": "response.completed", "response": {"output_text": "Said."}})]),
            "Said.",
        ),
        says(
            "not streamed",
            completed(std::slice::from_ref(&whole))["response"].to_string(),
            "Said.",
        ),
        says(
            "fields missing in the last event",
            sse(&[said("Said."), json!({"type": "response.completed", "response": {}})]),
            "Said.",
        ),
        says(
            "no response in the last event",
            sse(&[said("Said."), json!({"type": "response.completed"})]),
            "Said.",
        ),
        says(
            "another last event",
            sse(&[
                said("Said."),
                json!({"type": "response.done", "response": {"status": "completed"}}),
            ]),
            "Said.",
        ),
        says("a marker as the end", sse(&[said("Said.")]) + "data: [DONE]\n\n", "Said."),
        says(
            "an end without the last event",
            sse(&[added(0, message("m1", "")), said("Said."), done(0, whole.clone())]),
            "Said.",
        ),
        says(
            "events of unknown types",
            sse(&[
                json!({"type": "response.created", "response": {"status": "in_progress",
                    "error": null, "output": []}}),
                json!({"type": "response.in_progress"}),
                json!({"type": "response.new_thing", "delta": "x"}),
                json!({"type": "keepalive"}),
                said("Said."),
                added(7, json!({"type": "web_search_call", "id": "w"})),
                completed(&[json!({"type": "new_item"}), whole]),
            ]),
            "Said.",
        ),
    ];
    check(RESPONSES, rows).await;
}

#[tokio::test]
async fn calls_in_several_events_run_once() {
    let args = |event: Value, json: &str| {
        let mut event = event;
        event["type"] = json!("response.function_call_arguments.delta");
        event["delta"] = json!(json);
        event
    };
    let whole = function("c1", SIX_BY_SEVEN);
    let begun = function("c1", "");
    let second = function("c2", ONE_AND_ONE);
    let rows = vec![
        runs(
            "everywhere",
            sse(&[
                added(0, begun.clone()),
                args(json!({"output_index": 0, "item_id": "fc_c1"}), SIX_BY_SEVEN),
                done(0, whole.clone()),
                completed(std::slice::from_ref(&whole)),
            ]),
            &["42"],
        ),
        runs(
            "in the item's end",
            sse(&[done(0, whole.clone()), completed(std::slice::from_ref(&whole))]),
            &["42"],
        ),
        runs(
            "in the item's end without an index",
            sse(&[without(done(0, whole.clone()), "output_index"), completed(&[])]),
            &["42"],
        ),
        runs("in the last event", sse(&[completed(std::slice::from_ref(&whole))]), &["42"]),
        runs(
            "in the arguments' end",
            sse(&[
                added(0, begun.clone()),
                json!({"type": "response.function_call_arguments.done", "output_index": 0,
                    "arguments": SIX_BY_SEVEN}),
                completed(&[]),
            ]),
            &["42"],
        ),
        runs(
            "deltas without an index",
            sse(&[
                added(0, begun.clone()),
                args(json!({"item_id": "fc_c1"}), "{\"expression\":"),
                args(json!({}), " \"6*7\"}"),
                completed(&[]),
            ]),
            &["42"],
        ),
        runs(
            "no index at all",
            sse(&[
                without(added(0, begun.clone()), "output_index"),
                args(json!({"item_id": "fc_c1"}), SIX_BY_SEVEN),
                without(done(0, whole.clone()), "output_index"),
                completed(std::slice::from_ref(&whole)),
            ]),
            &["42"],
        ),
        runs(
            "huge index",
            sse(&[
                json!({"type": "response.output_item.done", "output_index": 1e300, "item": whole}),
                completed(&[]),
            ]),
            &["42"],
        ),
        runs(
            "two",
            sse(&[
                done(0, whole.clone()),
                done(1, second.clone()),
                completed(&[whole.clone(), second.clone()]),
            ]),
            &["42", "2"],
        ),
        runs(
            "two without an index",
            sse(&[
                without(done(0, whole.clone()), "output_index"),
                without(done(1, second.clone()), "output_index"),
                completed(&[]),
            ]),
            &["42", "2"],
        ),
        runs(
            "two with one id",
            sse(&[
                done(0, whole.clone()),
                done(1, function("c1", ONE_AND_ONE)),
                completed(&[whole.clone(), function("c1", ONE_AND_ONE)]),
            ]),
            &["42", "2"],
        ),
        runs(
            "two with one id in the last event",
            sse(&[completed(&[whole.clone(), function("c1", ONE_AND_ONE)])]),
            &["42", "2"],
        ),
        runs(
            "two without an id",
            sse(&[
                done(0, without(whole.clone(), "call_id")),
                done(1, without(second, "call_id")),
                completed(&[]),
            ]),
            &["42", "2"],
        ),
        runs(
            "without ids, everywhere",
            sse(&[
                done(0, without(without(whole.clone(), "call_id"), "id")),
                completed(&[without(without(whole.clone(), "call_id"), "id")]),
            ]),
            &["42"],
        ),
        runs(
            "an object as arguments",
            sse(&[
                done(
                    0,
                    json!({"type": "function_call", "call_id": "c1", "name": "calculator",
                        "arguments": {"expression": "6*7"}}),
                ),
                completed(&[]),
            ]),
            &["42"],
        ),
        runs("not streamed", completed(&[whole])["response"].to_string(), &["42"]),
    ];
    check(RESPONSES, rows).await;
}

#[tokio::test]
async fn reasoning_in_several_events_is_one_thought() {
    let delta = |index: usize, text: &str| {
        json!({"type": "response.reasoning_summary_text.delta",
        "output_index": 0, "summary_index": index, "delta": text})
    };
    let reasoning = |text: &str| {
        json!({"type": "reasoning", "id": "rs",
        "summary": [{"type": "summary_text", "text": text}]})
    };
    let said_1 = json!({"type": "response.output_text.delta", "output_index": 1, "delta": "Said."});
    let rows = vec![
        thinks(
            "everywhere",
            sse(&[
                delta(0, "Hm."),
                done(0, reasoning("Hm.")),
                said_1.clone(),
                completed(&[reasoning("Hm."), message("m", "Said.")]),
            ]),
            "Hm.",
            "Said.",
        ),
        thinks(
            "in the item's end",
            sse(&[done(0, reasoning("Hm.")), said_1.clone(), completed(&[])]),
            "Hm.",
            "Said.",
        ),
        thinks(
            "in the last event",
            sse(&[completed(&[reasoning("Hm."), message("m", "Said.")])]),
            "Hm.",
            "Said.",
        ),
        thinks(
            "two parts",
            sse(&[delta(0, "Hm."), delta(1, "So."), said_1.clone(), completed(&[])]),
            "Hm.So.",
            "Said.",
        ),
        thinks(
            "its own words",
            sse(&[
                json!({"type": "response.reasoning_text.delta", "output_index": 0, "delta": "Hm."}),
                said_1,
                completed(&[]),
            ]),
            "Hm.",
            "Said.",
        ),
    ];
    check(RESPONSES, rows).await;
}
