//! Endless replies and stopped replies, in whole turns over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use thoughtwire_agent::AgentOptions;
use thoughtwire_proto::{Event, Style, TurnEvent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::canned::{CannedProvider, CannedReply};
use crate::harness::AgentHarness;
use crate::mock::providers;

/// A provider that sends `piece` until the client closes. Returns its host and the bytes it sent.
async fn endless(first: &str, piece: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{first}"
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 65_536];
            // The beginning of the request is enough.
            assert!(stream.read(&mut buffer).await.unwrap() > 0);
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(piece.as_bytes()).await.is_ok() {
                count.fetch_add(piece.len(), Ordering::SeqCst);
            }
        }
    });
    (host, sent)
}

#[tokio::test]
async fn a_turn_with_an_endless_reply_fails() {
    let long = "x".repeat(64_000);
    let rows = [
        ("openai/m", "a line", "data: ", long.clone(), 16 << 20),
        ("ollama/m", "a line", "", long.clone(), 16 << 20),
        ("gemini/m", "an event", "", format!("data: {long}\n"), 16 << 20),
        ("anthropic/m", "keep-alives", "", format!(": {long}\n\n"), 64 << 20),
        (
            "openai-responses/m",
            "pings",
            "",
            format!("data: {{\"type\":\"ping\",\"x\":\"{long}\"}}\n\n"),
            64 << 20,
        ),
        (
            "openai/m",
            "text",
            "",
            format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{long}\"}}}}]}}\n\n"),
            16 << 20,
        ),
        ("ollama/m", "no stream", "", format!("{long}\n"), 16 << 20),
    ];
    for (model, what, first, piece, most) in rows {
        let (host, sent) = endless(first, piece).await;
        let harness = AgentHarness::new(AgentOptions::new(model, providers(&host))).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let (outcome, code, reason) = harness.run_turn(&session, "hello").await.end();
        assert_eq!(
            (outcome.as_str(), code.as_str()),
            ("Failed", "model_too_much"),
            "{what}: {reason}"
        );
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent <= most, "{model}, {what}: {sent} bytes were read");
    }
}

/// Some text and half a call, followed by this stop reason.
fn half(model: &str, word: &str) -> String {
    let sse = |values: &[String]| -> String {
        values.iter().map(|value| format!("data: {value}\n\n")).collect()
    };
    match model {
        "openai/m" => {
            let call = json!({
                "index": 0, "id": "a",
                "function": {"name": "calculator", "arguments": r#"{"expression": "6*"#},
            });
            sse(&[
                r#"{"choices":[{"delta":{"content":"It is"}}]}"#.to_owned(),
                json!({"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": word}]})
                    .to_string(),
            ])
        }
        "openai-responses/m" => {
            let item = json!({
                "type": "function_call", "id": "f", "call_id": "c", "name": "calculator",
                "arguments": "",
            });
            let args = r#"{"expression": "6*"#;
            sse(&[
                json!({"type": "response.output_text.delta", "delta": "It is"}).to_string(),
                json!({"type": "response.output_item.added", "output_index": 1, "item": item})
                    .to_string(),
                json!({
                    "type": "response.function_call_arguments.delta", "output_index": 1,
                    "delta": args,
                })
                .to_string(),
                json!({
                    "type": "response.incomplete",
                    "response": {"incomplete_details": {"reason": word}},
                })
                .to_string(),
            ])
        }
        "anthropic/m" => {
            let call = json!({"type": "tool_use", "id": "a", "name": "calculator", "input": {}});
            let args = json!({"type": "input_json_delta", "partial_json": r#"{"expression": "6*"#});
            let text = json!({"type": "text_delta", "text": "It is"});
            sse(&[
                json!({"type": "content_block_delta", "index": 0, "delta": text}).to_string(),
                json!({"type": "content_block_stop", "index": 0}).to_string(),
                json!({"type": "content_block_start", "index": 1, "content_block": call})
                    .to_string(),
                json!({"type": "content_block_delta", "index": 1, "delta": args}).to_string(),
                json!({"type": "message_delta", "delta": {"stop_reason": word}}).to_string(),
            ])
        }
        "gemini/m" => {
            let call = json!({"functionCall": {"name": "calculator", "args": {}}});
            sse(&[
                r#"{"candidates":[{"content":{"parts":[{"text":"It is"}]}}]}"#.to_owned(),
                json!({"candidates": [{"content": {"parts": [call]}, "finishReason": word}]})
                    .to_string(),
            ])
        }
        _ => {
            let call = json!({"function": {"name": "calculator", "arguments": {}}});
            [
                r#"{"message":{"content":"It is"}}"#.to_owned(),
                json!({"message": {"tool_calls": [call]}, "done": true, "done_reason": word})
                    .to_string(),
            ]
            .join("\n")
        }
    }
}

#[tokio::test]
async fn a_stopped_reply_runs_no_call_and_fails_with_its_code() {
    for model in ["openai/m", "openai-responses/m", "anthropic/m", "gemini/m", "ollama/m"] {
        for (word, code) in [
            ("max_tokens", "model_length"),
            ("content_filter", "model_filtered"),
            ("refusal", "model_refused"),
            ("malformed_function_call", "model_malformed_call"),
        ] {
            let canned = CannedProvider::play([CannedReply::new(half(model, word))]).await;
            let harness =
                AgentHarness::new(AgentOptions::new(model, providers(&canned.host))).await;
            let (_, session) = harness.agent("tess", Style::Native).await;
            let log = harness.run_turn(&session, "six by seven?").await;
            let (outcome, given, reason) = log.end();
            assert_eq!((outcome.as_str(), given.as_str()), ("Failed", code), "{model}: {reason}");
            assert!(log.called().is_empty(), "{model} {word}: {log:?}");
            assert_eq!(log.message(), "It is", "{model} {word}: {log:?}");
            assert_eq!(canned.requests().len(), 1, "{model} {word}: the request was repeated");
        }
        // Text alone: the cut item is marked incomplete.
        let text = match model {
            "ollama/m" => {
                "{\"message\":{\"content\":\"It is\"},\"done\":true,\"done_reason\":\"length\"}"
                    .to_owned()
            }
            _ => text_only(model),
        };
        let canned = CannedProvider::play([CannedReply::new(text)]).await;
        let harness = AgentHarness::new(AgentOptions::new(model, providers(&canned.host))).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "six by seven?").await;
        assert_eq!(log.end().1, "model_length", "{model}: {log:?}");
        let complete = log.records.iter().find_map(|record| {
            if let Event::Turn(TurnEvent::Message { complete, .. }) = &record.event {
                Some(*complete)
            } else {
                None
            }
        });
        assert_eq!(complete, Some(false), "{model}: {log:?}");
    }
}

/// Text that a length limit cut.
fn text_only(model: &str) -> String {
    let values: &[&str] = match model {
        "openai/m" => &[r#"{"choices":[{"delta":{"content":"It is"},"finish_reason":"length"}]}"#],
        "openai-responses/m" => &[
            r#"{"type":"response.output_text.delta","delta":"It is"}"#,
            concat!(
                r#"{"type":"response.incomplete","response":"#,
                r#"{"incomplete_details":{"reason":"max_output_tokens"}}}"#
            ),
        ],
        "anthropic/m" => &[
            concat!(
                r#"{"type":"content_block_delta","index":0,"#,
                r#""delta":{"type":"text_delta","text":"It is"}}"#
            ),
            r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens"}}"#,
        ],
        _ => &[concat!(
            r#"{"candidates":[{"content":{"parts":[{"text":"It is"}]},"#,
            r#""finishReason":"MAX_TOKENS"}]}"#
        )],
    };
    values.iter().map(|value| format!("data: {value}\n\n")).collect()
}
