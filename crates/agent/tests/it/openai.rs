//! `openai/NAME` against a mock that others wrote: npm's `@copilotkit/aimock`.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use thoughtwire_agent::{AgentOptions, Endpoint, Providers};
use thoughtwire_proto::{Event, StreamKind, Style, ToolStatus};
use tokio::process::{Child, Command};

use crate::home::Home;

/// The mock, ended with its test.
struct Mock {
    url: String,
    _process: Child,
}

impl Mock {
    async fn start() -> Self {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let cli = here.join("../../.test-deps/node_modules/@copilotkit/aimock/dist/cli.js");
        assert!(cli.exists(), "the LLM mock is not installed: run `make test-deps`");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("node")
            .arg(cli)
            .args(["-p", &port.to_string(), "-c", "16", "--log-level", "silent", "-f"])
            .arg(here.join("tests/fixtures/openai.json"))
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs the LLM mock");
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Self { url: format!("http://127.0.0.1:{port}/v1"), _process: process };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the LLM mock does not listen");
    }

    fn home(&self) -> Home {
        let providers = Providers {
            openai: Endpoint { api_key: Some("sk-secret".to_owned()), base_url: Some(self.url.clone()) },
            ..Providers::default()
        };
        Home::new(AgentOptions::new("openai/gpt-5-mini", providers))
    }
}

#[tokio::test]
async fn words_reasoning_and_usage() {
    let mock = Mock::start().await;
    let home = mock.home();
    let (_, session) = home.agent("tess", Style::Native).await;
    let told = home.say(&session, "Please tell me about tea").await;
    assert_eq!(told.message(), "Tea is an infusion of leaves in hot water, and people have drunk it for ages.");
    assert_eq!(told.thought(), "They ask about tea.");
    assert!(told.streamed(StreamKind::Message).len() > 3);
    assert_eq!(told.streamed(StreamKind::Message).concat(), told.message());
    let usage = told.usage().unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (120, 18));
    assert_eq!(told.kinds(), ["user_message", "turn_started", "thought", "usage", "message", "turn_ended"]);
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
async fn two_calls_in_one_reply() {
    let mock = Mock::start().await;
    let home = mock.home();
    let (_, session) = home.agent("tess", Style::Native).await;
    let told = home.say(&session, "two sums").await;
    let returned = told.returned();
    assert_eq!(returned[0], (ToolStatus::Success, "42"));
    assert_eq!(returned[1].0, ToolStatus::Error);
    assert_eq!(told.message(), "The first is 42, the second has no result.");
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
async fn a_cut_stream_fails_and_keeps_what_came() {
    let mock = Mock::start().await;
    let home = mock.home();
    let (_, session) = home.agent("tess", Style::Native).await;
    let told = home.say(&session, "tell me a long story").await;
    let (outcome, code, reason) = told.end();
    assert_eq!((outcome.as_str(), code.as_str()), ("Failed", "model_cut"), "{reason}");
    let part = told
        .records
        .iter()
        .find_map(|record| if let Event::Message { text, complete, .. } = &record.event { Some((text.clone(), *complete)) } else { None });
    let (text, complete) = part.expect("the part is kept");
    assert!(text.starts_with("Once upon a time") && !complete, "{text}");
}

#[tokio::test]
async fn too_many_requests_are_repeated_after_the_time_asked_for() {
    let mock = Mock::start().await;
    let home = mock.home();
    let (_, session) = home.agent("tess", Style::Native).await;
    let told = home.say(&session, "too busy once").await;
    assert_eq!(told.message(), "Now there is time for you.");
    assert!(told.statuses.iter().any(|status| status.contains("asking again in 1.0 s")), "{:?}", told.statuses);
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
