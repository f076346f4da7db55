//! Approvals, and calls that clients run: across clients, restarts and time-outs.

use std::sync::Arc;

use serde_json::json;
use thoughtwire_agent::{AgentOptions, ReplyPiece};
use thoughtwire_hub::HubOptions;
use thoughtwire_proto::{
    AgentSpec, CallId, Command, Decision, Emission, Event, Permission, Policy, SessionCommand,
    SessionId, ToolDeclaration, ToolStatus, TurnEvent, Verdict,
};

use crate::harness::{AgentHarness, ScriptedModel, TurnLog, call, copy_store, done, options, text};

/// Options of an operator who requires approval for the calculator.
fn asking() -> AgentOptions {
    AgentOptions {
        permissions: [("calculator".to_owned(), Permission::Ask)].into(),
        ..options("offline")
    }
}

fn sum() -> Vec<ReplyPiece> {
    call("calculator", &json!({"expression": "6*7"}))
}

fn is_approval_asked(emission: &Emission) -> bool {
    matches!(emission, Emission::Record(record) if matches!(
        record.event,
        Event::Turn(TurnEvent::ApprovalAsked { .. }))
    )
}

fn is_awaited(emission: &Emission) -> bool {
    matches!(emission, Emission::Record(record) if matches!(
        record.event,
        Event::Turn(TurnEvent::ToolAwaited { .. }))
    )
}

fn waiting_call(log: &TurnLog) -> CallId {
    let found = log.records.iter().find_map(|record| {
        if let Event::Turn(TurnEvent::ApprovalAsked { call, name, .. }) = &record.event {
            assert_eq!(name, "calculator");
            return Some(call.clone());
        }
        if let Event::Turn(TurnEvent::ToolAwaited { call, .. }) = &record.event {
            Some(call.clone())
        } else {
            None
        }
    });
    found.expect("no call is waiting")
}

fn decide(session: &SessionId, call: &CallId, approve: bool) -> Command {
    SessionCommand::Decide {
        call: call.clone(),
        decision: if approve { Verdict::Approved } else { Verdict::Denied },
        result: None,
    }
    .on(session.clone())
}

/// Sends an input and returns the call that waits.
async fn send_until_waiting(harness: &AgentHarness, session: &SessionId) -> CallId {
    waiting_call(
        &harness
            .collect(session, is_approval_asked, harness.send(session, "6*7?", Policy::Queue))
            .await,
    )
}

#[tokio::test]
async fn an_approved_call_runs_and_a_denied_one_is_reported_to_the_model() {
    for (approve, result) in [
        (true, (ToolStatus::Success, "42")),
        (false, (ToolStatus::Error, "The owner denied this call.")),
    ] {
        let script = ScriptedModel::new([sum(), text("Done.")]);
        let harness = AgentHarness::scripted(&script, asking()).await;
        let (_, session) = harness.agent("tess", Default::default()).await;
        let call = send_until_waiting(&harness, &session).await;
        let log = harness
            .collect(&session, |_| false, async {
                drop(harness.execute(decide(&session, &call, approve)).await);
            })
            .await;
        assert_eq!(log.returned(), [result]);
        assert_eq!(
            log.kinds(),
            ["approval_settled", "tool_returned", "usage", "message", "turn_ended"]
        );
    }
}

#[tokio::test]
async fn only_one_of_two_concurrent_decisions_wins() {
    let script = ScriptedModel::new([sum(), text("Done.")]);
    let harness = AgentHarness::scripted(&script, asking()).await;
    let (_, session) = harness.agent("tess", Default::default()).await;
    let call = send_until_waiting(&harness, &session).await;
    let answer = |approve| {
        let command = SessionCommand::Decide {
            call: call.clone(),
            decision: if approve { Verdict::Approved } else { Verdict::Denied },
            result: None,
        };
        let from = Some(format!("client {approve}"));
        harness.hub.execute(&harness.user, from, None, session.clone(), command)
    };
    let both = async {
        let (yes, no) = tokio::join!(answer(true), answer(false));
        assert_eq!(usize::from(yes.is_ok()) + usize::from(no.is_ok()), 1, "{yes:?} {no:?}");
        let refusal = yes.err().or(no.err()).unwrap();
        assert_eq!(refusal.code.as_str(), "unknown_call");
    };
    let log = harness.collect(&session, |_| false, both).await;
    let settled: Vec<_> = log
        .records
        .iter()
        .filter(|record| matches!(record.event, Event::Turn(TurnEvent::ApprovalSettled { .. })))
        .collect();
    assert_eq!(settled.len(), 1);
    assert_eq!(log.end().0, "Completed");
}

#[tokio::test]
async fn approvals_expire_and_are_void_after_a_cancel() {
    let script = ScriptedModel::new([sum(), text("Late."), sum()]);
    let harness =
        AgentHarness::scripted(&script, AgentOptions { approval_ms: 200, ..asking() }).await;
    let (_, session) = harness.agent("tess", Default::default()).await;
    let log = harness.run_turn(&session, "6*7?").await;
    assert!(
        log.returned()[0].1.contains("Nobody approved this call in time"),
        "{:?}",
        log.returned()
    );
    let decisions = |log: &TurnLog| -> Vec<Decision> {
        log.records
            .iter()
            .filter_map(|record| {
                if let Event::Turn(TurnEvent::ApprovalSettled { decision, .. }) = record.event {
                    Some(decision)
                } else {
                    None
                }
            })
            .collect()
    };
    assert_eq!(decisions(&log), [Decision::Expired]);
    drop(harness);

    let script = ScriptedModel::new([sum()]);
    let harness = AgentHarness::scripted(&script, asking()).await;
    let (_, session) = harness.agent("tess", Default::default()).await;
    send_until_waiting(&harness, &session).await;
    let cancel = async {
        drop(harness.execute(SessionCommand::Cancel { turn: None }.on(session.clone())).await);
    };
    let log = harness.collect(&session, |_| false, cancel).await;
    assert_eq!(decisions(&log), [Decision::Void]);
    assert_eq!(log.returned(), [(ToolStatus::Error, "abandoned")]);
}

#[tokio::test]
async fn a_denied_tool_is_not_offered_and_not_run() {
    let script = ScriptedModel::new([sum(), text("Well.")]);
    let options = AgentOptions {
        permissions: [("calc*".to_owned(), Permission::Deny)].into(),
        ..options("offline")
    };
    let harness = AgentHarness::scripted(&script, options).await;
    let (_, session) = harness.agent("tess", Default::default()).await;
    let log = harness.run_turn(&session, "6*7?").await;
    assert!(log.returned()[0].1.contains("may not be used here"), "{:?}", log.returned());
    let prompt = &script.prompts()[0];
    assert!(prompt.tools.iter().all(|tool| tool.name != "calculator" && tool.name != "fetch_url"));
}

#[tokio::test]
async fn an_approval_survives_a_crash_and_its_turn_resumes_from_the_log() {
    let (dir, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let two = vec![
        ReplyPiece::Thought("Two sums.".to_owned()),
        ReplyPiece::Call {
            index: 0,
            name: "calculator".to_owned(),
            provider_id: Some("p0".to_owned()),
        },
        ReplyPiece::Args { index: 0, json: json!({"expression": "6*7"}).to_string() },
        ReplyPiece::Call {
            index: 1,
            name: "current_time".to_owned(),
            provider_id: Some("p1".to_owned()),
        },
        ReplyPiece::Args { index: 1, json: json!({"timezone": "UTC"}).to_string() },
        done(),
    ];
    let harness = AgentHarness::scripted_in(dir.path(), &ScriptedModel::new([two]), asking()).await;
    let (_, session) = harness.agent("tess", Default::default()).await;
    // The other call has returned when the first one waits for approval.
    let is_over = |emission: &Emission| {
        matches!(emission, Emission::Record(record) if matches!(
            record.event,
            Event::Turn(TurnEvent::ToolReturned { .. }))
        )
    };
    let log =
        harness.collect(&session, is_over, harness.send(&session, "6*7?", Policy::Queue)).await;
    let stored = harness.hub.store().directory().session(&session).await.unwrap().unwrap();
    let call = stored.state.turn().unwrap().calls[0].call.clone();
    assert_eq!(log.returned().len(), 1);
    copy_store(dir.path(), crashed.path());

    let script = ScriptedModel::new([text("It is 42.")]);
    let harness = AgentHarness::scripted_in(crashed.path(), &script, asking()).await;
    let log = harness
        .collect(&session, |_| false, async {
            drop(harness.execute(decide(&session, &call, true)).await);
        })
        .await;
    assert_eq!(log.returned(), [(ToolStatus::Success, "42")]);
    assert_eq!((log.message().as_str(), log.end().0.as_str()), ("It is 42.", "Completed"));
    // The model sees the whole turn: its input, both calls, both results.
    let prompt = &script.prompts()[0];
    let kinds: Vec<&str> =
        prompt.chat.iter().skip(prompt.turn_from).map(|entry| kind(entry)).collect();
    assert_eq!(
        kinds,
        ["user", "thought", "called", "returned", "called", "returned"],
        "{:?}",
        prompt.chat
    );
}

#[tokio::test]
async fn a_tool_denied_while_its_call_waited_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let harness =
        AgentHarness::scripted_in(dir.path(), &ScriptedModel::new([sum()]), asking()).await;
    let (_, session) = harness.agent("tess", Default::default()).await;
    let call = send_until_waiting(&harness, &session).await;
    harness.close().await;

    let denying = AgentOptions {
        permissions: [("calculator".to_owned(), Permission::Deny)].into(),
        ..options("offline")
    };
    let harness =
        AgentHarness::scripted_in(dir.path(), &ScriptedModel::new([text("I may not.")]), denying)
            .await;
    let log = harness
        .collect(&session, |_| false, async {
            drop(harness.execute(decide(&session, &call, true)).await);
        })
        .await;
    let returned = log.returned();
    assert_eq!(returned.len(), 1);
    assert_eq!(returned[0].0, ToolStatus::Error);
    assert!(returned[0].1.contains("may not be used"), "{returned:?}");
}

fn kind(entry: &thoughtwire_agent::PromptEntry) -> &'static str {
    use thoughtwire_agent::PromptEntry;
    match entry {
        PromptEntry::Note(_) => "note",
        PromptEntry::ProviderState(_) => "kept",
        PromptEntry::User(_) => "user",
        PromptEntry::Thought(_) => "thought",
        PromptEntry::Message(_) => "message",
        PromptEntry::Called { .. } => "called",
        PromptEntry::Returned { .. } => "returned",
    }
}

#[tokio::test]
async fn a_planned_stop_parks_the_turn_without_waiting_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let harness =
        AgentHarness::scripted_in(dir.path(), &ScriptedModel::new([sum()]), asking()).await;
    let (_, session) = harness.agent("tess", Default::default()).await;
    let call = send_until_waiting(&harness, &session).await;
    harness.close().await;
    let harness =
        AgentHarness::scripted_in(dir.path(), &ScriptedModel::new([text("Still here.")]), asking())
            .await;
    let log = harness
        .collect(&session, |_| false, async {
            drop(harness.execute(decide(&session, &call, false)).await);
        })
        .await;
    assert_eq!((log.message().as_str(), log.end().0.as_str()), ("Still here.", "Completed"));
}

fn weather() -> ToolDeclaration {
    let schema =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let serde_json::Value::Object(parameters) = schema else { unreachable!() };
    ToolDeclaration {
        replay: None,
        name: "weather".to_owned(),
        description: "Tells the weather.".to_owned(),
        parameters,
    }
}

fn tool_return(session: &SessionId, call: &CallId, text: &str) -> Command {
    returned(call, text).on(session.clone())
}

fn returned(call: &CallId, text: &str) -> SessionCommand {
    let (call, text) = (call.clone(), text.to_owned());
    SessionCommand::ToolReturn { call, status: ToolStatus::Success, text, content: None }
}

#[tokio::test]
async fn a_client_runs_its_tool_and_answers_once() {
    let ask = |city: serde_json::Value| call("weather", &json!({"city": city}));
    let script = ScriptedModel::new([ask(json!(7)), ask(json!("Oslo")), text("Snow in Oslo.")]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (_, session) = harness.agent("tess", Default::default()).await;
    let waits = harness
        .collect_with_tools(
            &session,
            vec![weather()],
            is_awaited,
            harness.send(&session, "weather?", Policy::Queue),
        )
        .await;
    assert!(
        waits.returned()[0].1.contains("are not valid") && waits.returned()[0].1.contains("/city"),
        "{:?}",
        waits.returned()
    );
    let call = waiting_call(&waits);
    let answers = async {
        harness.execute(tool_return(&session, &call, "Snow.")).await;
        let again = returned(&call, "Sun.");
        let again = harness.hub.execute(&harness.user, None, None, session.clone(), again);
        let refused = again.await.unwrap_err();
        assert_eq!(refused.code.as_str(), "unknown_call");
    };
    let log = harness.collect(&session, |_| false, answers).await;
    assert_eq!(log.returned(), [(ToolStatus::Success, "Snow.")]);
    assert_eq!(log.message(), "Snow in Oslo.");
    let prompts = script.prompts();
    assert!(
        prompts[0]
            .tools
            .iter()
            .any(|tool| tool.name == "weather" && tool.schema["required"][0] == "city")
    );
    // Tools of a client that left are no longer offered.
    assert!(prompts[2].tools.iter().all(|tool| tool.name != "weather"));
}

#[tokio::test]
async fn a_silent_client_times_out_and_a_client_answers_after_a_crash() {
    let script =
        ScriptedModel::new([call("weather", &json!({"city": "Oslo"})), text("Nobody knows.")]);
    let harness =
        AgentHarness::scripted(&script, AgentOptions { client_tool_ms: 200, ..options("offline") })
            .await;
    let (_, session) = harness.agent("tess", Default::default()).await;
    let log = harness
        .collect_with_tools(
            &session,
            vec![weather()],
            |_| false,
            harness.send(&session, "weather?", Policy::Queue),
        )
        .await;
    assert_eq!(log.returned(), [(ToolStatus::Error, "No client ran the tool in time.")]);
    drop(harness);

    let (dir, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let harness = AgentHarness::scripted_in(
        dir.path(),
        &ScriptedModel::new([call("weather", &json!({"city": "Oslo"}))]),
        options("offline"),
    )
    .await;
    let (_, session) = harness.agent("tess", Default::default()).await;
    let waits = harness
        .collect_with_tools(
            &session,
            vec![weather()],
            is_awaited,
            harness.send(&session, "weather?", Policy::Queue),
        )
        .await;
    let call = waiting_call(&waits);
    copy_store(dir.path(), crashed.path());
    let harness = AgentHarness::scripted_in(
        crashed.path(),
        &ScriptedModel::new([text("Snow.")]),
        options("offline"),
    )
    .await;
    let log = harness
        .collect(&session, |_| false, async {
            drop(harness.execute(tool_return(&session, &call, "It snows.")).await);
        })
        .await;
    assert_eq!(
        (log.returned(), log.message().as_str()),
        (vec![(ToolStatus::Success, "It snows.")], "Snow.")
    );
}

#[tokio::test]
async fn settings_of_an_agent_apply_from_its_next_turn() {
    let script = ScriptedModel::new([text("Plain."), sum(), text("Done.")]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (_, session) =
        harness.create(AgentSpec { name: "tess".to_owned(), ..AgentSpec::default() }).await;
    harness.run_turn(&session, "Hi").await;
    let changes = json!({"permissions": {"calculator": "ask"}, "max_steps": 3});
    let serde_json::Value::Object(changes) = changes else { unreachable!() };
    harness.hub.directory().edit_agent(&harness.user, "tess", changes).await.unwrap();
    let call = send_until_waiting(&harness, &session).await;
    harness
        .collect(&session, |_| false, async {
            drop(harness.execute(decide(&session, &call, true)).await);
        })
        .await;
    for (bad, complaint) in [
        (json!({"max_steps": -1}), "settings"),
        (json!({"persona": "x"}), "no setting \"persona\""),
        (json!({"permissions": {"x": "perhaps"}}), "settings"),
    ] {
        let serde_json::Value::Object(bad) = bad else { unreachable!() };
        let refused =
            harness.hub.directory().edit_agent(&harness.user, "tess", bad).await.unwrap_err();
        assert!(refused.reason.contains(complaint), "{}", refused.reason);
    }
    let cleared = json!({"permissions": {"calculator": null}});
    let serde_json::Value::Object(cleared) = cleared else { unreachable!() };
    let profile = harness.hub.directory().edit_agent(&harness.user, "tess", cleared).await.unwrap();
    assert!(
        profile.spec.settings.permissions.is_empty() && profile.spec.settings.max_steps == Some(3)
    );
    let _home: Arc<ScriptedModel> = script;
}

#[tokio::test]
async fn calls_above_the_limit_of_open_approvals_are_refused() {
    let piece = |index| {
        let name = "calculator".to_owned();
        [
            ReplyPiece::Call { index, name, provider_id: None },
            ReplyPiece::Args { index, json: json!({"expression": "6*7"}).to_string() },
        ]
    };
    let three: Vec<ReplyPiece> = (0..3).flat_map(piece).chain([done()]).collect();
    let script = ScriptedModel::new([three, text("Done.")]);
    let dir = tempfile::tempdir().unwrap();
    let limit = HubOptions { open_approvals: 2, ..HubOptions::default() };
    let harness = AgentHarness::scripted_within(dir.path(), &script, asking(), limit).await;
    let (_, session) = harness.agent("tess", Default::default()).await;
    let is_returned = |emission: &Emission| {
        matches!(emission, Emission::Record(record) if matches!(
            record.event,
            Event::Turn(TurnEvent::ToolReturned { .. }))
        )
    };
    let log = harness
        .collect(&session, is_returned, harness.send(&session, "6*7, three times?", Policy::Queue))
        .await;
    let asked = |event: &Event| matches!(event, Event::Turn(TurnEvent::ApprovalAsked { .. }));
    assert_eq!(log.records.iter().filter(|record| asked(&record.event)).count(), 2);
    let refused = "2 calls wait for approval already, so this one was not asked for and not made.";
    assert_eq!(log.returned(), [(ToolStatus::Error, refused)]);
    let calls: Vec<CallId> = log
        .records
        .iter()
        .filter_map(|record| {
            if let Event::Turn(TurnEvent::ApprovalAsked { call, .. }) = &record.event {
                Some(call.clone())
            } else {
                None
            }
        })
        .collect();
    let decide = async {
        for call in &calls {
            harness.execute(decide(&session, call, true)).await;
        }
    };
    let log = harness.collect(&session, |_| false, decide).await;
    assert_eq!(log.returned(), [(ToolStatus::Success, "42"), (ToolStatus::Success, "42")]);
    assert_eq!(log.end().0, "Completed");
}
