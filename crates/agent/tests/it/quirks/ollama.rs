//! Ollama's own chat API.

use serde_json::{Value, json};

use super::{OLLAMA, SIX_BY_SEVEN, check, lines, runs, says, thinks};

pub(super) fn content(text: &str) -> Value {
    json!({"model": "m", "message": {"role": "assistant", "content": text}, "done": false})
}

pub(super) fn done(reason: &str) -> Value {
    json!({"message": {"role": "assistant", "content": ""}, "done": true, "done_reason": reason,
        "prompt_eval_count": 1, "eval_count": 2})
}

fn calls(calls: Value) -> Value {
    json!({"message": {"role": "assistant", "content": "", "tool_calls": calls}, "done": false})
}

fn call(sum: &str) -> Value {
    json!({"function": {"name": "calculator", "arguments": {"expression": sum}}})
}

#[tokio::test]
async fn lines_may_have_all_shapes() {
    let stop = || done("stop");
    let last = json!({"message": {"content": "Said."}, "done": true});
    let rows = vec![
        says("everything in the last line", lines(std::slice::from_ref(&last)), "Said."),
        says("not streamed", format!("{last:#}"), "Said."),
        says("no line end", lines(&[content("Said.")]) + &stop().to_string(), "Said."),
        says(
            "blank lines and CRLF",
            lines(&[content("Said."), stop()]).replace('\n', "\r\n\r\n"),
            "Said.",
        ),
        says("server-sent events", super::sse(&[content("Said."), stop()]), "Said."),
        says("an unknown reason", lines(&[content("Said."), done("something_new")]), "Said."),
        says(
            "an error that is null",
            lines(&[json!({"error": null, "message": {"content": "Said."}}), stop()]),
            "Said.",
        ),
        says(
            "absurd counts",
            lines(&[
                content("Said."),
                json!({"done": true, "eval_count": 1e300, "prompt_eval_count": -1}),
            ]),
            "Said.",
        ),
        thinks(
            "thinking",
            lines(&[json!({"message": {"thinking": "Hm.", "content": "Said."}}), stop()]),
            "Hm.",
            "Said.",
        ),
        runs(
            "two calls in a line",
            lines(&[calls(json!([call("6*7"), call("1+1")])), stop()]),
            &["42", "2"],
        ),
        runs(
            "two calls in two lines",
            lines(&[calls(json!([call("6*7")])), calls(json!([call("1+1")])), stop()]),
            &["42", "2"],
        ),
        runs(
            "with equal ids",
            lines(&[
                calls(json!([{"id": "a", "function": call("6*7")["function"]}, {"id": "a",
                        "function": call("1+1")["function"]}])),
                stop(),
            ]),
            &["42", "2"],
        ),
        runs(
            "with a huge index",
            lines(&[
                calls(json!([{"function": {"index": 100_000_000, "name": "calculator",
                        "arguments": {"expression": "6*7"}}}])),
                stop(),
            ]),
            &["42"],
        ),
        runs(
            "arguments as a string",
            lines(&[
                calls(json!([{"function": {"name": "calculator", "arguments": SIX_BY_SEVEN}}])),
                stop(),
            ]),
            &["42"],
        ),
        runs(
            "in the last line",
            lines(&[json!({"message": {"content": "", "tool_calls": [call("6*7")]}, "done": true,
                    "done_reason": "stop"})]),
            &["42"],
        ),
    ];
    check(OLLAMA, rows).await;
}
