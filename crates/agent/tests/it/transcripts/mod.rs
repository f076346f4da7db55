//! Providers' models against raw replies, for cases that the mock cannot produce.

mod wires;

use std::time::Duration;

use serde_json::json;
use thoughtwire_agent::{AgentOptions, Timeouts};
use thoughtwire_proto::{StreamKind, Style, ToolStatus};

use crate::canned::{CannedProvider, CannedReply};
use crate::harness::AgentHarness;
use wires::{WireTranscript, sse, transcripts};

use crate::mock::{MockWire, WIRES, harness, providers};

#[tokio::test]
async fn provider_state_is_sent_back() {
    for WireTranscript { wire, calls, answer, returns, .. } in transcripts() {
        let canned =
            CannedProvider::play([CannedReply::new(calls), CannedReply::new(answer)]).await;
        let harness = harness(&canned.host, wire).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "Two sums!").await;
        assert_eq!(log.thought(), "Two sums.", "{wire:?}: {log:?}");
        let returned = log.returned();
        assert_eq!(
            (returned[0], returned[1].0),
            ((ToolStatus::Success, "42"), ToolStatus::Error),
            "{wire:?}"
        );
        assert_eq!(log.message(), "Well, 42.", "{wire:?}");
        let usage = log.usage().unwrap();
        assert_eq!(
            (usage.input_tokens, usage.output_tokens, usage.cached_tokens),
            (150, 25, Some(64)),
            "{wire:?}"
        );
        returns(&canned.requests()[1]);
    }
}

#[tokio::test]
async fn a_connection_closed_without_an_end_marker_is_a_cut() {
    for WireTranscript { wire, half, .. } in transcripts() {
        let canned = CannedProvider::play([CannedReply::new(half)]).await;
        let harness = harness(&canned.host, wire).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "hello").await;
        assert_eq!(log.end().1, "model_cut", "{wire:?}: {log:?}");
        assert_eq!(log.part(), Some(("Well, ".to_owned(), false)), "{wire:?}");
    }
}

#[tokio::test]
async fn a_connection_closed_before_any_output_is_retried() {
    for WireTranscript { wire, answer, .. } in transcripts() {
        let canned = CannedProvider::play([CannedReply::new(""), CannedReply::new(answer)]).await;
        let harness = harness(&canned.host, wire).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "hello").await;
        assert_eq!(log.message(), "Well, 42.", "{wire:?}: {log:?}");
    }
}

async fn impatient(host: &str, wire: MockWire, timeouts: Timeouts) -> AgentHarness {
    AgentHarness::new(AgentOptions {
        retries: 1,
        timeouts,
        ..AgentOptions::new(wire.model, providers(host))
    })
    .await
}

#[tokio::test]
async fn a_model_without_output_is_retried_and_then_times_out() {
    for wire in WIRES {
        let canned = CannedProvider::play([]).await;
        let harness = impatient(
            &canned.host,
            wire,
            Timeouts { first: Duration::from_millis(300), ..Timeouts::default() },
        )
        .await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let (outcome, code, reason) = harness.run_turn(&session, "hello").await.end();
        assert_eq!(
            (outcome.as_str(), code.as_str()),
            ("Failed", "model_timeout"),
            "{wire:?}: {reason}"
        );
        assert!(reason.contains("sent nothing for 0.3 s"), "{reason}");
        assert_eq!(canned.requests().len(), 2, "{wire:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_not_accepted_times_out() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let host = socket.local_addr().unwrap();
    // Nothing accepts, and one or two waiting connections fill the queue: the next gets no answer.
    let _listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(500), tokio::net::TcpStream::connect(host)).await
    {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "the queue does not fill up");
    }
    for wire in WIRES {
        let harness = impatient(
            &host.to_string(),
            wire,
            Timeouts { connect: Duration::from_millis(300), ..Timeouts::default() },
        )
        .await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "hello").await;
        let (_, code, reason) = log.end();
        assert_eq!(code, "model_timeout", "{wire:?}: {reason}");
        assert!(
            reason.contains("did not accept the connection in time") && reason.contains(wire.url),
            "{reason}"
        );
        assert_eq!(log.statuses.len(), 1, "the request was repeated once");
    }
}

#[tokio::test]
async fn a_reply_that_stalls_is_not_retried_and_its_part_is_kept() {
    for WireTranscript { wire, half, .. } in transcripts() {
        let canned = CannedProvider::play([CannedReply::unfinished(half)]).await;
        let harness = impatient(
            &canned.host,
            wire,
            Timeouts { silence: Duration::from_millis(300), ..Timeouts::default() },
        )
        .await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "hello").await;
        let (_, code, reason) = log.end();
        assert_eq!(code, "model_timeout", "{wire:?}: {reason}");
        assert!(
            reason.contains("stopped sending in the middle of its reply, for 0.3 s"),
            "{reason}"
        );
        assert_eq!(log.part(), Some(("Well, ".to_owned(), false)), "{wire:?}");
        assert_eq!(canned.requests().len(), 1, "{wire:?}");
    }
}

#[tokio::test]
async fn a_prompt_that_is_too_long_has_its_own_code() {
    let [openai, responses, anthropic, gemini, ollama] = WIRES;
    let failed = json!({"type": "response.failed", "response": {
        "id": "r", "model": "m", "status": "failed", "output": [],
        "error": {
            "code": "context_length_exceeded",
            "message": "Your input exceeds the context window of this model.",
        },
    }});
    for (wire, reply) in [
        (
            openai,
            CannedReply::refusal(
                400,
                r#"{"error": {"message": "Too much.", "code": "context_length_exceeded"}}"#,
            ),
        ),
        (
            openai,
            CannedReply::refusal(
                400,
                r#"{"error": {"message": "This model's maximum context length is 8192 tokens."}}"#,
            ),
        ),
        (responses, CannedReply::new(sse(&[failed]))),
        (
            anthropic,
            CannedReply::refusal(
                400,
                concat!(
                    r#"{"type": "error", "error": {"message": "#,
                    r#""prompt is too long: 200015 tokens > 200000 maximum"}}"#
                ),
            ),
        ),
        (
            gemini,
            CannedReply::refusal(
                400,
                concat!(
                    r#"[{"error": {"message": "#,
                    r#""The input token count exceeds the maximum number of tokens allowed."}}]"#
                ),
            ),
        ),
        (
            ollama,
            CannedReply::refusal(
                400,
                r#"{"error": "prompt too long; exceeded max context length by 4 tokens"}"#,
            ),
        ),
        (
            ollama,
            CannedReply::refusal(
                400,
                r#"{"error": {"message": "the request exceeds the available context size"}}"#,
            ),
        ),
    ] {
        // The request is repeated three times, with less and less of the conversation.
        let canned = CannedProvider::play(vec![reply; 4]).await;
        let harness = harness(&canned.host, wire).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let (_, code, reason) = harness.run_turn(&session, "hello").await.end();
        assert_eq!(code, "model_window", "{wire:?}: {reason}");
        assert_eq!(canned.requests().len(), 4, "{wire:?}");
    }
}

#[tokio::test]
async fn temporary_errors_are_retried() {
    let [openai, responses, anthropic, gemini, ollama] = WIRES;
    let delay = json!({"error": {
        "code": 429, "message": "Slow down", "status": "RESOURCE_EXHAUSTED",
        "details": [{
            "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.25s",
        }],
    }});
    for (wire, reply) in [
        (
            openai,
            CannedReply::new(sse(&[json!({"error": {"message": "Oops", "type": "server_error"}})])),
        ),
        (
            responses,
            CannedReply::new(sse(&[
                json!({"type": "error", "code": "server_error", "message": "Oops"}),
            ])),
        ),
        (
            anthropic,
            CannedReply::new(sse(&[json!({
                "type": "error",
                "error": {"type": "overloaded_error", "message": "Overloaded"},
            })])),
        ),
        (gemini, CannedReply::refusal(429, delay.to_string())),
        (ollama, CannedReply::refusal(500, r#"{"error": "the model runner has stopped"}"#)),
    ] {
        let Some(WireTranscript { answer, .. }) =
            transcripts().into_iter().find(|transcript| transcript.wire.model == wire.model)
        else {
            panic!("no transcript of {wire:?}")
        };
        let canned = CannedProvider::play([reply, CannedReply::new(answer)]).await;
        let harness = harness(&canned.host, wire).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "hello").await;
        assert_eq!(log.message(), "Well, 42.", "{wire:?}: {log:?}");
        assert_eq!(log.statuses.len(), 1, "{wire:?}: {:?}", log.statuses);
        if wire.model.starts_with("gemini/") {
            assert!(
                log.statuses[0].contains("in 0.2 s") || log.statuses[0].contains("in 0.3 s"),
                "{:?}",
                log.statuses
            );
        }
    }
}

#[tokio::test]
async fn a_blocked_prompt_fails_with_its_reason() {
    let [_, _, _, gemini, _] = WIRES;
    let canned = CannedProvider::play([CannedReply::new(sse(&[
        json!({"promptFeedback": {"blockReason": "OTHER"}}),
    ]))])
    .await;
    let harness = harness(&canned.host, gemini).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let (_, code, reason) = harness.run_turn(&session, "hello").await.end();
    assert!(
        code == "model_filtered" && reason.contains("may have blocked the prompt (OTHER)"),
        "{code}: {reason}"
    );
}

#[tokio::test]
async fn models_without_reasoning_are_not_asked_for_it() {
    for (model, asks) in [
        ("openai-responses/gpt-4o", false),
        ("openai-responses/gpt-5-mini", true),
        ("gemini/gemini-2.0-flash", false),
        ("gemini/gemini-3-pro", true),
    ] {
        let canned = CannedProvider::play([CannedReply::refusal(400, "{}")]).await;
        let harness = AgentHarness::new(AgentOptions::new(model, providers(&canned.host))).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "hello").await;
        assert!(log.streamed(StreamKind::Message).is_empty());
        let asked = canned.requests()[0].to_string();
        assert_eq!(
            asked.contains("includeThoughts") || asked.contains("reasoning.encrypted_content"),
            asks,
            "{model}"
        );
    }
}
