//! Errors that arrive with status 200, and replies that are cut off.

use serde_json::{Value, json};
use thoughtwire_agent::AgentOptions;

use super::{ANTHROPIC, GEMINI, OLLAMA, OPENAI, RESPONSES, lines, messages, sse, turn};
use crate::canned::CannedReply;
use crate::mock::{MockWire, WIRES};

const WORDS: &str = "Your credit is used up.";

fn options(model: String, providers: thoughtwire_agent::Providers) -> AgentOptions {
    AgentOptions { retries: 1, ..AgentOptions::new(model, providers) }
}

/// The code of a turn that failed with the provider's text, and the number of requests.
async fn failed(wire: MockWire, reply: CannedReply) -> (String, usize) {
    let (log, asked) = turn(wire, vec![reply; 2], options).await;
    let (outcome, code, reason) = log.end();
    assert_eq!(outcome, "Failed", "{wire:?}: {log:?}");
    assert!(reason.contains("credit is used up"), "{wire:?}: {reason}");
    (code, asked.len())
}

#[tokio::test]
async fn errors_in_every_place_fail_with_the_providers_text() {
    let error = json!({"error": {"message": WORDS, "type": "invalid_request_error", "code": null}});
    for wire in WIRES {
        for body in [
            error.clone(),
            json!({"error": WORDS}),
            json!([error]),
            json!({"message": WORDS}),
            json!({"detail": WORDS}),
            json!({"errors": [{"message": WORDS}]}),
            json!({"object": "error", "message": WORDS}),
            json!({"type": "error", "error": {"type": "new_error", "message": WORDS}}),
            json!({"type": "error", "code": "x", "message": WORDS}),
        ] {
            for reply in [
                body.to_string(),
                format!("{body:#}"),
                sse(std::slice::from_ref(&body)),
                format!("event: error\ndata: {body}\n\n"),
                lines(std::slice::from_ref(&body)),
            ] {
                assert_eq!(
                    failed(wire, reply.into()).await,
                    ("model_failed".to_owned(), 1),
                    "{wire:?} {body}"
                );
            }
        }
        for reply in [
            format!("<html><style>p {{}}</style><body><h1>Sorry</h1><p>{WORDS}</p></body></html>"),
            WORDS.to_owned(),
        ] {
            assert_eq!(
                failed(wire, reply.into()).await,
                ("model_failed".to_owned(), 1),
                "{wire:?}"
            );
        }
    }
    let reply = format!("event: error\ndata: {WORDS}\n\n");
    assert_eq!(failed(OPENAI, reply.into()).await, ("model_failed".to_owned(), 1));
}

#[tokio::test]
async fn error_codes_decide_about_retries() {
    for (wire, error, code, requests) in [
        (OPENAI, json!({"message": WORDS, "code": 401}), "model_refused_key", 1),
        (OPENAI, json!({"message": WORDS, "code": "402"}), "model_failed", 1),
        (OPENAI, json!({"message": WORDS, "status": 403}), "model_refused_key", 1),
        (OPENAI, json!({"message": WORDS, "code": "insufficient_quota"}), "model_failed", 1),
        (OPENAI, json!({"message": WORDS, "code": 429}), "model_busy", 2),
        (OPENAI, json!({"message": WORDS, "code": 502}), "model_busy", 2),
        (OPENAI, json!({"message": WORDS, "code": "rate_limit_exceeded"}), "model_busy", 2),
        (RESPONSES, json!({"message": WORDS, "code": "server_error"}), "model_failed", 2),
        (RESPONSES, json!({"message": WORDS, "code": "invalid_api_key"}), "model_refused_key", 1),
        (ANTHROPIC, json!({"message": WORDS, "type": "overloaded_error"}), "model_busy", 2),
        (
            ANTHROPIC,
            json!({"message": WORDS, "type": "authentication_error"}),
            "model_refused_key",
            1,
        ),
        (ANTHROPIC, json!({"message": WORDS, "type": "permission_error"}), "model_refused_key", 1),
        (ANTHROPIC, json!({"message": WORDS, "type": "billing_error"}), "model_failed", 1),
        (
            GEMINI,
            json!({"message": WORDS, "code": 403, "status": "PERMISSION_DENIED"}),
            "model_refused_key",
            1,
        ),
        (GEMINI, json!({"message": WORDS, "status": "UNAVAILABLE"}), "model_busy", 2),
        (OLLAMA, json!(WORDS), "model_failed", 1),
    ] {
        let body = json!({"error": error});
        for reply in [body.to_string(), sse(std::slice::from_ref(&body))] {
            assert_eq!(
                failed(wire, reply.into()).await,
                (code.to_owned(), requests),
                "{wire:?} {body}"
            );
        }
    }
}

#[tokio::test]
async fn errors_after_output_keep_the_text_and_are_not_retried() {
    let error = json!({"error": {"message": WORDS, "code": 429}});
    let failed = json!({"type": "response.failed", "response": {"status": "failed",
        "error": {"code": "server_error", "message": WORDS}}});
    let in_choice = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "error",
        "error": {"message": WORDS, "code": 502}}]});
    let only_reason =
        json!({"choices": [{"index": 0, "delta": {}, "error": {"message": WORDS, "code": 502}}]});
    let half = |wire: MockWire| -> Value {
        match wire.model.split('/').next().unwrap() {
            "openai" => super::openai::content("Half a"),
            "openai-responses" => super::responses::said("Half a"),
            "anthropic" => super::anthropic::words(0, "Half a"),
            "gemini" => super::gemini::chunk(&[json!({"text": "Half a"})], None),
            _ => super::ollama::content("Half a"),
        }
    };
    for (wire, error) in [
        (OPENAI, error.clone()),
        (OPENAI, in_choice),
        (OPENAI, only_reason),
        (RESPONSES, error.clone()),
        (RESPONSES, failed),
        (ANTHROPIC, error.clone()),
        (GEMINI, error.clone()),
        (OLLAMA, error),
    ] {
        let values = [half(wire), error];
        let reply = if wire.model == OLLAMA.model { lines(&values) } else { sse(&values) };
        let (log, asked) = turn(wire, vec![reply.into(); 2], options).await;
        assert!(log.end().2.contains("credit is used up"), "{wire:?}: {log:?}");
        assert_eq!(messages(&log), ("Half a".to_owned(), false), "{wire:?}: {log:?}");
        assert_eq!(asked.len(), 1, "{wire:?}");
    }
}

#[tokio::test]
async fn incomplete_json_is_a_cut_and_invalid_json_a_failure() {
    let half = sse(&[super::openai::content("Half a")]);
    for (reply, code) in [
        (format!("{half}data: {{\"choices\": [{{\"delta\""), "model_cut"),
        (format!("{half}data: {{\"choices\": [{{\"delta\"\n\n"), "model_cut"),
        (format!("{half}data: {{\"choices\": oops}}\n\n{half}"), "model_failed"),
    ] {
        let (log, _) = turn(OPENAI, vec![reply.clone().into()], options).await;
        assert_eq!(log.end().1, code, "{reply}: {log:?}");
        assert_eq!(messages(&log), ("Half a".to_owned(), false), "{log:?}");
    }
}

#[tokio::test]
async fn a_key_is_never_quoted() {
    let body = json!({"error": {"message": "Incorrect API key provided: sk-secret.", "code": 401}});
    let (log, _) = turn(OPENAI, vec![body.to_string().into()], options).await;
    let (_, code, reason) = log.end();
    assert_eq!(code, "model_refused_key");
    assert!(reason.contains("Incorrect API key") && !reason.contains("secret"), "{reason}");
}
