//! Providers' models against the mock, one suite for all wires.

use std::sync::Arc;

use thoughtwire_agent::AgentOptions;
use thoughtwire_proto::{
    Emission, Event, Policy, SessionCommand, StreamKind, Style, ToolStatus, TurnEvent,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::harness::{AgentHarness, TurnLog};
use crate::mock::{ArgsForm, MockProvider, WIRES, free_port, harness, providers};

#[tokio::test]
async fn text_reasoning_and_usage_are_read() {
    let mock = MockProvider::start().await;
    for wire in WIRES {
        let harness = mock.harness(wire).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "Please tell me about tea").await;
        assert_eq!(
            log.message(),
            "Tea is an infusion of leaves in hot water, and people have drunk it for ages.",
            "{wire:?}: {log:?}"
        );
        assert_eq!(log.thought(), "They ask about tea.", "{wire:?}");
        assert!(log.streamed(StreamKind::Message).len() > 3, "{wire:?}");
        assert_eq!(log.streamed(StreamKind::Message).concat(), log.message());
        if wire.model.starts_with("ollama/") {
            // The mock does not count tokens on this wire.
            assert_eq!(
                log.kinds(),
                ["user_message", "turn_started", "thought", "message", "turn_ended"]
            );
        } else {
            let usage = log.usage().unwrap();
            assert_eq!((usage.input_tokens, usage.output_tokens), (120, 18), "{wire:?}");
            assert_eq!(
                log.kinds(),
                ["user_message", "turn_started", "thought", "usage", "message", "turn_ended"]
            );
        }
    }
}

#[tokio::test]
async fn a_call_with_streamed_arguments_edits_memory_and_the_turn_continues() {
    let mock = MockProvider::start().await;
    for wire in WIRES {
        let harness = mock.harness(wire).await;
        let (agent, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "Hi, my name is Ada").await;
        assert_eq!(log.called(), ["core_memory_append"], "{wire:?}: {log:?}");
        let pieces = log.streamed(StreamKind::ToolArgs);
        match wire.args {
            ArgsForm::InPieces => assert!(pieces.len() > 3, "{wire:?}: {pieces:?}"),
            ArgsForm::Whole => assert_eq!(pieces.len(), 1, "{wire:?}: {pieces:?}"),
        }
        let args: serde_json::Value = serde_json::from_str(&pieces.concat()).unwrap();
        assert_eq!(args["content"], "Her name is Ada, and she drinks her tea without milk.");
        assert!(harness.block(&agent, "human").await.ends_with("without milk."));
        assert_eq!(log.message(), "Pleased to meet you, Ada.", "{wire:?}");
        if let Some(usage) = log.usage() {
            assert_eq!(
                (usage.input_tokens, usage.output_tokens),
                (250, 26),
                "{wire:?}: both calls count"
            );
        }
    }
}

#[tokio::test]
async fn the_next_turn_has_the_calls_of_the_last() {
    let mock = MockProvider::start().await;
    for wire in WIRES {
        let harness = mock.harness(wire).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        harness.run_turn(&session, "two sums").await;
        // A strict endpoint would refuse calls and results that do not match.
        let log = harness.run_turn(&session, "tell me about tea").await;
        assert_eq!(log.end().0, "Completed", "{wire:?}: {log:?}");
    }
}

#[tokio::test]
async fn reasoning_and_two_calls_in_one_reply_are_read() {
    let mock = MockProvider::start().await;
    for wire in WIRES {
        let harness = mock.harness(wire).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "two sums").await;
        assert_eq!(log.thought(), "One after the other.", "{wire:?}: {log:?}");
        let returned = log.returned();
        assert_eq!(returned[0], (ToolStatus::Success, "42"), "{wire:?}");
        assert_eq!(returned[1].0, ToolStatus::Error, "{wire:?}");
        assert_eq!(log.message(), "The first is 42, the second has no result.", "{wire:?}");
    }
}

#[tokio::test]
async fn in_memgpt_style_content_is_a_thought_and_send_message_a_message() {
    let mock = MockProvider::start().await;
    for wire in WIRES {
        let harness = mock.harness(wire).await;
        let (_, session) = harness.agent("tess", Style::Memgpt).await;
        let log = harness.run_turn(&session, "greet me in the old way").await;
        assert_eq!(log.thought(), "A friend; be warm.", "{wire:?}: {log:?}");
        assert_eq!(log.message(), "Good morning, \"dear\" friend!\nHow are you? ☕", "{wire:?}");
        assert_eq!(log.streamed(StreamKind::Message).concat(), log.message());
        let kinds = [
            "user_message",
            "turn_started",
            "thought",
            "tool_called",
            "message",
            "tool_returned",
            "usage",
            "turn_ended",
        ];
        assert!(
            log.kinds()
                .into_iter()
                .eq(kinds.into_iter().filter(|kind| *kind != "usage" || log.usage().is_some())),
            "{wire:?}"
        );
    }
}

#[tokio::test]
async fn a_cut_stream_fails_and_keeps_the_partial_message() {
    let mock = MockProvider::start().await;
    for wire in WIRES {
        let harness = mock.harness(wire).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "tell me a long story").await;
        let (outcome, code, reason) = log.end();
        assert_eq!(
            (outcome.as_str(), code.as_str()),
            ("Failed", "model_cut"),
            "{wire:?}: {reason}"
        );
        let (text, complete) = log.part().expect("the partial message is kept");
        assert!(text.starts_with("Once upon a time") && !complete, "{wire:?}: {text}");
    }
}

#[tokio::test]
async fn rate_limited_requests_are_retried_after_the_requested_delay() {
    for wire in WIRES {
        // One mock for each wire, because it counts requests.
        let mock = MockProvider::start().await;
        let harness = mock.harness(wire).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "too busy once").await;
        assert_eq!(log.message(), "Now there is time for you.", "{wire:?}: {log:?}");
        assert!(
            log.statuses.iter().any(|status| status.contains("retrying in 1.0 s")),
            "{:?}",
            log.statuses
        );
    }
}

#[tokio::test]
async fn errors_say_what_to_do_and_never_the_key() {
    let mock = MockProvider::start().await;
    for wire in WIRES {
        let harness = AgentHarness::new(AgentOptions {
            retries: 1,
            ..AgentOptions::new(wire.model, providers(&mock.host))
        })
        .await;
        harness.agent("tess", Style::Native).await;
        for (input, code, sentence) in [
            ("always too busy", "model_busy", "You exceeded your current quota."),
            ("let me in", "model_refused_key", &format!("Check {}.", wire.key)),
            ("break down", "model_failed", "The server had an error"),
            ("something the mock has never heard", "model_failed", &format!("and {}.", wire.url)),
            ("something the mock has never heard", "model_failed", "404"),
        ] {
            // The mock matches the newest input, and inputs without an answer are sent as one.
            let session = harness.session("tess").await;
            let (outcome, found, reason) = harness.run_turn(&session, input).await.end();
            assert_eq!(
                (outcome.as_str(), found.as_str()),
                ("Failed", code),
                "{wire:?} {input}: {reason}"
            );
            assert!(reason.contains(sentence), "{wire:?} {input}: {reason}");
            if input == "break down" && wire.key != wire.url {
                assert!(reason.contains("with key ***"), "{reason}");
            }
            assert!(!reason.contains("secret") && !reason.contains("sk-s"), "{wire:?}: {reason}");
        }
    }
}

#[tokio::test]
async fn an_unreachable_address_is_reported() {
    for wire in WIRES {
        let host = format!("user:pass@127.0.0.1:{}", free_port());
        let mut options =
            AgentOptions { retries: 1, ..AgentOptions::new(wire.model, providers(&host)) };
        options.providers.openai.api_key = None;
        let harness = AgentHarness::new(options).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "hello").await;
        let (_, code, reason) = log.end();
        assert_eq!(code, "model_unreachable", "{wire:?}: {reason}");
        assert!(reason.contains(wire.url) && !reason.contains("pass"), "{wire:?}: {reason}");
        assert_eq!(log.statuses.len(), 1, "the request was repeated once: {:?}", log.statuses);
    }
}

#[tokio::test]
async fn a_cancelled_turn_drops_its_request_at_once() {
    let mock = MockProvider::start().await;
    for wire in WIRES {
        let gate = ConnectionProxy::open(&mock.host).await;
        let harness = harness(&gate.host, wire).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let speaks = |emission: &Emission| {
            let Emission::Delta(delta) = emission else { return false };
            delta.kind == StreamKind::Message
        };
        let begun = harness
            .collect(
                &session,
                speaks,
                harness.send(&session, "tell me an endless story", Policy::Queue),
            )
            .await;
        assert!(!begun.streamed(StreamKind::Message).is_empty(), "{wire:?}: {begun:?}");
        let cancel = async {
            harness.execute(SessionCommand::Cancel { turn: None }.on(session.clone())).await;
        };
        let log = harness.collect(&session, |_| false, cancel).await;
        assert_eq!(log.end().0, "Cancelled", "{wire:?}");
        // A connection whose reply was read to its end would be kept for the next request.
        gate.left().await;
    }
}

/// A proxy for one connection, which notices when the client closes it.
struct ConnectionProxy {
    host: String,
    left: Arc<Notify>,
}

impl ConnectionProxy {
    async fn open(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let left = Arc::new(Notify::new());
        let (to, notify) = (to.to_owned(), Arc::clone(&left));
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) =
                TcpStream::connect(to).await.unwrap().into_split();
            let requests = async {
                let mut buffer = [0; 8192];
                while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                    to_server.write_all(&buffer[..read]).await.unwrap();
                }
            };
            let replies = tokio::io::copy(&mut from_server, &mut to_client);
            tokio::select! {
                () = requests => notify.notify_one(),
                // The mock closed first, or the client stopped reading: then the client's side
                // decides.
                _ = replies => {}
            }
        });
        Self { host, left }
    }

    async fn left(&self) {
        tokio::time::timeout(crate::harness::PATIENCE, self.left.notified())
            .await
            .expect("the request is dropped");
    }
}

impl TurnLog {
    /// The first message, and whether it is complete.
    pub(crate) fn part(&self) -> Option<(String, bool)> {
        self.records.iter().find_map(|record| {
            if let Event::Turn(TurnEvent::Message { text, complete, .. }) = &record.event {
                Some((text.clone(), *complete))
            } else {
                None
            }
        })
    }
}

#[tokio::test]
async fn an_unavailable_model_is_replaced_by_the_next_one() {
    let mock = MockProvider::start().await;
    let options = AgentOptions {
        retries: 0,
        fallbacks: vec!["nowhere/x".to_owned(), WIRES[2].model.to_owned()],
        ..AgentOptions::new(WIRES[0].model, providers(&mock.host))
    };
    let harness = AgentHarness::new(options).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    // The mock is always busy for this input on one wire, and answers it on another.
    let log = harness.run_turn(&session, "busy for one of you").await;
    assert_eq!(log.message(), "I have time.", "{:?}", log.end());
    assert!(
        log.statuses
            .iter()
            .any(|status| status.contains("Asking anthropic/claude-sonnet-4-5-low instead.")),
        "{:?}",
        log.statuses
    );
}
