//! Texts that a crash cut, and their rest.

use serde_json::json;
use thoughtwire_agent::ReplyPiece;
use thoughtwire_proto::{Style, ToolStatus};

use super::chat;
use super::cut_log::{CutLog, texts};
use crate::harness::{ScriptedModel, call, done, options, text};

#[tokio::test]
async fn a_cut_message_is_continued_without_repetition() {
    let before = "Once upon a time there was a tea pot";
    let whole = format!("{before} in the sky.");
    for (reply, rest) in [
        (" in the sky.", Some(" in the sky.")),
        (whole.as_str(), Some(" in the sky.")),
        ("time there was a tea pot in the sky.", Some(" in the sky.")),
        (before, None),
        ("", None),
    ] {
        let mut log = CutLog::begin(Style::Native, "a tale").await;
        log.cut_message("m-1", before).await;
        let pieces = reply.split_inclusive(' ').map(|word| ReplyPiece::Message(word.to_owned()));
        let script = ScriptedModel::new([pieces.chain([done()]).collect()]);
        let log = log.open(&script, options("offline")).await.completed().await;
        let mut expected = vec![(before, None)];
        expected.extend(rest.map(|rest| (rest, Some("m-1"))));
        assert_eq!(texts(&log, "message"), expected, "{reply:?}");
        let asked = ["user: a tale".to_owned(), format!("message: {before}"), "note".to_owned()];
        assert_eq!(chat(&script, 0), asked);
    }
}

#[tokio::test]
async fn a_message_that_was_cut_twice_is_one_text_for_the_model() {
    let mut log = CutLog::begin(Style::Native, "a tale").await;
    log.cut_message("m-1", "Once upon").await;
    log.say(thoughtwire_proto::TurnEvent::Message {
        item: "m-2".parse().unwrap(),
        text: " a time".to_owned(),
        complete: false,
        continues: Some("m-1".parse().unwrap()),
    })
    .await;
    let script = ScriptedModel::new([text(" it rained."), text("Yes.")]);
    let resumed = log.open(&script, options("offline")).await;
    let log = resumed.completed().await;
    assert_eq!(chat(&script, 0), ["user: a tale", "message: Once upon a time", "note"]);
    assert_eq!(texts(&log, "message")[2], (" it rained.", Some("m-2")));
    // Later turns see it as one text, without the note.
    resumed.harness.run_turn(&resumed.session, "did it?").await;
    let prompt = &script.prompts()[1];
    let said = format!("{:?}", prompt.chat);
    assert!(said.contains("Message(\"Once upon a time it rained.\")"), "{said}");
    assert!(!said.contains("Note("), "{said}");
}

#[tokio::test]
async fn a_cut_monologue_is_continued_and_cut_reasoning_is_not() {
    let mut log = CutLog::begin(Style::Memgpt, "hello").await;
    log.cut_thought("th-1", "They greet").await;
    let mut reply = vec![ReplyPiece::Monologue(" me; I greet back.".to_owned())];
    reply.extend(call("send_message", &json!({"message": "Hi."})));
    let script = ScriptedModel::new([reply]);
    let log = log.open(&script, options("offline")).await.completed().await;
    let thoughts = [("They greet", None), (" me; I greet back.", Some("th-1"))];
    assert_eq!(texts(&log, "thought"), thoughts);
    assert_eq!(chat(&script, 0), ["user: hello", "thought: They greet", "note"]);

    let mut log = CutLog::begin(Style::Native, "hello").await;
    log.cut_thought("th-1", "They greet").await;
    let reply = vec![
        ReplyPiece::Thought("A greeting.".to_owned()),
        ReplyPiece::Message("Hi.".to_owned()),
        done(),
    ];
    let script = ScriptedModel::new([reply]);
    let log = log.open(&script, options("offline")).await.completed().await;
    assert_eq!(texts(&log, "thought"), [("They greet", None), ("A greeting.", None)]);
    assert_eq!(chat(&script, 0), ["user: hello", "thought: They greet"]);
}

#[tokio::test]
async fn a_message_that_was_cut_in_its_call_gets_its_rest_from_the_arguments() {
    for (seen, rest) in [("Good mor", Some("ning, Ada.")), ("Good morning, Ada.", None)] {
        let mut log = CutLog::begin(Style::Memgpt, "hello").await;
        log.call("c-1", "send_message", &json!({"message": "Good morning, Ada."})).await;
        log.cut_message("m-1", seen).await;
        let script = ScriptedModel::new([]);
        let log = log.open(&script, options("offline")).await.completed().await;
        let mut expected = vec![(seen, None)];
        expected.extend(rest.map(|rest| (rest, Some("m-1"))));
        assert_eq!(texts(&log, "message"), expected);
        assert_eq!(log.returned(), [(ToolStatus::Success, "None")]);
        assert!(script.prompts().is_empty());
    }

    // Nothing of it was seen: it is said whole.
    let mut log = CutLog::begin(Style::Memgpt, "hello").await;
    log.call("c-1", "send_message", &json!({"message": "Good morning, Ada."})).await;
    let log = log.open(&ScriptedModel::new([]), options("offline")).await.completed().await;
    assert_eq!(texts(&log, "message"), [("Good morning, Ada.", None)]);
}

#[tokio::test]
async fn a_message_that_was_cut_before_its_call_is_continued_by_another_call() {
    let before = "Good morning, dear Ada,";
    for (message, rest) in [
        (" how are you?", Some(" how are you?")),
        ("Good morning, dear Ada, how are you?", Some(" how are you?")),
        (before, None),
    ] {
        let mut log = CutLog::begin(Style::Memgpt, "hello").await;
        log.cut_message("m-1", before).await;
        let script = ScriptedModel::new([call("send_message", &json!({"message": message}))]);
        let log = log.open(&script, options("offline")).await.completed().await;
        let mut expected = vec![(before, None)];
        expected.extend(rest.map(|rest| (rest, Some("m-1"))));
        assert_eq!(texts(&log, "message"), expected, "{message}");
        assert_eq!(log.returned(), [(ToolStatus::Success, "None")]);
    }
}

#[tokio::test]
async fn the_offline_model_says_the_rest_of_the_same_reply() {
    let counted = |to: u32| (1..=to).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
    // The longer text does not fit into a prompt.
    for to in [200, 60_000] {
        for style in [Style::Native, Style::Memgpt] {
            let whole = counted(to);
            let seen = &whole[..whole.len() * 2 / 3];
            let mut log = CutLog::begin(style, &format!("count to {to}")).await;
            log.cut_message("m-1", seen).await;
            let log = log.open_with_models(options("offline")).await.completed().await;
            let messages = texts(&log, "message");
            assert_eq!(messages.len(), 2, "{style:?}");
            assert_eq!(messages[1].1, Some("m-1"));
            assert!(messages[0].0.to_owned() + messages[1].0 == whole, "{style:?} {to}");
        }
    }
}
