//! Providers' models against the mock, one suite for all wires.

use std::sync::Arc;

use thoughtwire_agent::AgentOptions;
use thoughtwire_proto::{
    Emission, Event, Policy, SessionCommand, StreamKind, Style, ToolStatus, TurnEvent,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::home::{Home, Told};
use crate::mock::{Args, Mock, WIRES, free_port, home, providers};

#[tokio::test]
async fn words_reasoning_and_usage() {
    let mock = Mock::start().await;
    for wire in WIRES {
        let home = mock.home(wire).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "Please tell me about tea").await;
        assert_eq!(
            told.message(),
            "Tea is an infusion of leaves in hot water, and people have drunk it for ages.",
            "{wire:?}: {told:?}"
        );
        assert_eq!(told.thought(), "They ask about tea.", "{wire:?}");
        assert!(told.streamed(StreamKind::Message).len() > 3, "{wire:?}");
        assert_eq!(told.streamed(StreamKind::Message).concat(), told.message());
        if wire.model.starts_with("ollama/") {
            // The mock does not count here.
            assert_eq!(
                told.kinds(),
                ["user_message", "turn_started", "thought", "message", "turn_ended"]
            );
        } else {
            let usage = told.usage().unwrap();
            assert_eq!((usage.input_tokens, usage.output_tokens), (120, 18), "{wire:?}");
            assert_eq!(
                told.kinds(),
                ["user_message", "turn_started", "thought", "usage", "message", "turn_ended"]
            );
        }
    }
}

#[tokio::test]
async fn a_call_with_arguments_in_pieces_edits_the_memory_and_goes_on() {
    let mock = Mock::start().await;
    for wire in WIRES {
        let home = mock.home(wire).await;
        let (agent, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "Hi, my name is Ada").await;
        assert_eq!(told.called(), ["core_memory_append"], "{wire:?}: {told:?}");
        let pieces = told.streamed(StreamKind::ToolArgs);
        match wire.args {
            Args::InPieces => assert!(pieces.len() > 3, "{wire:?}: {pieces:?}"),
            Args::Whole => assert_eq!(pieces.len(), 1, "{wire:?}: {pieces:?}"),
        }
        let args: serde_json::Value = serde_json::from_str(&pieces.concat()).unwrap();
        assert_eq!(args["content"], "Her name is Ada, and she drinks her tea without milk.");
        assert!(home.block(&agent, "human").await.ends_with("without milk."));
        assert_eq!(told.message(), "Pleased to meet you, Ada.", "{wire:?}");
        if let Some(usage) = told.usage() {
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
    let mock = Mock::start().await;
    for wire in WIRES {
        let home = mock.home(wire).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        home.say(&session, "two sums").await;
        // A strict endpoint would refuse calls and results that do not match.
        let told = home.say(&session, "tell me about tea").await;
        assert_eq!(told.end().0, "Completed", "{wire:?}: {told:?}");
    }
}

#[tokio::test]
async fn reasoning_two_calls_in_one_reply_and_an_answer() {
    let mock = Mock::start().await;
    for wire in WIRES {
        let home = mock.home(wire).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "two sums").await;
        assert_eq!(told.thought(), "One after the other.", "{wire:?}: {told:?}");
        let returned = told.returned();
        assert_eq!(returned[0], (ToolStatus::Success, "42"), "{wire:?}");
        assert_eq!(returned[1].0, ToolStatus::Error, "{wire:?}");
        assert_eq!(told.message(), "The first is 42, the second has no result.", "{wire:?}");
    }
}

#[tokio::test]
async fn in_memgpt_style_content_is_thought_and_send_message_speaks() {
    let mock = Mock::start().await;
    for wire in WIRES {
        let home = mock.home(wire).await;
        let (_, session) = home.agent("tess", Style::Memgpt).await;
        let told = home.say(&session, "greet me in the old way").await;
        assert_eq!(told.thought(), "A friend; be warm.", "{wire:?}: {told:?}");
        assert_eq!(told.message(), "Good morning, \"dear\" friend!\nHow are you? ☕", "{wire:?}");
        assert_eq!(told.streamed(StreamKind::Message).concat(), told.message());
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
            told.kinds()
                .into_iter()
                .eq(kinds.into_iter().filter(|kind| *kind != "usage" || told.usage().is_some())),
            "{wire:?}"
        );
    }
}

#[tokio::test]
async fn a_cut_stream_fails_and_keeps_what_came() {
    let mock = Mock::start().await;
    for wire in WIRES {
        let home = mock.home(wire).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "tell me a long story").await;
        let (outcome, code, reason) = told.end();
        assert_eq!(
            (outcome.as_str(), code.as_str()),
            ("Failed", "model_cut"),
            "{wire:?}: {reason}"
        );
        let (text, complete) = told.part().expect("the part is kept");
        assert!(text.starts_with("Once upon a time") && !complete, "{wire:?}: {text}");
    }
}

#[tokio::test]
async fn too_many_requests_are_repeated_after_the_time_asked_for() {
    for wire in WIRES {
        // One for each: it counts the requests.
        let mock = Mock::start().await;
        let home = mock.home(wire).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "too busy once").await;
        assert_eq!(told.message(), "Now there is time for you.", "{wire:?}: {told:?}");
        assert!(
            told.statuses.iter().any(|status| status.contains("asking again in 1.0 s")),
            "{:?}",
            told.statuses
        );
    }
}

#[tokio::test]
async fn errors_say_what_to_do_and_never_the_key() {
    let mock = Mock::start().await;
    for wire in WIRES {
        let home = Home::new(AgentOptions {
            retries: 1,
            ..AgentOptions::new(wire.model, providers(&mock.host))
        })
        .await;
        home.agent("tess", Style::Native).await;
        for (input, code, sentence) in [
            ("always too busy", "model_busy", "You exceeded your current quota."),
            ("let me in", "model_refused_key", &format!("Check {}.", wire.key)),
            ("break down", "model_failed", "The server had an error"),
            ("something the mock has never heard", "model_failed", &format!("and {}.", wire.url)),
            ("something the mock has never heard", "model_failed", "404"),
        ] {
            // The mock goes by the newest input, and inputs without an answer are sent as one.
            let session = home.session("tess").await;
            let (outcome, found, reason) = home.say(&session, input).await.end();
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
async fn nobody_at_the_address() {
    for wire in WIRES {
        let host = format!("user:pass@127.0.0.1:{}", free_port());
        let mut options =
            AgentOptions { retries: 1, ..AgentOptions::new(wire.model, providers(&host)) };
        options.providers.openai.api_key = None;
        let home = Home::new(options).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "hello").await;
        let (_, code, reason) = told.end();
        assert_eq!(code, "model_unreachable", "{wire:?}: {reason}");
        assert!(reason.contains(wire.url) && !reason.contains("pass"), "{wire:?}: {reason}");
        assert_eq!(told.statuses.len(), 1, "it was asked once more: {:?}", told.statuses);
    }
}

#[tokio::test]
async fn a_cancelled_turn_drops_its_request_at_once() {
    let mock = Mock::start().await;
    for wire in WIRES {
        let gate = Gate::open(&mock.host).await;
        let home = home(&gate.host, wire).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let speaks = |emission: &Emission| matches!(emission, Emission::Delta(delta) if delta.kind == StreamKind::Message);
        let begun = home
            .listen(
                &session,
                speaks,
                home.send(&session, "tell me an endless story", Policy::Queue),
            )
            .await;
        assert!(!begun.streamed(StreamKind::Message).is_empty(), "{wire:?}: {begun:?}");
        let cancel = async {
            home.execute(SessionCommand::Cancel { turn: None }.on(session.clone())).await;
        };
        let told = home.listen(&session, |_| false, cancel).await;
        assert_eq!(told.end().0, "Cancelled", "{wire:?}");
        // A connection whose reply was read to its end would be kept for the next request.
        gate.left().await;
    }
}

/// Passes one connection on, and sees who closes it.
struct Gate {
    host: String,
    left: Arc<Notify>,
}

impl Gate {
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
                // The mock closed first, or the client stopped reading: then its side tells.
                _ = replies => {}
            }
        });
        Self { host, left }
    }

    async fn left(&self) {
        tokio::time::timeout(crate::home::PATIENCE, self.left.notified())
            .await
            .expect("the request is dropped");
    }
}

impl Told {
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
async fn when_a_model_cannot_be_had_the_next_one_is_asked() {
    let mock = Mock::start().await;
    let options = AgentOptions {
        retries: 0,
        fallbacks: vec!["nowhere/x".to_owned(), WIRES[2].model.to_owned()],
        ..AgentOptions::new(WIRES[0].model, providers(&mock.host))
    };
    let home = Home::new(options).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    // The mock is always too busy for this on one wire, and knows the answer on another.
    let told = home.say(&session, "busy for one of you").await;
    assert_eq!(told.message(), "I have time.", "{:?}", told.end());
    assert!(
        told.statuses
            .iter()
            .any(|status| status.contains("Asking anthropic/claude-sonnet-4-5-low instead.")),
        "{:?}",
        told.statuses
    );
}
