//! Replies without an end, and replies that were cut, in whole turns over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thoughtwire_agent::AgentOptions;
use thoughtwire_proto::{Event, Style, TurnEvent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::canned::{Canned, Reply};
use crate::home::Home;
use crate::mock::providers;

/// A provider that sends `piece` until the client hangs up; gives its host and the bytes it sent.
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
async fn a_turn_fails_when_a_reply_does_not_end() {
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
        let home = Home::new(AgentOptions::new(model, providers(&host))).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let (outcome, code, reason) = home.say(&session, "hello").await.end();
        assert_eq!(
            (outcome.as_str(), code.as_str()),
            ("Failed", "model_too_much"),
            "{what}: {reason}"
        );
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent <= most, "{model}, {what}: {sent} bytes were taken");
    }
}

/// Words and half a call, and then the end with this reason.
fn half(model: &str, word: &str) -> String {
    let sse = |values: &[String]| -> String {
        values.iter().map(|value| format!("data: {value}\n\n")).collect()
    };
    let args = r#"{\"expression\": \"6*"#;
    match model {
        "openai/m" => sse(&[
            r#"{"choices":[{"delta":{"content":"It is"}}]}"#.to_owned(),
            format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":0,"id":"a","function":{{"name":"calculator","arguments":"{args}"}}}}]}},"finish_reason":"{word}"}}]}}"#),
        ]),
        "openai-responses/m" => sse(&[
            r#"{"type":"response.output_text.delta","delta":"It is"}"#.to_owned(),
            r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"f","call_id":"c","name":"calculator","arguments":""}}"#.to_owned(),
            format!(r#"{{"type":"response.function_call_arguments.delta","output_index":1,"delta":"{args}"}}"#),
            format!(r#"{{"type":"response.incomplete","response":{{"incomplete_details":{{"reason":"{word}"}}}}}}"#),
        ]),
        "anthropic/m" => sse(&[
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"It is"}}"#.to_owned(),
            r#"{"type":"content_block_stop","index":0}"#.to_owned(),
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"a","name":"calculator","input":{}}}"#.to_owned(),
            format!(r#"{{"type":"content_block_delta","index":1,"delta":{{"type":"input_json_delta","partial_json":"{args}"}}}}"#),
            format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{word}"}}}}"#),
        ]),
        "gemini/m" => sse(&[
            r#"{"candidates":[{"content":{"parts":[{"text":"It is"}]}}]}"#.to_owned(),
            format!(r#"{{"candidates":[{{"content":{{"parts":[{{"functionCall":{{"name":"calculator","args":{{}}}}}}]}},"finishReason":"{word}"}}]}}"#),
        ]),
        _ => [
            r#"{"message":{"content":"It is"}}"#.to_owned(),
            format!(r#"{{"message":{{"tool_calls":[{{"function":{{"name":"calculator","arguments":{{}}}}}}]}},"done":true,"done_reason":"{word}"}}"#),
        ]
        .join("\n"),
    }
}

#[tokio::test]
async fn a_stopped_reply_runs_no_call_and_its_turn_says_why() {
    for model in ["openai/m", "openai-responses/m", "anthropic/m", "gemini/m", "ollama/m"] {
        for (word, code) in [
            ("max_tokens", "model_length"),
            ("content_filter", "model_filtered"),
            ("refusal", "model_refused"),
            ("malformed_function_call", "model_malformed_call"),
        ] {
            let canned = Canned::play([Reply::new(half(model, word))]).await;
            let home = Home::new(AgentOptions::new(model, providers(&canned.host))).await;
            let (_, session) = home.agent("tess", Style::Native).await;
            let told = home.say(&session, "six by seven?").await;
            let (outcome, given, reason) = told.end();
            assert_eq!((outcome.as_str(), given.as_str()), ("Failed", code), "{model}: {reason}");
            assert!(told.called().is_empty(), "{model} {word}: {told:?}");
            assert_eq!(told.message(), "It is", "{model} {word}: {told:?}");
            assert_eq!(canned.asked().len(), 1, "{model} {word}: it was asked again");
        }
        // Words alone: what was cut is marked.
        let text = match model {
            "ollama/m" => {
                "{\"message\":{\"content\":\"It is\"},\"done\":true,\"done_reason\":\"length\"}"
                    .to_owned()
            }
            _ => text_only(model),
        };
        let canned = Canned::play([Reply::new(text)]).await;
        let home = Home::new(AgentOptions::new(model, providers(&canned.host))).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "six by seven?").await;
        assert_eq!(told.end().1, "model_length", "{model}: {told:?}");
        let complete = told.records.iter().find_map(|record| {
            if let Event::Turn(TurnEvent::Message { complete, .. }) = &record.event {
                Some(*complete)
            } else {
                None
            }
        });
        assert_eq!(complete, Some(false), "{model}: {told:?}");
    }
}

/// Words that a limit of length cut.
fn text_only(model: &str) -> String {
    let values: &[&str] = match model {
        "openai/m" => &[r#"{"choices":[{"delta":{"content":"It is"},"finish_reason":"length"}]}"#],
        "openai-responses/m" => &[
            r#"{"type":"response.output_text.delta","delta":"It is"}"#,
            r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"}}}"#,
        ],
        "anthropic/m" => &[
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"It is"}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens"}}"#,
        ],
        _ => &[
            r#"{"candidates":[{"content":{"parts":[{"text":"It is"}]},"finishReason":"MAX_TOKENS"}]}"#,
        ],
    };
    values.iter().map(|value| format!("data: {value}\n\n")).collect()
}
