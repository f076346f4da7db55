//! Leave for calls, and calls that clients run: across clients, restarts and time.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use thoughtwire_agent::{AgentOptions, Piece};
use thoughtwire_hub::HubOptions;
use thoughtwire_proto::{
    AgentSpec, CallId, Command, Decision, Emission, Event, Permission, Policy, SessionCommand,
    SessionId, ToolDeclaration, ToolStatus, TurnEvent,
};

use crate::home::{Home, Script, Told, call, done, options, text};

/// Options of a server whose agents must ask for the calculator.
fn asking() -> AgentOptions {
    AgentOptions {
        permissions: [("calculator".to_owned(), Permission::Ask)].into(),
        ..options("offline")
    }
}

fn sum() -> Vec<Piece> {
    call("calculator", &json!({"expression": "6*7"}))
}

fn is_asked(emission: &Emission) -> bool {
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

fn asked(told: &Told) -> CallId {
    let found = told.records.iter().find_map(|record| {
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
    found.expect("nothing waits")
}

fn decide(session: &SessionId, call: &CallId, approve: bool) -> Command {
    SessionCommand::Decide { call: call.clone(), approve }.on(session.clone())
}

/// Says something and stops listening when a call waits.
async fn until_asked(home: &Home, session: &SessionId) -> CallId {
    asked(&home.listen(session, is_asked, home.send(session, "6*7?", Policy::Queue)).await)
}

#[tokio::test]
async fn a_yes_runs_the_call_and_a_no_is_told_to_the_model() {
    for (approve, result) in [
        (true, (ToolStatus::Success, "42")),
        (false, (ToolStatus::Error, "The owner denied this call.")),
    ] {
        let script = Script::new([sum(), text("Done.")]);
        let home = Home::scripted(&script, asking());
        let (_, session) = home.agent("tess", Default::default()).await;
        let call = until_asked(&home, &session).await;
        let told = home
            .listen(&session, |_| false, async {
                drop(home.execute(decide(&session, &call, approve)).await);
            })
            .await;
        assert_eq!(told.returned(), [result]);
        assert_eq!(
            told.kinds(),
            ["approval_settled", "tool_returned", "usage", "message", "turn_ended"]
        );
    }
}

#[tokio::test]
async fn of_two_who_answer_at_once_one_wins() {
    let script = Script::new([sum(), text("Done.")]);
    let home = Home::scripted(&script, asking());
    let (_, session) = home.agent("tess", Default::default()).await;
    let call = until_asked(&home, &session).await;
    let answer = |approve| {
        let command = SessionCommand::Decide { call: call.clone(), approve };
        let from = Some(format!("client {approve}"));
        home.hub.execute(&home.user, from, None, session.clone(), command)
    };
    let both = async {
        let (yes, no) = tokio::join!(answer(true), answer(false));
        assert_eq!(usize::from(yes.is_ok()) + usize::from(no.is_ok()), 1, "{yes:?} {no:?}");
        let refusal = yes.err().or(no.err()).unwrap();
        assert_eq!(refusal.code.as_str(), "unknown_call");
    };
    let told = home.listen(&session, |_| false, both).await;
    let settled: Vec<_> = told
        .records
        .iter()
        .filter(|record| matches!(record.event, Event::Turn(TurnEvent::ApprovalSettled { .. })))
        .collect();
    assert_eq!(settled.len(), 1);
    assert_eq!(told.end().0, "Completed");
}

#[tokio::test]
async fn nobody_answers_and_a_cancel_makes_it_void() {
    let script = Script::new([sum(), text("Late."), sum()]);
    let home = Home::scripted(&script, AgentOptions { approval_ms: 200, ..asking() });
    let (_, session) = home.agent("tess", Default::default()).await;
    let told = home.say(&session, "6*7?").await;
    assert!(
        told.returned()[0].1.contains("Nobody approved this call in time"),
        "{:?}",
        told.returned()
    );
    let decisions = |told: &Told| -> Vec<Decision> {
        told.records
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
    assert_eq!(decisions(&told), [Decision::Expired]);
    drop(home);

    let script = Script::new([sum()]);
    let home = Home::scripted(&script, asking());
    let (_, session) = home.agent("tess", Default::default()).await;
    until_asked(&home, &session).await;
    let cancel = async {
        drop(home.execute(SessionCommand::Cancel { turn: None }.on(session.clone())).await);
    };
    let told = home.listen(&session, |_| false, cancel).await;
    assert_eq!(decisions(&told), [Decision::Void]);
    assert_eq!(told.returned(), [(ToolStatus::Error, "abandoned")]);
}

#[tokio::test]
async fn a_denied_tool_is_not_offered_and_not_run() {
    let script = Script::new([sum(), text("Well.")]);
    let options = AgentOptions {
        permissions: [("calc*".to_owned(), Permission::Deny)].into(),
        ..options("offline")
    };
    let home = Home::scripted(&script, options);
    let (_, session) = home.agent("tess", Default::default()).await;
    let told = home.say(&session, "6*7?").await;
    assert!(told.returned()[0].1.contains("may not be used here"), "{:?}", told.returned());
    let prompt = &script.prompts()[0];
    assert!(prompt.tools.iter().all(|tool| tool.name != "calculator" && tool.name != "fetch_url"));
}

/// A home in a directory, killed or stopped in the middle of a turn by a copy of its files.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "lock" {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn a_question_survives_a_crash_and_its_turn_goes_on_from_the_log() {
    let (dir, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let two = vec![
        Piece::Thought("Two sums.".to_owned()),
        Piece::Call { index: 0, name: "calculator".to_owned(), provider_id: Some("p0".to_owned()) },
        Piece::Args { index: 0, json: json!({"expression": "6*7"}).to_string() },
        Piece::Call {
            index: 1,
            name: "current_time".to_owned(),
            provider_id: Some("p1".to_owned()),
        },
        Piece::Args { index: 1, json: json!({"timezone": "UTC"}).to_string() },
        done(),
    ];
    let home = Home::scripted_in(dir.path(), &Script::new([two]), asking());
    let (_, session) = home.agent("tess", Default::default()).await;
    // The other call is over when the first is asked for.
    let is_over = |emission: &Emission| {
        matches!(emission, Emission::Record(record) if matches!(
            record.event,
            Event::Turn(TurnEvent::ToolReturned { .. }))
        )
    };
    let told = home.listen(&session, is_over, home.send(&session, "6*7?", Policy::Queue)).await;
    let call = home.hub.store().session(&session).unwrap().unwrap().state.turn().unwrap().calls[0]
        .call
        .clone();
    assert_eq!(told.returned().len(), 1);
    copy(dir.path(), crashed.path());

    let script = Script::new([text("It is 42.")]);
    let home = Home::scripted_in(crashed.path(), &script, asking());
    let told = home
        .listen(&session, |_| false, async {
            drop(home.execute(decide(&session, &call, true)).await);
        })
        .await;
    assert_eq!(told.returned(), [(ToolStatus::Success, "42")]);
    assert_eq!((told.message().as_str(), told.end().0.as_str()), ("It is 42.", "Completed"));
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
async fn what_is_forbidden_since_it_was_asked_about_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::scripted_in(dir.path(), &Script::new([sum()]), asking());
    let (_, session) = home.agent("tess", Default::default()).await;
    let call = until_asked(&home, &session).await;
    home.close().await;

    let denying = AgentOptions {
        permissions: [("calculator".to_owned(), Permission::Deny)].into(),
        ..options("offline")
    };
    let home = Home::scripted_in(dir.path(), &Script::new([text("I may not.")]), denying);
    let told = home
        .listen(&session, |_| false, async {
            drop(home.execute(decide(&session, &call, true)).await);
        })
        .await;
    let returned = told.returned();
    assert_eq!(returned.len(), 1);
    assert_eq!(returned[0].0, ToolStatus::Error);
    assert!(returned[0].1.contains("may not be used"), "{returned:?}");
}

fn kind(entry: &thoughtwire_agent::Chat) -> &'static str {
    use thoughtwire_agent::Chat;
    match entry {
        Chat::Note(_) => "note",
        Chat::Kept(_) => "kept",
        Chat::User(_) => "user",
        Chat::Thought(_) => "thought",
        Chat::Message(_) => "message",
        Chat::Called { .. } => "called",
        Chat::Returned { .. } => "returned",
    }
}

#[tokio::test]
async fn a_planned_stop_parks_the_turn_without_waiting_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::scripted_in(dir.path(), &Script::new([sum()]), asking());
    let (_, session) = home.agent("tess", Default::default()).await;
    let call = until_asked(&home, &session).await;
    home.close().await;
    let home = Home::scripted_in(dir.path(), &Script::new([text("Still here.")]), asking());
    let told = home
        .listen(&session, |_| false, async {
            drop(home.execute(decide(&session, &call, false)).await);
        })
        .await;
    assert_eq!((told.message().as_str(), told.end().0.as_str()), ("Still here.", "Completed"));
}

fn weather() -> ToolDeclaration {
    let schema =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let serde_json::Value::Object(parameters) = schema else { unreachable!() };
    ToolDeclaration {
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
    let script = Script::new([ask(json!(7)), ask(json!("Oslo")), text("Snow in Oslo.")]);
    let home = Home::scripted(&script, options("offline"));
    let (_, session) = home.agent("tess", Default::default()).await;
    let waits = home
        .listen_with(
            &session,
            vec![weather()],
            is_awaited,
            home.send(&session, "weather?", Policy::Queue),
        )
        .await;
    assert!(
        waits.returned()[0].1.contains("do not fit") && waits.returned()[0].1.contains("/city"),
        "{:?}",
        waits.returned()
    );
    let call = asked(&waits);
    let answers = async {
        home.execute(tool_return(&session, &call, "Snow.")).await;
        let again = returned(&call, "Sun.");
        let again = home.hub.execute(&home.user, None, None, session.clone(), again);
        let refused = again.await.unwrap_err();
        assert_eq!(refused.code.as_str(), "unknown_call");
    };
    let told = home.listen(&session, |_| false, answers).await;
    assert_eq!(told.returned(), [(ToolStatus::Success, "Snow.")]);
    assert_eq!(told.message(), "Snow in Oslo.");
    let prompts = script.prompts();
    assert!(
        prompts[0]
            .tools
            .iter()
            .any(|tool| tool.name == "weather" && tool.schema["required"][0] == "city")
    );
    // Who left runs nothing any more.
    assert!(prompts[2].tools.iter().all(|tool| tool.name != "weather"));
}

#[tokio::test]
async fn a_client_that_is_silent_times_out_and_one_that_comes_back_after_a_crash_still_answers() {
    let script = Script::new([call("weather", &json!({"city": "Oslo"})), text("Nobody knows.")]);
    let home = Home::scripted(&script, AgentOptions { client_tool_ms: 200, ..options("offline") });
    let (_, session) = home.agent("tess", Default::default()).await;
    let told = home
        .listen_with(
            &session,
            vec![weather()],
            |_| false,
            home.send(&session, "weather?", Policy::Queue),
        )
        .await;
    assert_eq!(told.returned(), [(ToolStatus::Error, "No client ran the tool in time.")]);
    drop(home);

    let (dir, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let home = Home::scripted_in(
        dir.path(),
        &Script::new([call("weather", &json!({"city": "Oslo"}))]),
        options("offline"),
    );
    let (_, session) = home.agent("tess", Default::default()).await;
    let waits = home
        .listen_with(
            &session,
            vec![weather()],
            is_awaited,
            home.send(&session, "weather?", Policy::Queue),
        )
        .await;
    let call = asked(&waits);
    copy(dir.path(), crashed.path());
    let home = Home::scripted_in(crashed.path(), &Script::new([text("Snow.")]), options("offline"));
    let told = home
        .listen(&session, |_| false, async {
            drop(home.execute(tool_return(&session, &call, "It snows.")).await);
        })
        .await;
    assert_eq!(
        (told.returned(), told.message().as_str()),
        (vec![(ToolStatus::Success, "It snows.")], "Snow.")
    );
}

#[tokio::test]
async fn settings_of_an_agent_hold_from_its_next_turn_on() {
    let script = Script::new([text("Plain."), sum(), text("Done.")]);
    let home = Home::scripted(&script, options("offline"));
    let (_, session) =
        home.create(AgentSpec { name: "tess".to_owned(), ..AgentSpec::default() }).await;
    home.say(&session, "Hi").await;
    let changes = json!({"permissions": {"calculator": "ask"}, "max_steps": 3});
    let serde_json::Value::Object(changes) = changes else { unreachable!() };
    home.hub.directory().edit_agent(&home.user, "tess", changes).await.unwrap();
    let call = until_asked(&home, &session).await;
    home.listen(&session, |_| false, async {
        drop(home.execute(decide(&session, &call, true)).await);
    })
    .await;
    for (bad, complaint) in [
        (json!({"max_steps": -1}), "settings"),
        (json!({"persona": "x"}), "no setting \"persona\""),
        (json!({"permissions": {"x": "perhaps"}}), "settings"),
    ] {
        let serde_json::Value::Object(bad) = bad else { unreachable!() };
        let refused = home.hub.directory().edit_agent(&home.user, "tess", bad).await.unwrap_err();
        assert!(refused.reason.contains(complaint), "{}", refused.reason);
    }
    let cleared = json!({"permissions": {"calculator": null}});
    let serde_json::Value::Object(cleared) = cleared else { unreachable!() };
    let profile = home.hub.directory().edit_agent(&home.user, "tess", cleared).await.unwrap();
    assert!(
        profile.spec.settings.permissions.is_empty() && profile.spec.settings.max_steps == Some(3)
    );
    let _home: Arc<Script> = script;
}

#[tokio::test]
async fn of_more_questions_than_may_stand_the_rest_is_not_asked_and_the_model_is_told() {
    let piece = |index| {
        let name = "calculator".to_owned();
        [
            Piece::Call { index, name, provider_id: None },
            Piece::Args { index, json: json!({"expression": "6*7"}).to_string() },
        ]
    };
    let three: Vec<Piece> = (0..3).flat_map(piece).chain([done()]).collect();
    let script = Script::new([three, text("Done.")]);
    let dir = tempfile::tempdir().unwrap();
    let limit = HubOptions { open_approvals: 2, ..HubOptions::default() };
    let home = Home::scripted_within(dir.path(), &script, asking(), limit);
    let (_, session) = home.agent("tess", Default::default()).await;
    let is_returned = |emission: &Emission| {
        matches!(emission, Emission::Record(record) if matches!(
            record.event,
            Event::Turn(TurnEvent::ToolReturned { .. }))
        )
    };
    let told = home
        .listen(&session, is_returned, home.send(&session, "6*7, three times?", Policy::Queue))
        .await;
    assert_eq!(
        told.records
            .iter()
            .filter(|record| matches!(record.event, Event::Turn(TurnEvent::ApprovalAsked { .. })))
            .count(),
        2
    );
    let refused = "2 calls wait for approval already, so this one was not asked for and not made.";
    assert_eq!(told.returned(), [(ToolStatus::Error, refused)]);
    let calls: Vec<CallId> = told
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
            home.execute(decide(&session, call, true)).await;
        }
    };
    let told = home.listen(&session, |_| false, decide).await;
    assert_eq!(told.returned(), [(ToolStatus::Success, "42"), (ToolStatus::Success, "42")]);
    assert_eq!(told.end().0, "Completed");
}
