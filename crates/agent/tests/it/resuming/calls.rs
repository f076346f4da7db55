//! Calls that were running at a crash, by the replay class of their tool and the owner's answer.

use serde_json::json;
use thoughtwire_agent::{AgentOptions, PromptEntry};
use thoughtwire_proto::{
    ApprovalAbout, Command, Emission, Event, Permission, Replay, RetryReason, SessionCommand,
    SessionId, Style, ToolStatus, TurnEvent, Verdict,
};
use thoughtwire_store::NewNote;

use super::cut_log::{CutLog, Resumed, is_end};
use super::{SUM, chat, sum};
use crate::harness::{ScriptedModel, TurnLog, call, options, text};

fn classed(class: Replay) -> AgentOptions {
    AgentOptions { replay: [(SUM.to_owned(), class)].into(), ..options("offline") }
}

/// The log of a turn that was cut while the calculator ran.
async fn in_a_sum() -> CutLog {
    let mut log = CutLog::begin(Style::Native, "6*7?").await;
    log.call("c-1", SUM, &sum()).await;
    log
}

fn retries(log: &TurnLog) -> Vec<(u32, RetryReason)> {
    let retried = log.records.iter().filter_map(|record| {
        if let Event::Turn(TurnEvent::ToolRetried { attempt, reason, .. }) = &record.event {
            Some((*attempt, *reason))
        } else {
            None
        }
    });
    retried.collect()
}

fn is_asked(emission: &Emission) -> bool {
    matches!(emission, Emission::Record(record) if matches!(
        record.event,
        Event::Turn(TurnEvent::ApprovalAsked { about: ApprovalAbout::Retry, .. })
    ))
}

fn answer(session: &SessionId, decision: Verdict, result: Option<&str>) -> Command {
    let (call, result) = ("c-1".parse().unwrap(), result.map(str::to_owned));
    SessionCommand::Decide { call, decision, result }.on(session.clone())
}

#[tokio::test]
async fn a_safe_call_is_made_again() {
    let script = ScriptedModel::new([text("It is 42.")]);
    let log = in_a_sum().await.open(&script, options("offline")).await.completed().await;
    assert_eq!(retries(&log), [(1, RetryReason::Safe)]);
    assert_eq!(log.returned(), [(ToolStatus::Success, "42")]);
    assert_eq!(chat(&script, 0), ["user: 6*7?", "called c-1", "returned c-1: 42"]);

    // After a second crash it is the second repetition.
    let mut log = in_a_sum().await;
    let (call, attempt, reason) = ("c-1".parse().unwrap(), 1, RetryReason::Safe);
    log.say(TurnEvent::ToolRetried { call, attempt, reason }).await;
    let script = ScriptedModel::new([text("It is 42.")]);
    let log = log.open(&script, options("offline")).await.completed().await;
    assert_eq!(retries(&log), [(1, RetryReason::Safe), (2, RetryReason::Safe)]);
}

#[tokio::test]
async fn a_call_that_may_never_be_repeated_has_an_unknown_outcome() {
    let script = ScriptedModel::new([text("Perhaps.")]);
    let log = in_a_sum().await.open(&script, classed(Replay::Never)).await.completed().await;
    assert!(retries(&log).is_empty());
    let returned = log.returned();
    assert_eq!(returned.len(), 1);
    assert_eq!(returned[0].0, ToolStatus::Unknown);
    assert!(returned[0].1.contains("may or may not have taken effect"), "{returned:?}");
    let prompt = &script.prompts()[0];
    assert!(
        prompt.chat.iter().any(|entry| matches!(
            **entry,
            PromptEntry::Returned { status: ToolStatus::Unknown, .. }
        ))
    );
}

#[tokio::test]
async fn a_forbidden_tool_is_not_repeated() {
    let denying = AgentOptions {
        permissions: [(SUM.to_owned(), Permission::Deny)].into(),
        ..options("offline")
    };
    let script = ScriptedModel::new([text("Perhaps.")]);
    let log = in_a_sum().await.open(&script, denying).await.completed().await;
    assert!(retries(&log).is_empty());
    assert_eq!(log.returned()[0].0, ToolStatus::Unknown);
}

#[tokio::test]
async fn the_owner_answers_about_a_call_whose_outcome_is_unknown() {
    for (decision, result, status, part) in [
        (Verdict::Approved, None, ToolStatus::Success, "42"),
        (Verdict::Done, Some("It was 41."), ToolStatus::Success, "It was 41."),
        (Verdict::Done, None, ToolStatus::Success, "was made"),
        (Verdict::Denied, None, ToolStatus::Error, "was not made again"),
    ] {
        // A second crash, while the owner is asked, asks the same question again.
        for asked_before in [false, true] {
            let mut log = in_a_sum().await;
            if asked_before {
                log.say(TurnEvent::ApprovalAsked {
                    call: "c-1".parse().unwrap(),
                    name: SUM.to_owned(),
                    about: ApprovalAbout::Retry,
                    expires_at: thoughtwire_proto::Timestamp::from_millis(
                        thoughtwire_hub::now().as_millis() + 3_600_000,
                    ),
                })
                .await;
            }
            let script = ScriptedModel::new([text("Well.")]);
            let resumed = log.open(&script, classed(Replay::Ask)).await;
            let log = answered(&resumed, decision, result).await;
            assert_eq!(log.kinds().iter().filter(|kind| **kind == "approval_asked").count(), 1);
            let returned = log.returned();
            assert_eq!((returned.len(), returned[0].0), (1, status), "{decision:?}");
            assert!(returned[0].1.contains(part), "{returned:?}");
            let again = [(1, RetryReason::Approved)];
            let is_again = decision == Verdict::Approved;
            assert_eq!(retries(&log), again[..usize::from(is_again)], "{decision:?}");
            assert_eq!(script.prompts().len(), 1);
        }
    }
}

/// Decides about the call once its owner is asked, and waits for the end of the turn.
async fn answered(resumed: &Resumed, decision: Verdict, result: Option<&str>) -> TurnLog {
    let Resumed { harness, session, .. } = resumed;
    harness.log_until(session, is_asked).await;
    drop(harness.execute(answer(session, decision, result)).await);
    let log = harness.log_until(session, is_end).await;
    assert_eq!(log.end().0, "Completed");
    log
}

#[tokio::test]
async fn without_an_answer_the_outcome_stays_unknown() {
    let script = ScriptedModel::new([text("Perhaps.")]);
    let hasty = AgentOptions { approval_ms: 50, ..classed(Replay::Ask) };
    let log = in_a_sum().await.open(&script, hasty).await.completed().await;
    assert!(retries(&log).is_empty());
    assert_eq!(log.returned()[0].0, ToolStatus::Unknown);
}

#[tokio::test]
async fn memory_changes_once() {
    let append = json!({"name": "human", "content": "Likes tea."});
    let mut log = CutLog::begin(Style::Native, "I like tea").await;
    log.call("c-1", "core_memory_append", &append).await;
    let script = ScriptedModel::new([text("Noted.")]);
    let resumed = log.open(&script, options("offline")).await;
    let log = resumed.completed().await;
    let block = resumed.harness.block(&resumed.agent, "human").await;
    assert_eq!(block.matches("Likes tea.").count(), 1, "{block}");
    // The edit and the call's result follow each other: they are one batch.
    let kinds = log.kinds();
    let at = kinds.iter().position(|kind| *kind == "memory_edited").unwrap();
    assert_eq!(kinds[at + 1], "tool_returned");

    // Once it has returned, nothing is done again.
    let mut log = CutLog::begin(Style::Native, "I like tea").await;
    log.call("c-1", "core_memory_append", &append).await;
    log.returned("c-1", "core_memory_append", "`human` is changed.").await;
    let resumed = log.open(&ScriptedModel::new([text("Noted.")]), options("offline")).await;
    let log = resumed.completed().await;
    assert!(!log.kinds().contains(&"memory_edited"));
}

#[tokio::test]
async fn a_note_is_added_once() {
    for is_there in [false, true] {
        let mut log = CutLog::begin(Style::Native, "note it").await;
        log.call("c-1", "archival_memory_insert", &json!({"content": "A note."})).await;
        if is_there {
            // The crash came between the note and its result.
            let note = NewNote {
                text: "A note.".to_owned(),
                at: thoughtwire_hub::now(),
                source: Some("call:c-1".to_owned()),
                vector: None,
            };
            let memory = log.store().memory();
            memory.add_notes(&log.agent, vec![note], 1 << 20, None).await.unwrap();
        }
        let resumed = log.open(&ScriptedModel::new([text("Noted.")]), options("offline")).await;
        let log = resumed.completed().await;
        assert_eq!(log.returned()[0].0, ToolStatus::Success);
        let memory = resumed.harness.hub.store().memory();
        assert_eq!(memory.note_count(&resumed.agent).await.unwrap(), 1, "{is_there}");
    }
}

#[tokio::test]
async fn a_heartbeat_that_a_call_asked_for_is_not_lost() {
    for (wants, steps) in [(true, 1), (false, 0)] {
        let mut log = CutLog::begin(Style::Memgpt, "6*7?").await;
        let (item, complete) = ("m-1".parse().unwrap(), true);
        let text = "Let me see.".to_owned();
        log.say(TurnEvent::Message { item, text, complete, continues: None }).await;
        let args = json!({"expression": "6*7", "request_heartbeat": wants});
        log.call("c-1", SUM, &args).await;
        let script = ScriptedModel::new([call("send_message", &json!({"message": "42."}))]);
        log.open(&script, options("offline")).await.completed().await;
        assert_eq!(script.prompts().len(), steps, "{wants}");
    }
}
