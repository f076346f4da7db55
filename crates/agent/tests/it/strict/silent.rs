//! Turns in which a model sends no message, and heartbeats in every spelling.

use serde_json::{Value, json};
use thoughtwire_agent::AgentOptions;
use thoughtwire_proto::Style;

use super::replies::{ScriptedCall, ScriptedReply};
use super::server::StrictProvider;
use super::{MODELS, agent, harness, script};
use crate::harness::TurnLog;

/// A turn in MemGPT style with these replies.
async fn memgpt(replies: Vec<ScriptedReply>) -> (TurnLog, usize) {
    let strict = StrictProvider::start(script(replies)).await;
    let harness = harness(&strict, AgentOptions::new(MODELS[0], Default::default())).await;
    let session = agent(&harness, Style::Memgpt).await;
    let log = harness.run_turn(&session, "hello").await;
    (log, strict.requests().len())
}

fn call(name: &str, args: Value) -> ScriptedReply {
    ScriptedReply::calls(
        false,
        "",
        vec![ScriptedCall { id: "c1".to_owned(), name: name.to_owned(), args }],
    )
}

#[tokio::test]
async fn every_way_to_ask_for_a_heartbeat_counts() {
    for wish in [json!(true), json!("true"), json!("True"), json!("yes"), json!(1), json!("1")] {
        let spoken = call("send_message", json!({"message": "One.", "request_heartbeat": wish}));
        let (log, asked) =
            memgpt(vec![spoken, call("send_message", json!({"message": "Two."}))]).await;
        assert_eq!((log.message().as_str(), asked), ("One.\nTwo.", 2), "{wish}");
    }
    for wish in [json!(false), json!("false"), json!("no"), json!(0), json!(null)] {
        let spoken = call("send_message", json!({"message": "One.", "request_heartbeat": wish}));
        let (log, asked) = memgpt(vec![spoken]).await;
        assert_eq!((log.message().as_str(), asked), ("One.", 1), "{wish}");
    }
}

#[tokio::test]
async fn a_turn_does_not_end_without_a_message() {
    let (log, asked) = memgpt(vec![
        call("current_time", json!({})),
        call("send_message", json!({"message": "Noted."})),
    ])
    .await;
    assert_eq!((log.message().as_str(), asked), ("Noted.", 2), "{log:?}");
    let (log, _) = memgpt(vec![ScriptedReply::text("I answer in plain words.")]).await;
    assert_eq!(log.message(), "I answer in plain words.", "{log:?}");
    let (log, _) = memgpt(vec![ScriptedReply::text("<think>Secret.</think>I answer.")]).await;
    assert_eq!(log.message(), "I answer.", "{log:?}");
    let (log, asked) = memgpt(vec![call("current_time", json!({}))]).await;
    assert!(log.message().contains("without an answer"), "{log:?}");
    assert_eq!(asked, 6, "the turn had several steps for a message");
    for text in ["", "\n\n"] {
        for style in [Style::Native, Style::Memgpt] {
            let strict = StrictProvider::start(script(vec![ScriptedReply::text(text)])).await;
            let harness = harness(&strict, AgentOptions::new(MODELS[2], Default::default())).await;
            let session = agent(&harness, style).await;
            let log = harness.run_turn(&session, "hello").await;
            assert_eq!(log.end().0, "Completed", "{log:?}");
            assert!(log.message().contains("without an answer"), "{log:?}");
            harness.run_turn(&session, "and now?").await;
            let body = strict.requests()[1].body.to_string();
            assert!(
                !body.contains("without an answer"),
                "the placeholder is not sent to models: {body}"
            );
        }
    }
}
