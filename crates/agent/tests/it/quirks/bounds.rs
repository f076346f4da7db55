//! Bounds of a reply: its size, its parts, and how long keep-alives extend it.

use std::time::Duration;

use serde_json::json;
use thoughtwire_agent::{AgentOptions, Timeouts};

use super::{ANTHROPIC, GEMINI, OLLAMA, OPENAI, RESPONSES, answer, lines, messages, sse, turn};
use crate::canned::CannedReply;
use crate::mock::{MockWire, WIRES};

const KIB: usize = 1 << 10;

fn endless(start: &str, piece: String) -> CannedReply {
    CannedReply::endless(start, piece, Duration::ZERO)
}

async fn too_much(wire: MockWire, name: &str, reply: CannedReply) {
    let (log, asked) = turn(wire, vec![reply; 2], AgentOptions::new).await;
    let (outcome, code, reason) = log.end();
    assert_eq!(
        (outcome.as_str(), code.as_str()),
        ("Failed", "model_too_much"),
        "{wire:?}, {name}: {reason}"
    );
    assert_eq!(asked.len(), 1, "{wire:?}, {name}");
    assert!(messages(&log).0.len() <= 8 << 20, "{wire:?}, {name}");
}

#[tokio::test]
async fn endless_text_is_stopped() {
    let words = "word ".repeat(16 * KIB);
    for (wire, piece) in [
        (OPENAI, sse(&[super::openai::content(&words)])),
        (RESPONSES, sse(&[super::responses::said(&words)])),
        (ANTHROPIC, sse(&[super::anthropic::words(0, &words)])),
        (GEMINI, sse(&[super::gemini::chunk(&[json!({"text": words})], None)])),
        (OLLAMA, lines(&[super::ollama::content(&words)])),
    ] {
        too_much(wire, "text", endless("", piece)).await;
    }
}

#[tokio::test]
async fn endless_items_of_every_kind_are_stopped() {
    let long = "x".repeat(64 * KIB);
    let thought = sse(&[super::openai::delta(json!({"reasoning_content": long}))]);
    too_much(OPENAI, "a thought", endless("", thought)).await;
    let args = sse(&[super::openai::call(
        json!({"index": 0, "id": "c", "function": {"name": "calculator", "arguments": long}}),
    )]);
    too_much(OPENAI, "arguments", endless("", args)).await;
    let tagged = sse(&[super::openai::content("<think>")]);
    too_much(
        OPENAI,
        "a thought between tags",
        endless(&tagged, sse(&[super::openai::content(&long)])),
    )
    .await;
    let many: Vec<_> = (0..500)
        .map(|n| {
            super::openai::call(json!({"index": n,
        "id": format!("c{n}"), "function": {"name": "calculator",
            "arguments": super::SIX_BY_SEVEN}}))
        })
        .collect();
    too_much(OPENAI, "calls", sse(&many).into()).await;
    let calls: Vec<_> = (0..500)
        .map(|_| json!({"function": {"name": "calculator", "arguments": {"expression": "6*7"}}}))
        .collect();
    too_much(OLLAMA, "calls", lines(&[json!({"message": {"tool_calls": calls}})]).into()).await;
    let alternating = sse(&[
        super::openai::content(&long),
        super::openai::delta(json!({"reasoning_content": long})),
    ]);
    too_much(OPENAI, "items", endless("", alternating)).await;
    let waiting = sse(&[
        super::anthropic::begin(0, json!({"type": "text", "text": ""})),
        super::anthropic::begin(1, json!({"type": "text", "text": ""})),
    ]);
    too_much(
        ANTHROPIC,
        "a block that waits",
        endless(&waiting, sse(&[super::anthropic::words(1, &long)])),
    )
    .await;
    let signature =
        sse(&[super::anthropic::delta(0, json!({"type": "signature_delta", "signature": long}))]);
    let begun = sse(&[super::anthropic::begin(0, json!({"type": "thinking", "thinking": ""}))]);
    too_much(ANTHROPIC, "a signature", endless(&begun, signature)).await;
}

#[tokio::test]
async fn endless_lines_events_and_streams_are_stopped() {
    for wire in WIRES {
        too_much(wire, "a line", endless("data: {\"x\": \"", "x".repeat(64 * KIB))).await;
        too_much(wire, "no stream", endless("", "x\n".repeat(32 * KIB))).await;
    }
    too_much(OPENAI, "an event", endless("", "data: x\n".repeat(8 * KIB))).await;
    too_much(OPENAI, "comments", endless("", ": x\n".repeat(256 * KIB))).await;
}

fn impatient(model: String, providers: thoughtwire_agent::Providers) -> AgentOptions {
    let waits = Duration::from_millis(600);
    let timeouts = Timeouts { first: waits, silence: waits, ..Timeouts::default() };
    AgentOptions { timeouts, retries: 1, ..AgentOptions::new(model, providers) }
}

/// Keep-alives on each wire.
fn alive() -> Vec<(MockWire, String)> {
    vec![
        (OPENAI, ": keep-alive\n\n".to_owned()),
        (OPENAI, sse(&[super::openai::content("")])),
        (OPENAI, sse(&[json!({"choices": []})])),
        (OPENAI, "\n".to_owned()),
        (
            RESPONSES,
            sse(&[json!({"type": "response.in_progress", "response": {"status": "in_progress"}})]),
        ),
        (ANTHROPIC, "event: ping\ndata: {\"type\": \"ping\"}\n\n".to_owned()),
        (GEMINI, sse(&[json!({"usageMetadata": {"promptTokenCount": 1}})])),
        (OLLAMA, lines(&[super::ollama::content("")])),
    ]
}

#[tokio::test]
async fn keep_alives_extend_the_time_limits() {
    for (wire, sign) in alive() {
        // Three times as long as the time-out, before the first output.
        let mut pieces = vec![sign.clone().into_bytes(); 180];
        pieces.push(answer(wire).into_bytes());
        let (log, asked) = turn(wire, vec![CannedReply::torn(pieces); 2], impatient).await;
        assert_eq!(messages(&log).0, "Done.", "{wire:?} {sign:?}: {log:?}");
        assert_eq!(asked.len(), 1, "{wire:?} {sign:?}");
    }
}

#[tokio::test]
async fn keep_alives_do_not_extend_a_reply_for_ever() {
    for (wire, sign) in alive() {
        let reply = CannedReply::endless("", sign.clone(), Duration::from_millis(50));
        let (log, asked) = turn(wire, vec![reply; 2], impatient).await;
        let (_, code, reason) = log.end();
        assert_eq!(code, "model_timeout", "{wire:?} {sign:?}: {reason}");
        assert!(reason.contains("only kept the connection alive"), "{reason}");
        assert_eq!(asked.len(), 1, "{wire:?} {sign:?}: the request is not repeated");
    }
}

#[tokio::test]
async fn a_stream_that_stays_open_after_its_end_is_complete() {
    let body = sse(&[super::openai::content("Said."), super::openai::finish("stop")]);
    let (log, asked) = turn(OPENAI, vec![CannedReply::unfinished(body); 2], impatient).await;
    assert_eq!((log.end().0.as_str(), messages(&log)), ("Completed", ("Said.".to_owned(), true)));
    assert_eq!(asked.len(), 1);
}
