//! Turns that go on after a crash, from a log that was cut at each point of a turn.

mod calls;
mod cut_log;
mod cut_twice;
mod text;

use serde_json::json;
use thoughtwire_agent::{AgentOptions, PromptEntry};
use thoughtwire_proto::{Style, ToolStatus, TurnEvent, Usage};

use crate::harness::{ScriptedModel, call, options, text};
use cut_log::{CutLog, cost, is_end};

const SUM: &str = "calculator";

fn sum() -> serde_json::Value {
    json!({"expression": "6*7"})
}

fn usage(input_tokens: u64, output_tokens: u64) -> Usage {
    Usage { input_tokens, output_tokens, cached_tokens: None }
}

/// The conversation of a prompt's turn, in short.
fn chat(script: &ScriptedModel, prompt: usize) -> Vec<String> {
    let prompt = &script.prompts()[prompt];
    let short = |entry: &PromptEntry| match entry {
        PromptEntry::Note(_) => "note".to_owned(),
        PromptEntry::User(text) => format!("user: {text}"),
        PromptEntry::Thought(text) => format!("thought: {text}"),
        PromptEntry::Message(text) => format!("message: {text}"),
        PromptEntry::ProviderState(_) => "state".to_owned(),
        PromptEntry::Called { call, .. } => format!("called {call}"),
        PromptEntry::Returned { call, text, .. } => format!("returned {call}: {text}"),
    };
    prompt.chat.iter().skip(prompt.turn_from).map(|entry| short(entry)).collect()
}

#[tokio::test]
async fn a_turn_that_had_just_begun_runs_as_if_nothing_had_happened() {
    let log = CutLog::begin(Style::Native, "hello").await;
    let script = ScriptedModel::new([text("Hi.")]);
    let log = log.open(&script, options("offline")).await.completed().await;
    assert_eq!(log.message(), "Hi.");
    assert_eq!(chat(&script, 0), ["user: hello"]);
}

#[tokio::test]
async fn finished_calls_keep_their_results() {
    let mut log = CutLog::begin(Style::Native, "6*7?").await;
    log.call("c-1", SUM, &sum()).await.returned("c-1", SUM, "forty-two").await;
    let script = ScriptedModel::new([text("It is 42.")]);
    let log = log.open(&script, options("offline")).await.completed().await;
    assert_eq!(log.returned(), [(ToolStatus::Success, "forty-two")]);
    assert_eq!(chat(&script, 0), ["user: 6*7?", "called c-1", "returned c-1: forty-two"]);
}

#[tokio::test]
async fn the_cost_of_all_attempts_is_counted_once() {
    // Stored with the call, and not in the log yet.
    let mut log = CutLog::begin(Style::Native, "6*7?").await;
    log.call("c-1", SUM, &sum()).await.returned("c-1", SUM, "42").await;
    let script = ScriptedModel::new([text("It is 42.")]);
    let log = log.open(&script, options("offline")).await.completed().await;
    assert_eq!(cost(&log), usage(20, 4));

    // Written at an earlier stop, with more that came since.
    let mut log = CutLog::begin(Style::Native, "6*7?").await;
    log.say(TurnEvent::Usage(usage(4, 1))).await;
    log.call("c-1", SUM, &sum()).await.returned("c-1", SUM, "42").await;
    let script = ScriptedModel::new([text("It is 42.")]);
    let log = log.open(&script, options("offline")).await.completed().await;
    assert_eq!(cost(&log), usage(20, 4));

    // Written at a stop behind the newest call.
    let mut log = CutLog::begin(Style::Native, "6*7?").await;
    log.call("c-1", SUM, &sum()).await.returned("c-1", SUM, "42").await;
    log.say(TurnEvent::Usage(usage(15, 3))).await;
    let script = ScriptedModel::new([text("It is 42.")]);
    let log = log.open(&script, options("offline")).await.completed().await;
    assert_eq!(cost(&log), usage(25, 5));
}

#[tokio::test]
async fn budget_and_steps_count_across_attempts() {
    for (limits, code) in [
        (AgentOptions { token_budget: Some(12), ..options("offline") }, "token_budget"),
        (AgentOptions { max_steps: 1, ..options("offline") }, "step_limit"),
    ] {
        let mut log = CutLog::begin(Style::Native, "6*7?").await;
        log.call("c-1", SUM, &sum()).await.returned("c-1", SUM, "42").await;
        let script = ScriptedModel::new([text("It is 42.")]);
        let log = log.open(&script, limits).await.ended().await;
        assert_eq!((log.end().0.as_str(), log.end().1.as_str()), ("Failed", code));
        assert!(script.prompts().is_empty());
        assert_eq!(cost(&log), usage(10, 2));
    }
}

#[tokio::test]
async fn the_cost_is_stored_with_each_reply_that_makes_calls() {
    let script = ScriptedModel::new([call(SUM, &sum()), call(SUM, &sum()), text("Both are 42.")]);
    let harness = crate::harness::AgentHarness::scripted(&script, options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    harness.run_turn(&session, "6*7, twice").await;
    let logs = harness.hub.store().logs();
    let (after, through) = (thoughtwire_proto::Seq::ZERO, thoughtwire_proto::Seq(100));
    let rows = logs.provider_replies(&session, after, through).await.unwrap();
    let spent = rows.iter().map(|(_, row)| {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        row["spent"]["input_tokens"].as_u64().unwrap()
    });
    assert_eq!(spent.collect::<Vec<_>>(), [10, 20]);
}

#[tokio::test]
async fn a_memgpt_turn_whose_message_was_sent_only_ends() {
    let mut log = CutLog::begin(Style::Memgpt, "hello").await;
    log.call("c-1", "send_message", &json!({"message": "Hi."})).await;
    let (item, text, complete) = ("m-1".parse().unwrap(), "Hi.".to_owned(), true);
    log.say(TurnEvent::Message { item, text, complete, continues: None }).await;
    log.returned("c-1", "send_message", "None").await;
    let script = ScriptedModel::new([]);
    let log = log.open(&script, options("offline")).await.completed().await;
    assert_eq!(log.message(), "Hi.");
    assert!(script.prompts().is_empty());
}

#[tokio::test]
async fn an_input_that_no_reply_has_seen_is_answered() {
    // It joined while the last message was on its way.
    let mut log = CutLog::begin(Style::Memgpt, "hello").await;
    log.call("c-1", "send_message", &json!({"message": "Hi."})).await;
    log.join("i-2", "and goodbye").await.returned("c-1", "send_message", "None").await;
    let script = ScriptedModel::new([call("send_message", &json!({"message": "Bye."}))]);
    let log = log.open(&script, options("offline")).await.completed().await;
    assert_eq!(log.message(), "Bye.");

    // It joined in front of a text that was cut: first the rest of that, then its answer.
    let mut log = CutLog::begin(Style::Native, "hello").await;
    log.join("i-2", "and goodbye").await.cut_message("m-1", "Hel").await;
    let script = ScriptedModel::new([text("lo."), text("Bye.")]);
    let log = log.open(&script, options("offline")).await.completed().await;
    assert_eq!(
        cut_log::texts(&log, "message"),
        [("Hel", None), ("lo.", Some("m-1")), ("Bye.", None)]
    );
    assert_eq!(chat(&script, 0), ["user: hello", "message: Hel", "note"]);
    let whole = ["user: hello", "message: Hel", "note", "message: lo.", "user: and goodbye"];
    assert_eq!(chat(&script, 1), whole);
}

#[tokio::test]
async fn an_input_that_waits_for_its_own_turn_changes_nothing() {
    let mut log = CutLog::begin(Style::Memgpt, "hello").await;
    log.call("c-1", "send_message", &json!({"message": "Hi."})).await;
    let (item, text, complete) = ("m-1".parse().unwrap(), "Hi.".to_owned(), true);
    log.say(TurnEvent::Message { item, text, complete, continues: None }).await;
    log.returned("c-1", "send_message", "None").await.queue("i-2", "later").await;
    let script = ScriptedModel::new([]);
    let resumed = log.open(&script, options("offline")).await;
    let log = resumed.harness.log_until(&resumed.session, is_end).await;
    assert_eq!((log.message().as_str(), log.end().0.as_str()), ("Hi.", "Completed"));
}
