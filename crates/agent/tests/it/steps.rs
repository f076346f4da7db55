//! The step loop: heartbeats, limits, faults and prompts.

use std::time::Duration;

use serde_json::json;
use thoughtwire_agent::{AgentOptions, ModelError, PromptEntry, ReplyEnd, ReplyPiece};
use thoughtwire_proto::{
    AgentSpec, Command, CommandReply, DirectoryCommand, DirectoryReply, Emission, Event,
    HistoryEntry, Policy, Role, SessionCommand, StreamKind, Style, ToolStatus, TurnEvent,
};

use crate::harness::{AgentHarness, ScriptedModel, call, done, options, text};

#[tokio::test]
async fn in_memgpt_style_a_turn_continues_on_request_or_after_a_failure() {
    let sum = |heartbeat| {
        call("calculator", &json!({"expression": "1+1", "request_heartbeat": heartbeat}))
    };
    let failing = call("calculator", &json!({"expression": "1/0", "request_heartbeat": false}));
    let goodbye = call("send_message", &json!({"message": "Bye."}));
    let cases = [
        // The person has not received a message yet.
        (vec![sum(false), goodbye.clone()], 2),
        (vec![[text("Hello.").remove(0)].into_iter().chain(sum(false)).collect()], 1),
        (vec![sum(true), goodbye.clone()], 2),
        (vec![failing, goodbye.clone()], 2),
        (vec![goodbye], 1),
        (vec![text("…")], 1),
    ];
    for (replies, steps) in cases {
        let script = ScriptedModel::new(replies.clone());
        let harness = AgentHarness::scripted(&script, options("offline")).await;
        let (_, session) = harness.agent("tess", Style::Memgpt).await;
        let log = harness.run_turn(&session, "go").await;
        assert_eq!(log.end().0, "Completed", "{replies:?}: {:?}", log.end());
        assert_eq!(script.prompts().len(), steps, "{replies:?}");
    }
}

#[tokio::test]
async fn in_native_style_every_result_goes_back_to_the_model() {
    let script =
        ScriptedModel::new([call("calculator", &json!({"expression": "6*7"})), text("It is 42.")]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let log = harness.run_turn(&session, "6*7?").await;
    assert_eq!(log.message(), "It is 42.");
    let usage = log.usage().unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (20, 4));
    let prompts = script.prompts();
    let last = prompts[1].chat.last().unwrap();
    assert!(
        matches!(
            &**last,
            PromptEntry::Returned { status: ToolStatus::Success, text, .. } if text == "42"
        ),
        "{last:?}"
    );
    let names: Vec<&str> = prompts[0].tools.iter().map(|tool| tool.name.as_str()).collect();
    assert!(!names.contains(&"send_message") && names.contains(&"core_memory_append"), "{names:?}");
}

#[tokio::test]
async fn in_memgpt_style_all_eight_tools_are_offered_with_their_parameters() {
    let script = ScriptedModel::new([text("hm")]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Memgpt).await;
    harness.run_turn(&session, "go").await;
    let prompts = script.prompts();
    let offered: Vec<(String, Vec<String>)> = prompts[0]
        .tools
        .iter()
        .map(|tool| {
            (
                tool.name.clone(),
                tool.schema["properties"].as_object().unwrap().keys().cloned().collect(),
            )
        })
        .collect();
    let expected: [(&str, &[&str]); 10] = [
        ("send_message", &["message"]),
        ("core_memory_append", &["name", "content", "request_heartbeat"]),
        ("core_memory_replace", &["name", "old_content", "new_content", "request_heartbeat"]),
        ("conversation_search", &["query", "page", "request_heartbeat"]),
        ("conversation_search_date", &["start_date", "end_date", "page", "request_heartbeat"]),
        ("archival_memory_insert", &["content", "request_heartbeat"]),
        ("archival_memory_search", &["query", "page", "request_heartbeat"]),
        ("pause_heartbeats", &["minutes"]),
        ("calculator", &["expression", "request_heartbeat"]),
        ("current_time", &["timezone", "request_heartbeat"]),
    ];
    for ((name, params), (expected_name, expected_params)) in offered.iter().zip(expected) {
        assert_eq!(
            (name.as_str(), params.iter().map(String::as_str).collect::<Vec<_>>().as_slice()),
            (expected_name, expected_params)
        );
    }
    assert_eq!(offered.len(), expected.len());
}

#[tokio::test]
async fn an_endless_turn_stops_at_the_step_limit() {
    let sum = || call("calculator", &json!({"expression": "1+1"}));
    let script = ScriptedModel::new((0..10).map(|_| sum()));
    let harness =
        AgentHarness::scripted(&script, AgentOptions { max_steps: 3, ..options("offline") }).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let log = harness.run_turn(&session, "go").await;
    let (outcome, code, reason) = log.end();
    assert_eq!((outcome.as_str(), code.as_str()), ("Failed", "step_limit"));
    assert!(reason.contains("3 steps"), "{reason}");
    assert_eq!(log.usage().unwrap().input_tokens, 30, "the cost is reported anyway");
}

#[tokio::test]
async fn invalid_calls_return_an_error_to_the_model() {
    let begin =
        |name: &str| ReplyPiece::Call { index: 0, name: name.to_owned(), provider_id: None };
    let args = |json: &str| ReplyPiece::Args { index: 0, json: json.to_owned() };
    for (pieces, complaint) in [
        (vec![begin("calculator"), args("{\"expression\": "), done()], "are not a JSON object"),
        (vec![begin("calculator"), args("[1]"), done()], "are not a JSON object"),
        (vec![begin("calculator"), done()], "calculator needs `expression`"),
        (
            vec![begin("rm"), args("{}"), done()],
            "There is no tool `rm`. There are: core_memory_append",
        ),
    ] {
        let script = ScriptedModel::new([pieces, text("Sorry.")]);
        let harness = AgentHarness::scripted(&script, options("offline")).await;
        let (_, session) = harness.agent("tess", Style::Native).await;
        let log = harness.run_turn(&session, "go").await;
        let (status, text) = log.returned()[0];
        assert!(status == ToolStatus::Error && text.contains(complaint), "{text}");
        assert_eq!(log.message(), "Sorry.");
    }
}

#[tokio::test]
async fn a_sent_message_is_streamed_from_its_arguments() {
    let json = json!({"message": "Tea \u{1F375}, \"please\"\nnow\u{0}"})
        .to_string()
        .replace('\u{1F375}', "\\ud83c\\udf75");
    for size in 1..=json.len() {
        let mut pieces =
            vec![ReplyPiece::Call { index: 0, name: "send_message".to_owned(), provider_id: None }];
        pieces.extend(json.as_bytes().chunks(size).map(|chunk| ReplyPiece::Args {
            index: 0,
            json: String::from_utf8(chunk.to_vec()).unwrap(),
        }));
        pieces.push(done());
        let script = ScriptedModel::new([pieces]);
        let harness = AgentHarness::scripted(&script, options("offline")).await;
        let (_, session) = harness.agent("tess", Style::Memgpt).await;
        let log = harness.run_turn(&session, "go").await;
        assert_eq!(log.message(), "Tea \u{1F375}, \"please\"\nnow\u{0}", "pieces of {size}");
        assert_eq!(log.streamed(StreamKind::Message).concat(), log.message(), "pieces of {size}");
        assert_eq!(
            log.kinds(),
            [
                "user_message",
                "turn_started",
                "tool_called",
                "message",
                "tool_returned",
                "usage",
                "turn_ended"
            ]
        );
    }
}

#[tokio::test]
async fn a_message_behind_other_keys_is_sent_whole() {
    let json = r#"{"mood": "warm", "message": "Tea?"}"#;
    let pieces = vec![
        ReplyPiece::Call { index: 0, name: "send_message".to_owned(), provider_id: None },
        ReplyPiece::Args { index: 0, json: json.to_owned() },
        done(),
    ];
    let harness = AgentHarness::scripted(&ScriptedModel::new([pieces]), options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Memgpt).await;
    assert_eq!(harness.run_turn(&session, "go").await.message(), "Tea?");
}

#[tokio::test]
async fn a_reply_that_is_cut_off_fails_and_keeps_its_part() {
    let script = ScriptedModel::of_results([vec![
        Ok(ReplyPiece::Thought("Hm.".to_owned())),
        Ok(ReplyPiece::Message("Once upon".to_owned())),
    ]]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let log = harness.run_turn(&session, "a story").await;
    assert_eq!((log.end().0.as_str(), log.end().1.as_str()), ("Failed", "model_cut"));
    let part = log.records.iter().find_map(|record| {
        if let Event::Turn(TurnEvent::Message { text, complete, .. }) = &record.event {
            Some((text.as_str(), *complete))
        } else {
            None
        }
    });
    assert_eq!(part, Some(("Once upon", false)));
}

#[tokio::test]
async fn a_busy_model_is_retried_only_before_any_output() {
    let busy = || {
        Err(ModelError::Busy {
            reason: "too busy".to_owned(),
            retry_after: Some(Duration::from_millis(1)),
        })
    };
    let script = ScriptedModel::of_results([
        vec![busy()],
        vec![busy()],
        text("At last.").into_iter().map(Ok).collect(),
    ]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let log = harness.run_turn(&session, "go").await;
    assert_eq!(log.message(), "At last.");
    assert_eq!(log.statuses.len(), 2, "{:?}", log.statuses);

    let script = ScriptedModel::of_results([
        vec![Ok(ReplyPiece::Message("Well".to_owned())), busy()],
        text("never").into_iter().map(Ok).collect(),
    ]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let log = harness.run_turn(&session, "go").await;
    assert_eq!((log.end().1.as_str(), script.prompts().len()), ("model_busy", 1));
}

#[tokio::test]
async fn the_prompt_has_persona_instructions_imported_history_and_the_past() {
    let script = ScriptedModel::new([
        call("calculator", &json!({"expression": "1+1"})),
        text("Two."),
        text("Yes."),
    ]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    harness
        .create(AgentSpec {
            name: "tess".to_owned(),
            persona: Some("I am a pirate.".to_owned()),
            style: Some(Style::Native),
            ..AgentSpec::default()
        })
        .await;
    let history = vec![
        HistoryEntry { role: Role::User, text: "Ahoy".to_owned() },
        HistoryEntry { role: Role::Assistant, text: "Arr".to_owned() },
    ];
    let command = Command::Directory(DirectoryCommand::CreateSession {
        agent: "tess".to_owned(),
        title: None,
        instructions: Some("Rhyme.".to_owned()),
        history,
    });
    let CommandReply::Directory(DirectoryReply::Session { session, .. }) =
        harness.execute(command).await
    else {
        panic!("no session")
    };
    harness.run_turn(&session, "1+1?").await;
    harness.run_turn(&session, "Sure?").await;
    let prompts = script.prompts();
    let prompt = &prompts[2];
    assert!(
        prompt.system.contains("I am a pirate.") && prompt.system.contains("Rhyme."),
        "{}",
        prompt.system
    );
    let words: Vec<String> = prompt
        .chat
        .iter()
        .map(|entry| match &**entry {
            PromptEntry::User(text)
            | PromptEntry::Message(text)
            | PromptEntry::Thought(text)
            | PromptEntry::Note(text)
            | PromptEntry::Returned { text, .. } => text.clone(),
            PromptEntry::Called { name, .. } => name.clone(),
            PromptEntry::ProviderState(_) => String::new(),
        })
        .collect();
    assert_eq!(words, ["Ahoy", "Arr", "1+1?", "calculator", "2", "Two.", "Sure?"]);
    assert_eq!(prompt.turn_from, 6);
}

#[tokio::test]
async fn a_cancelled_turn_stops_at_once_and_the_next_one_runs() {
    let harness = AgentHarness::new(options("load:items=1000,bytes=10,rate=20")).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let is_message = |emission: &Emission| {
        matches!(emission, Emission::Record(record) if matches!(
            record.event,
            Event::Turn(TurnEvent::Message { .. }))
        )
    };
    harness.collect(&session, is_message, harness.send(&session, "go", Policy::Queue)).await;
    let begun = std::time::Instant::now();
    let cancel = async {
        drop(harness.execute(SessionCommand::Cancel { turn: None }.on(session.clone())).await);
    };
    let log = harness.collect(&session, |_| false, cancel).await;
    assert_eq!(log.end().0, "Cancelled");
    assert!(begun.elapsed() < Duration::from_secs(2));
    let log =
        harness.collect(&session, is_message, harness.send(&session, "go", Policy::Queue)).await;
    assert!(log.message().starts_with("1 "));
}

#[tokio::test]
async fn a_last_whole_message_is_saved_with_the_end_of_the_turn() {
    let script = ScriptedModel::new([vec![
        ReplyPiece::Whole("one".to_owned()),
        ReplyPiece::End(ReplyEnd { last: Some("two".to_owned()), ..ReplyEnd::default() }),
    ]]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Memgpt).await;
    let log = harness.run_turn(&session, "go").await;
    assert_eq!(log.kinds(), ["user_message", "turn_started", "message", "message", "turn_ended"]);
    assert!(log.deltas.is_empty());
}

#[tokio::test]
async fn a_turn_names_the_limit_that_ended_it() {
    let calculate = || call("calculator", &json!({"expression": "1+1"}));
    let script = ScriptedModel::new((0..20).map(|_| calculate()));
    let harness = AgentHarness::scripted(
        &script,
        AgentOptions { token_budget: Some(30), ..options("offline") },
    )
    .await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let log = harness.run_turn(&session, "go").await;
    // Each reply costs 12 tokens: after the third one the budget is spent.
    assert_eq!((log.end().1.as_str(), log.called().len()), ("token_budget", 3), "{:?}", log.end());
    assert!(log.end().2.contains("36 tokens") && log.end().2.contains("30"), "{}", log.end().2);
    assert_eq!(log.usage().unwrap().input_tokens, 30, "the cost is reported anyway");
    let serde_json::Value::Object(changes) = json!({"max_steps": 2, "token_budget": 1_000}) else {
        unreachable!()
    };
    harness.hub.directory().edit_agent(&harness.user, "tess", changes).await.unwrap();
    let log = harness.run_turn(&session, "go on").await;
    assert_eq!((log.end().1.as_str(), log.called().len()), ("step_limit", 2));
}

#[tokio::test]
async fn a_long_output_is_cut_with_a_note_and_stored_whole() {
    let search = call("archival_memory_search", &json!({"query": "parrot"}));
    let script = ScriptedModel::new([search, text("Found.")]);
    let harness =
        AgentHarness::scripted(&script, AgentOptions { output_bytes: 200, ..options("offline") })
            .await;
    let (agent, session) = harness.agent("tess", Style::Native).await;
    let note = thoughtwire_agent::Archive::note(
        format!("parrot {}", "ä".repeat(2_000)),
        thoughtwire_hub::now(),
        None,
    );
    harness.hub.store().memory().add_notes(&agent, vec![note], u64::MAX, None).await.unwrap();
    let log = harness.run_turn(&session, "look").await;
    let (_, part) = log.returned()[0];
    assert!(
        part.len() < 500 && part.contains("[cut here: 199 of ") && part.contains("/output]"),
        "{part}"
    );
    let call = log.records.iter().find_map(|record| {
        if let Event::Turn(TurnEvent::ToolReturned { call, .. }) = &record.event {
            Some(call)
        } else {
            None
        }
    });
    let whole = harness
        .hub
        .store()
        .logs()
        .tool_output(&session, call.unwrap())
        .await
        .unwrap()
        .expect("the whole output is stored");
    assert!(whole.len() > 4_000 && whole.ends_with('ä'));
    let PromptEntry::Returned { text, .. } = (**script.prompts()[1].chat.last().unwrap()).clone()
    else {
        panic!("no result")
    };
    assert_eq!(text, part, "the model sees the same text as the event");
}

#[tokio::test]
async fn an_input_that_joins_during_a_call_follows_its_result_in_later_prompts() {
    let tool = thoughtwire_proto::ToolDeclaration {
        replay: None,
        name: "door".to_owned(),
        description: String::new(),
        parameters: serde_json::Map::new(),
    };
    let script =
        ScriptedModel::new([call("door", &json!({})), text("Open, and quickly."), text("Next.")]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let waits = |emission: &Emission| {
        matches!(emission, Emission::Record(record) if matches!(
            record.event,
            Event::Turn(TurnEvent::ToolAwaited { .. }))
        )
    };
    let waiting = harness
        .collect_with_tools(
            &session,
            vec![tool],
            waits,
            harness.send(&session, "open the door", Policy::Queue),
        )
        .await;
    let call = waiting.records.iter().find_map(|record| {
        if let Event::Turn(TurnEvent::ToolAwaited { call, .. }) = &record.event {
            Some(call.clone())
        } else {
            None
        }
    });
    let answer = async {
        harness.send(&session, "quickly!", Policy::Steer).await;
        let (call, text) = (call.unwrap(), "open".to_owned());
        harness
            .execute(
                SessionCommand::ToolReturn {
                    call,
                    status: ToolStatus::Success,
                    text,
                    content: None,
                }
                .on(session.clone()),
            )
            .await;
    };
    assert_eq!(harness.collect(&session, |_| false, answer).await.end().0, "Completed");
    harness.run_turn(&session, "and now?").await;
    let prompts = script.prompts();
    for prompt in [&prompts[1], &prompts[2]] {
        let at = prompt
            .chat
            .iter()
            .position(|entry| matches!(**entry, PromptEntry::Called { .. }))
            .unwrap();
        assert!(matches!(&*prompt.chat[at + 1], PromptEntry::Returned { .. }), "{:?}", prompt.chat);
        assert!(
            matches!(&*prompt.chat[at + 2], PromptEntry::User(text) if text == "quickly!"),
            "{:?}",
            prompt.chat
        );
    }
    let door = prompts[0].tools.iter().find(|tool| tool.name == "door").unwrap();
    assert_eq!(
        door.schema,
        json!({"type": "object", "properties": {}}),
        "the schema is completed for providers"
    );
}

#[tokio::test]
async fn a_cancelled_turn_reports_its_usage() {
    let tool = thoughtwire_proto::ToolDeclaration {
        replay: None,
        name: "door".to_owned(),
        description: String::new(),
        parameters: serde_json::Map::new(),
    };
    let script = ScriptedModel::new([
        call("calculator", &json!({"expression": "1+1"})),
        call("door", &json!({})),
    ]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let waits = |emission: &Emission| {
        matches!(emission, Emission::Record(record) if matches!(
            record.event,
            Event::Turn(TurnEvent::ToolAwaited { .. }))
        )
    };
    harness
        .collect_with_tools(
            &session,
            vec![tool],
            waits,
            harness.send(&session, "open the door", Policy::Queue),
        )
        .await;
    let cancel = async {
        drop(harness.execute(SessionCommand::Cancel { turn: None }.on(session.clone())).await);
    };
    let log = harness.collect(&session, |_| false, cancel).await;
    assert_eq!((log.end().0.as_str(), log.usage().unwrap().input_tokens), ("Cancelled", 20));
    assert_eq!(log.kinds(), ["tool_returned", "usage", "turn_ended"]);
}
