//! Google's `streamGenerateContent`.

use serde_json::{Value, json};

use super::{GEMINI, check, runs, says, sse, thinks};

pub(super) fn chunk(parts: &[Value], finish: Option<&str>) -> Value {
    let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
    if let Some(reason) = finish {
        candidate["finishReason"] = json!(reason);
    }
    json!({"candidates": [candidate]})
}

fn text(text: &str) -> Value {
    json!({"text": text})
}

fn thought(text: &str) -> Value {
    json!({"text": text, "thought": true})
}

fn call(sum: &str) -> Value {
    json!({"functionCall": {"name": "calculator", "args": {"expression": sum}}})
}

#[tokio::test]
async fn every_part_of_every_chunk_is_read() {
    let stop = || chunk(&[], Some("STOP"));
    let usage = json!({"usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1e300}});
    let rows = vec![
        says(
            "a reason in every chunk",
            sse(&["One, ", "two, ", "three."].map(|words| chunk(&[text(words)], Some("STOP")))),
            "One, two, three.",
        ),
        says(
            "several texts in a chunk",
            sse(&[chunk(&[text("One, "), text("two.")], Some("STOP"))]),
            "One, two.",
        ),
        thinks(
            "several thoughts in a chunk",
            sse(&[chunk(&[thought("Hm, "), thought("so."), text("Said.")], Some("STOP"))]),
            "Hm, so.",
            "Said.",
        ),
        says(
            "chunks without candidates",
            sse(&[
                usage.clone(),
                json!({"candidates": []}),
                json!({"candidates": null}),
                json!({"promptFeedback": {}}),
                json!({"promptFeedback": {"safetyRatings": []}}),
                chunk(&[text("Said.")], None),
                stop(),
                usage,
            ]),
            "Said.",
        ),
        says(
            "candidates without content",
            sse(&[
                json!({"candidates": [{"index": 0}]}),
                json!({"candidates": [{"content": null}]}),
                json!({"candidates": [{"content": {"role": "model"}}]}),
                chunk(&[text("Said.")], None),
                json!({"candidates": [{"finishReason": "STOP"}]}),
            ]),
            "Said.",
        ),
        says(
            "unknown parts",
            sse(&[chunk(
                &[
                    json!({"executableCode": {"code": "x"}}),
                    json!({"newPart": 1}),
                    json!({}),
                    text("Said."),
                ],
                Some("STOP"),
            )]),
            "Said.",
        ),
        says("an unknown reason", sse(&[chunk(&[text("Said.")], Some("SOMETHING_NEW"))]), "Said."),
        says(
            "an error that is null",
            sse(&[
                json!({"error": null, "candidates": [{"content": {"parts": [{"text": "Said."}]},
                    "finishReason": "STOP"}]}),
            ]),
            "Said.",
        ),
        says(
            "one list of chunks",
            json!([chunk(&[text("One, ")], None), chunk(&[text("two.")], Some("STOP"))])
                .to_string(),
            "One, two.",
        ),
        says("not streamed", chunk(&[text("Said.")], Some("STOP")).to_string(), "Said."),
        says(
            "wrapped",
            sse(&[json!({"response": chunk(&[text("Said.")], Some("STOP"))})]),
            "Said.",
        ),
        says(
            "a marker of another wire",
            sse(&[chunk(&[text("Said.")], None)]) + "data: [DONE]\n\n",
            "Said.",
        ),
        says(
            "a signature alone",
            sse(&[
                chunk(&[text("Said.")], None),
                chunk(&[json!({"text": "", "thoughtSignature": "S"})], Some("STOP")),
            ]),
            "Said.",
        ),
    ];
    check(GEMINI, rows).await;
}

#[tokio::test]
async fn calls_repeated_in_later_chunks_run_once() {
    let with_id = |id: &str, sum: &str| {
        json!({"functionCall": {"id": id, "name": "calculator",
        "args": {"expression": sum}}})
    };
    let rows = vec![
        runs(
            "two in a chunk",
            sse(&[chunk(&[call("6*7"), call("1+1")], Some("STOP"))]),
            &["42", "2"],
        ),
        runs(
            "the same twice in a chunk",
            sse(&[chunk(&[call("6*7"), call("6*7")], Some("STOP"))]),
            &["42", "42"],
        ),
        runs(
            "repeated in the next chunk",
            sse(&[chunk(&[call("6*7")], None), chunk(&[call("6*7")], Some("STOP"))]),
            &["42"],
        ),
        runs(
            "repeated with another",
            sse(&[chunk(&[call("6*7")], None), chunk(&[call("6*7"), call("1+1")], Some("STOP"))]),
            &["42", "2"],
        ),
        runs(
            "with equal ids",
            sse(&[chunk(&[with_id("a", "6*7"), with_id("a", "1+1")], Some("STOP"))]),
            &["42", "2"],
        ),
        runs(
            "with empty ids",
            sse(&[chunk(&[with_id("", "6*7"), with_id("", "1+1")], Some("STOP"))]),
            &["42", "2"],
        ),
        runs(
            "behind the reason",
            sse(&[chunk(&[], Some("STOP")), chunk(&[call("6*7")], Some("STOP"))]),
            &["42"],
        ),
        runs(
            "arguments as a string",
            sse(&[chunk(
                &[json!({"functionCall": {"name": "calculator", "args": super::SIX_BY_SEVEN}})],
                Some("STOP"),
            )]),
            &["42"],
        ),
        runs(
            "another spelling",
            sse(&[json!({"candidates": [{
                "content": {"parts": [{
                    "function_call": {"name": "calculator", "args": {"expression": "6*7"}},
                }]},
                "finish_reason": "STOP",
            }]})]),
            &["42"],
        ),
        runs(
            "empty ones beside",
            sse(&[chunk(
                &[json!({"functionCall": null}), json!({"functionCall": {}}), call("6*7")],
                Some("STOP"),
            )]),
            &["42"],
        ),
    ];
    check(GEMINI, rows).await;
}
