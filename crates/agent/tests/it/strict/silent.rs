//! Turns in which a model says nothing to the person, and heartbeats in every spelling.

use serde_json::{Value, json};
use thoughtwire_agent::AgentOptions;
use thoughtwire_proto::Style;

use super::replies::{Call, Said};
use super::server::Strict;
use super::{MODELS, agent, home, script};
use crate::home::Told;

/// A turn in MemGPT's style with these replies.
async fn memgpt(replies: Vec<Said>) -> (Told, usize) {
    let strict = Strict::start(script(replies)).await;
    let home = home(&strict, AgentOptions::new(MODELS[0], Default::default())).await;
    let session = agent(&home, Style::Memgpt).await;
    let told = home.say(&session, "hello").await;
    (told, strict.asked().len())
}

fn call(name: &str, args: Value) -> Said {
    Said::calls(false, "", vec![Call { id: "c1".to_owned(), name: name.to_owned(), args }])
}

#[tokio::test]
async fn every_way_to_ask_for_a_heartbeat_counts() {
    for wish in [json!(true), json!("true"), json!("True"), json!("yes"), json!(1), json!("1")] {
        let spoken = call("send_message", json!({"message": "One.", "request_heartbeat": wish}));
        let (told, asked) =
            memgpt(vec![spoken, call("send_message", json!({"message": "Two."}))]).await;
        assert_eq!((told.message().as_str(), asked), ("One.\nTwo.", 2), "{wish}");
    }
    for wish in [json!(false), json!("false"), json!("no"), json!(0), json!(null)] {
        let spoken = call("send_message", json!({"message": "One.", "request_heartbeat": wish}));
        let (told, asked) = memgpt(vec![spoken]).await;
        assert_eq!((told.message().as_str(), asked), ("One.", 1), "{wish}");
    }
}

#[tokio::test]
async fn a_turn_does_not_end_without_a_message() {
    let (told, asked) = memgpt(vec![
        call("current_time", json!({})),
        call("send_message", json!({"message": "Noted."})),
    ])
    .await;
    assert_eq!((told.message().as_str(), asked), ("Noted.", 2), "{told:?}");
    let (told, _) = memgpt(vec![Said::text("I answer in plain words.")]).await;
    assert_eq!(told.message(), "I answer in plain words.", "{told:?}");
    let (told, _) = memgpt(vec![Said::text("<think>Secret.</think>I answer.")]).await;
    assert_eq!(told.message(), "I answer.", "{told:?}");
    let (told, asked) = memgpt(vec![call("current_time", json!({}))]).await;
    assert!(told.message().contains("without an answer"), "{told:?}");
    assert_eq!(asked, 6, "it was given time to say something");
    for text in ["", "\n\n"] {
        for style in [Style::Native, Style::Memgpt] {
            let strict = Strict::start(script(vec![Said::text(text)])).await;
            let home = home(&strict, AgentOptions::new(MODELS[2], Default::default())).await;
            let session = agent(&home, style).await;
            let told = home.say(&session, "hello").await;
            assert_eq!(told.end().0, "Completed", "{told:?}");
            assert!(told.message().contains("without an answer"), "{told:?}");
            home.say(&session, "and now?").await;
            let body = strict.asked()[1].body.to_string();
            assert!(!body.contains("without an answer"), "a model is not sent our words: {body}");
        }
    }
}
