//! Stop reasons of models.

use serde_json::{Value, json};
use thoughtwire_agent::AgentOptions;
use thoughtwire_proto::{Event, TurnEvent};

use super::{ANTHROPIC, GEMINI, MockWire, OLLAMA, OPENAI, RESPONSES, lines, messages, sse, turn};

/// A reply with some values and a stop reason.
fn stopped(wire: MockWire, values: &[Value], reason: &str) -> String {
    let name = wire.model.split('/').next().unwrap();
    match name {
        "openai" => super::openai::stream(&[values, &[super::openai::finish(reason)]].concat()),
        "openai-responses" => sse(&[
            values,
            &[json!({"type": "response.incomplete", "response":
            {"status": "incomplete", "incomplete_details": {"reason": reason}, "output": []}})],
        ]
        .concat()),
        "anthropic" => super::anthropic::reply(values, reason),
        "gemini" => sse(&[values, &[super::gemini::chunk(&[], Some(reason))]].concat()),
        _ => lines(&[values, &[super::ollama::done(reason)]].concat()),
    }
}

fn half(wire: MockWire) -> Vec<Value> {
    match wire.model.split('/').next().unwrap() {
        "openai" => vec![super::openai::content("Half a")],
        "openai-responses" => vec![super::responses::said("Half a")],
        "anthropic" => super::anthropic::text(0, "Half a"),
        "gemini" => vec![super::gemini::chunk(&[json!({"text": "Half a"})], None)],
        _ => vec![super::ollama::content("Half a")],
    }
}

const REASONS: [(MockWire, &str, &str); 26] = [
    (OPENAI, "length", "model_length"),
    (OPENAI, "max_tokens", "model_length"),
    (OPENAI, "MAX_TOKENS", "model_length"),
    (OPENAI, "model_length", "model_length"),
    (OPENAI, "content_filter", "model_filtered"),
    (OPENAI, "SAFETY", "model_filtered"),
    (OPENAI, "refusal", "model_refused"),
    (OPENAI, "MALFORMED_FUNCTION_CALL", "model_malformed_call"),
    (OPENAI, "error", "model_failed"),
    (OPENAI, "abort", "model_cut"),
    (RESPONSES, "max_output_tokens", "model_length"),
    (RESPONSES, "content_filter", "model_filtered"),
    (RESPONSES, "something_new", "model_cut"),
    (ANTHROPIC, "max_tokens", "model_length"),
    (ANTHROPIC, "model_context_window_exceeded", "model_length"),
    (ANTHROPIC, "refusal", "model_refused"),
    (GEMINI, "MAX_TOKENS", "model_length"),
    (GEMINI, "SAFETY", "model_filtered"),
    (GEMINI, "RECITATION", "model_filtered"),
    (GEMINI, "PROHIBITED_CONTENT", "model_filtered"),
    (GEMINI, "BLOCKLIST", "model_filtered"),
    (GEMINI, "SPII", "model_filtered"),
    (GEMINI, "MALFORMED_FUNCTION_CALL", "model_malformed_call"),
    (GEMINI, "UNEXPECTED_TOOL_CALL", "model_malformed_call"),
    (OLLAMA, "length", "model_length"),
    (OLLAMA, "error", "model_failed"),
];

#[tokio::test]
async fn a_stopped_reply_fails_with_the_code_of_its_reason() {
    for (wire, reason, code) in REASONS {
        let reply = stopped(wire, &half(wire), reason);
        let (log, asked) = turn(wire, vec![reply.into(); 2], AgentOptions::new).await;
        let (outcome, found, words) = log.end();
        assert_eq!(
            (outcome.as_str(), found.as_str()),
            ("Failed", code),
            "{wire:?} {reason}: {log:?}"
        );
        assert!(!words.is_empty());
        // The text of a refusal is complete.
        let is_whole = code == "model_refused";
        assert_eq!(messages(&log), ("Half a".to_owned(), is_whole), "{wire:?} {reason}: {log:?}");
        assert_eq!(asked.len(), 1, "{wire:?} {reason}");
    }
}

#[tokio::test]
async fn an_incomplete_call_does_not_run() {
    let half = r#"{"expression": "6*7"#;
    for args in [half, super::SIX_BY_SEVEN] {
        let function = json!({"name": "calculator", "arguments": args});
        let openai = super::openai::call(json!({"index": 0, "id": "c1", "function": function}));
        let item = json!({"type": "function_call", "id": "fc", "call_id": "c1",
            "name": "calculator", "arguments": args});
        let responses =
            json!({"type": "response.output_item.done", "output_index": 0, "item": item});
        let anthropic = vec![
            super::anthropic::begin(
                0,
                json!({"type": "tool_use", "id": "t", "name": "calculator", "input": {}}),
            ),
            super::anthropic::delta(0, json!({"type": "input_json_delta", "partial_json": args})),
            super::anthropic::end(0),
        ];
        for (wire, values, reason) in [
            (OPENAI, vec![openai], "length"),
            (RESPONSES, vec![responses], "max_output_tokens"),
            (ANTHROPIC, anthropic, "max_tokens"),
        ] {
            let reply = stopped(wire, &values, reason);
            let (log, asked) = turn(wire, vec![reply.into(); 2], AgentOptions::new).await;
            assert_eq!(log.end().1, "model_length", "{wire:?}: {log:?}");
            let ran = log
                .records
                .iter()
                .any(|record| matches!(record.event, Event::Turn(TurnEvent::ToolCalled { .. })));
            assert!(!ran && asked.len() == 1, "{wire:?}: {log:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_shows_its_text() {
    let words = "I will not.";
    let part = json!({"type": "refusal", "refusal": words});
    let item = json!({"type": "message", "id": "m1", "content": [part]});
    let openai = |message: Value| {
        super::openai::stream(&[super::openai::delta(message), super::openai::finish("stop")])
    };
    let in_list = json!({"type": "response.output_item.done", "output_index": 0, "item": item});
    let delta = json!({"type": "response.refusal.delta", "item_id": "m1", "output_index": 0,
        "content_index": 0, "delta": words});
    let done = json!({"type": "response.refusal.done", "item_id": "m1", "output_index": 0,
        "content_index": 0, "refusal": words});
    let end = super::responses::completed(std::slice::from_ref(&item));
    for (wire, reply) in [
        (OPENAI, openai(json!({"content": null, "refusal": words}))),
        (OPENAI, openai(json!({"content": [part]}))),
        (
            OPENAI,
            super::openai::stream(&[
                super::openai::delta(json!({"refusal": "I will"})),
                super::openai::delta(json!({"refusal": " not."})),
                super::openai::finish("content_filter"),
            ]),
        ),
        (
            OPENAI,
            json!({"object": "chat.completion", "choices": [{"message": {"content": null,
            "refusal": words}, "finish_reason": "stop"}]})
            .to_string(),
        ),
        (RESPONSES, sse(&[delta.clone(), done.clone(), in_list.clone(), end.clone()])),
        (RESPONSES, sse(&[done, end.clone()])),
        (RESPONSES, sse(&[in_list, end.clone()])),
        (RESPONSES, sse(&[end])),
        (ANTHROPIC, super::anthropic::reply(&super::anthropic::text(0, words), "refusal")),
    ] {
        let (log, _) = turn(wire, vec![reply.clone().into()], AgentOptions::new).await;
        assert_eq!(log.end().1, "model_refused", "{reply}: {log:?}");
        assert_eq!(messages(&log), (words.to_owned(), true), "{reply}: {log:?}");
    }
}

#[tokio::test]
async fn a_stop_before_any_output_reports_its_usage() {
    let reply = super::openai::stream(&[
        super::openai::finish("length"),
        json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}),
    ]);
    let (log, _) = turn(OPENAI, vec![reply.into(); 2], AgentOptions::new).await;
    assert_eq!(log.end().1, "model_length");
    let usage = log.usage().expect("the cost is reported");
    assert_eq!((usage.input_tokens, usage.output_tokens), (7, 5));
    assert_eq!(messages(&log).0, "");
    let blocked = sse(&[json!({"promptFeedback": {"blockReason": "SAFETY"}})]);
    let (log, _) = turn(GEMINI, vec![blocked.into(); 2], AgentOptions::new).await;
    assert_eq!(log.end().1, "model_filtered");
}
