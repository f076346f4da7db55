//! Models of providers against a mock that others wrote: npm's `@copilotkit/aimock`, which speaks each provider's own wire.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use thoughtwire_agent::{AgentOptions, Endpoint, Providers, Timeouts};
use thoughtwire_proto::{Command as Ask, Emission, Event, Policy, StreamKind, Style, ToolStatus};
use tokio::process::{Child, Command};

use crate::home::{Home, Told};

/// A model of each wire that is spoken.
const WIRES: [&str; 5] =
    ["openai/gpt-5-mini", "openai-responses/gpt-5-mini", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-pro", "ollama/llama3.2"];

/// The mock, ended with its test.
pub(crate) struct Mock {
    pub(crate) at: String,
    _process: Child,
}

impl Mock {
    pub(crate) async fn start() -> Self {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let cli = here.join("../../.test-deps/node_modules/@copilotkit/aimock/dist/cli.js");
        assert!(cli.exists(), "the LLM mock is not installed: run `make test-deps`");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("node")
            .arg(cli)
            .args(["-p", &port.to_string(), "-c", "16", "--log-level", "silent", "-f"])
            .arg(here.join("tests/fixtures/providers.json"))
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs the LLM mock");
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Self { at: format!("127.0.0.1:{port}"), _process: process };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the LLM mock does not listen");
    }

    fn home(&self) -> Home {
        self.home_of(WIRES[0])
    }

    fn home_of(&self, model: &str) -> Home {
        Home::new(AgentOptions::new(model, providers(&self.at)))
    }

    /// How many connections to the mock are open, by the operating system's own list.
    fn connections(&self) -> usize {
        let port: u16 = self.at.rsplit(':').next().unwrap().parse().unwrap();
        let remote = format!(":{port:04X}");
        let list = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let is_open = |line: &&str| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            columns.get(2).is_some_and(|to| to.ends_with(&remote)) && columns.get(3) == Some(&"01")
        };
        list.lines().filter(is_open).count()
    }
}

/// All providers at one place.
pub(crate) fn providers(at: &str) -> Providers {
    let with = |url: String| Endpoint { api_key: Some("sk-secret".to_owned()), base_url: Some(url) };
    Providers {
        openai: with(format!("http://{at}/v1")),
        anthropic: with(format!("http://{at}")),
        gemini: with(format!("http://{at}")),
        // As its own tools take it.
        ollama: with(at.to_owned()),
    }
}

async fn say(mock: &Mock, model: &str, style: Style, text: &str) -> Told {
    let home = mock.home_of(model);
    let (_, session) = home.agent("tess", style).await;
    home.say(&session, text).await
}

#[tokio::test]
async fn on_every_wire_words_reasoning_and_usage() {
    let mock = Mock::start().await;
    for model in WIRES {
        let told = say(&mock, model, Style::Native, "Please tell me about tea").await;
        assert_eq!(
            told.message(),
            "Tea is an infusion of leaves in hot water, and people have drunk it for ages.",
            "{model} {:?}",
            told.end()
        );
        assert_eq!(told.thought(), "They ask about tea.", "{model}");
        assert!(told.streamed(StreamKind::Message).len() > 3, "{model}");
        assert_eq!(told.streamed(StreamKind::Message).concat(), told.message(), "{model}");
        // The mock counts nothing on Ollama's wire.
        if !model.starts_with("ollama/") {
            let usage = told.usage().unwrap_or_else(|| panic!("{model} tells no usage"));
            assert_eq!((usage.input_tokens, usage.output_tokens), (120, 18), "{model}");
            assert_eq!(told.kinds(), ["user_message", "turn_started", "thought", "usage", "message", "turn_ended"], "{model}");
        }
    }
}

#[tokio::test]
async fn on_every_wire_two_calls_at_once_and_an_answer() {
    let mock = Mock::start().await;
    for model in WIRES {
        let told = say(&mock, model, Style::Native, "two sums").await;
        assert_eq!(told.called(), ["calculator", "calculator"], "{model} {:?}", told.end());
        let mut returned = told.returned();
        returned.sort_by_key(|(status, _)| *status == ToolStatus::Error);
        assert_eq!(returned[0], (ToolStatus::Success, "42"), "{model}");
        assert_eq!(returned[1].0, ToolStatus::Error, "{model}");
        assert_eq!(told.message(), "The first is 42, the second has no result.", "{model}");
    }
}

#[tokio::test]
async fn on_every_wire_too_many_requests_are_repeated_after_the_time_asked_for() {
    for model in WIRES {
        // The mock counts what it was asked.
        let mock = Mock::start().await;
        let told = say(&mock, model, Style::Native, "too busy once").await;
        assert_eq!(told.message(), "Now there is time for you.", "{model} {:?}", told.end());
        assert!(told.statuses.iter().any(|status| status.contains("asking again in 1.0 s")), "{model} {:?}", told.statuses);
    }
}

#[tokio::test]
async fn on_every_wire_a_cut_stream_fails_and_keeps_what_came() {
    let mock = Mock::start().await;
    for model in WIRES {
        let told = say(&mock, model, Style::Native, "tell me a long story").await;
        let (outcome, code, reason) = told.end();
        assert_eq!((outcome.as_str(), code.as_str()), ("Failed", "model_cut"), "{model}: {reason}");
        let part = told.records.iter().find_map(|record| {
            if let Event::Message { text, complete, .. } = &record.event { Some((text.clone(), *complete)) } else { None }
        });
        let (text, complete) = part.unwrap_or_else(|| panic!("{model}: the part is not kept"));
        assert!(text.starts_with("Once upon a time") && !complete, "{model}: {text}");
    }
}

#[tokio::test]
async fn on_every_wire_a_cancel_drops_the_request() {
    for model in WIRES {
        let mock = Mock::start().await;
        let home = mock.home_of(model);
        let (_, session) = home.agent("tess", Style::Native).await;
        let is_delta = |emission: &Emission| matches!(emission, Emission::Delta(_));
        home.listen(&session, is_delta, home.send(&session, "tell it very slowly", Policy::Queue)).await;
        let cancel = async { drop(home.execute(Ask::Cancel { session: session.clone(), turn: None }).await) };
        assert!(mock.connections() > 0, "{model}");
        let told = home.listen(&session, |_| false, cancel).await;
        assert_eq!(told.end().0, "Cancelled", "{model}");
        let dropped = async {
            while mock.connections() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Its words would last for 20 seconds.
        tokio::time::timeout(Duration::from_secs(10), dropped).await.unwrap_or_else(|_| panic!("{model}: the request is still open"));
    }
}

/// A server that takes requests and says nothing, or a beginning and then nothing.
async fn silent(beginning: &'static str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 65_536];
                drop(socket.read(&mut buffer).await);
                drop(socket.write_all(beginning.as_bytes()).await);
                // Kept open until the other side has enough.
                while socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    at
}

#[tokio::test]
async fn who_says_nothing_or_falls_silent_is_not_waited_for_without_end() {
    const BEGINNING: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
        data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Once\"}}]}\n\n";
    for (beginning, code, kept) in [("", "model_late", ""), (BEGINNING, "model_cut", "Once")] {
        let at = silent(beginning).await;
        let brief = Duration::from_millis(300);
        let timeouts = Timeouts { first: brief + brief, silence: brief, ..Timeouts::default() };
        let home = Home::new(AgentOptions { timeouts, retries: 1, ..AgentOptions::new(WIRES[0], providers(&at)) });
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "hello").await;
        assert_eq!(told.end().1, code, "{}", told.end().2);
        assert_eq!(told.message(), kept);
    }
}

#[tokio::test]
async fn when_a_model_cannot_be_had_the_next_one_is_asked() {
    let mock = Mock::start().await;
    let options = AgentOptions {
        retries: 0,
        fallbacks: vec!["nowhere/x".to_owned(), WIRES[2].to_owned()],
        ..AgentOptions::new(WIRES[0], providers(&mock.at))
    };
    let home = Home::new(options);
    let (_, session) = home.agent("tess", Style::Native).await;
    // The mock is always too busy for this on one wire, and knows the answer on another.
    let told = home.say(&session, "busy for one of you").await;
    assert_eq!(told.message(), "I have time.", "{:?}", told.end());
    assert!(told.statuses.iter().any(|status| status.contains("Asking anthropic/claude-sonnet-4-5 instead.")), "{:?}", told.statuses);
}

#[tokio::test]
async fn a_call_with_arguments_in_pieces_edits_the_memory_and_goes_on() {
    let mock = Mock::start().await;
    let home = mock.home();
    let (agent, session) = home.agent("tess", Style::Native).await;
    let told = home.say(&session, "Hi, my name is Ada").await;
    assert_eq!(told.called(), ["core_memory_append"]);
    let pieces = told.streamed(StreamKind::ToolArgs);
    assert!(pieces.len() > 3, "{pieces:?}");
    let args: serde_json::Value = serde_json::from_str(&pieces.concat()).unwrap();
    assert_eq!(args["content"], "Her name is Ada, and she drinks her tea without milk.");
    assert!(home.block(&agent, "human").ends_with("without milk."));
    assert_eq!(told.message(), "Pleased to meet you, Ada.");
    let usage = told.usage().unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (250, 26), "both calls count");
    // The next turn's prompt has the call and its result in it, which a strict endpoint would refuse if they did not match.
    assert_eq!(home.say(&session, "tell me about tea").await.end().0, "Completed");
}

#[tokio::test]
async fn in_memgpt_style_content_is_thought_and_send_message_speaks() {
    let mock = Mock::start().await;
    let home = mock.home();
    let (_, session) = home.agent("tess", Style::Memgpt).await;
    let told = home.say(&session, "greet me in the old way").await;
    assert_eq!(told.thought(), "A friend; be warm.");
    assert_eq!(told.message(), "Good morning, \"dear\" friend!\nHow are you? ☕");
    assert_eq!(told.streamed(StreamKind::Message).concat(), told.message());
    assert_eq!(told.kinds(), ["user_message", "turn_started", "thought", "tool_called", "message", "tool_returned", "usage", "turn_ended"]);
}

#[tokio::test]
async fn errors_say_what_to_do_and_never_the_key() {
    let mock = Mock::start().await;
    let home = mock.home();
    let (_, session) = home.agent("tess", Style::Native).await;
    for (input, code, sentence) in [
        ("always too busy", "model_busy", "You exceeded your current quota."),
        ("let me in", "model_refused_key", "Check OPENAI_API_KEY."),
        ("break down", "model_failed", "with key ***"),
        ("something the mock has never heard", "model_failed", "404"),
    ] {
        let (outcome, found, reason) = home.say(&session, input).await.end();
        assert_eq!((outcome.as_str(), found.as_str()), ("Failed", code), "{input}: {reason}");
        assert!(reason.contains(sentence), "{input}: {reason}");
        assert!(!reason.contains("secret") && !reason.contains("sk-s"), "{reason}");
    }
}

#[tokio::test]
async fn nobody_at_the_address() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let providers = Providers {
        openai: Endpoint { api_key: None, base_url: Some(format!("http://user:pass@127.0.0.1:{port}/v1")) },
        ..Providers::default()
    };
    let home = Home::new(AgentOptions { retries: 1, ..AgentOptions::new("openai/x", providers) });
    let (_, session) = home.agent("tess", Style::Native).await;
    let (_, code, reason) = home.say(&session, "hello").await.end();
    assert_eq!(code, "model_unreachable", "{reason}");
    assert!(reason.contains("OPENAI_BASE_URL") && !reason.contains("pass"), "{reason}");
}
