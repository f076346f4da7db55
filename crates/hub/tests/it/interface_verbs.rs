//! The verbs of the interface, in both forms: the same set, with the same effects.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Map;
use thoughtwire_hub::blocking::{self, OnThreads};
use thoughtwire_hub::{Agent, AgentError, Called, Finish, HubOptions, Turn, TurnError, now};
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::{
    CallId, Decision, Event, Policy, Seq, SessionCommand, SessionEvent, Timestamp, ToolStatus,
    TurnEvent, Usage, Verdict,
};
use tokio::sync::Notify;

use crate::support::{Listener, Room, kinds};

/// Source of a form of the interface by type: the async one, then the blocking one.
const PAIRS: [(&str, &str, &str); 5] = [
    (
        "Interface",
        include_str!("../../src/interface/mod.rs"),
        include_str!("../../src/blocking/interface.rs"),
    ),
    (
        "ToolCalls",
        include_str!("../../src/interface/tool_calls.rs"),
        include_str!("../../src/blocking/tool_calls.rs"),
    ),
    (
        "CoreMemory",
        include_str!("../../src/interface/core_memory.rs"),
        include_str!("../../src/blocking/core_memory.rs"),
    ),
    (
        "TurnControl",
        include_str!("../../src/interface/control.rs"),
        include_str!("../../src/blocking/turn_control.rs"),
    ),
    (
        "ItemWriter",
        include_str!("../../src/item_writer.rs"),
        include_str!("../../src/blocking/item_writer.rs"),
    ),
];

/// Functions of the blocking form that are no verbs: making the form and ending it.
const LIFECYCLE: [&str; 2] = ["new", "close"];

/// Names of the public functions of a type in a source file.
fn public_functions<'a>(source: &'a str, of: &str) -> BTreeSet<&'a str> {
    let block = source
        .split("\nimpl")
        .find(|block| {
            let head = block.lines().next().unwrap_or_default();
            head.trim_start_matches("<'a>").trim_start().starts_with(of)
        })
        .unwrap_or_else(|| panic!("{of} has no impl block"));
    let functions = block.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("pub async fn ").or(line.strip_prefix("pub fn "))?;
        line.split(['(', '<']).next()
    });
    functions.collect()
}

#[test]
fn no_verb_exists_in_one_form_only() {
    for (of, asynchronous, blocking) in PAIRS {
        let expected = public_functions(asynchronous, of);
        assert!(!expected.is_empty(), "{of} has no verbs");
        let mut found = public_functions(blocking, &format!("Blocking{of}"));
        found.retain(|name| !LIFECYCLE.contains(name));
        assert_eq!(found, expected, "{of}: the async and the blocking form differ");
    }
}

fn usage() -> Usage {
    Usage { input_tokens: 1, output_tokens: 2, cached_tokens: None }
}

fn call(id: &str) -> CallId {
    id.parse().unwrap()
}

fn called(id: &str) -> Called {
    Called { call: call(id), name: "walk".into(), args: Map::new(), client_until: None }
}

/// A deadline that no test reaches.
fn later() -> Timestamp {
    Timestamp::from_millis(now().as_millis() + 600_000)
}

/// An agent that uses every verb of the async form. It notifies of the cancel of its turn.
struct EveryVerb(Arc<Notify>);

impl Agent for EveryVerb {
    fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
        let cancelled = Arc::clone(&self.0);
        Box::pin(async move {
            let interface = &turn.interface;
            if interface.user_message() == "wait" {
                assert!(!interface.control().is_cancelled());
                let ended = interface.clone();
                tokio::spawn(async move {
                    ended.control().cancelled().await;
                    assert!(ended.control().is_cancelled());
                    assert_eq!(ended.status("late").await, Err(TurnError::Ended));
                    cancelled.notify_one();
                });
                interface.internal_monologue("waiting").await?;
                return std::future::pending().await;
            }
            assert_eq!((interface.session(), interface.turn()), (&turn.session, &turn.id));
            let client = interface.register_client(Encoding::Native).await.unwrap();
            interface.unregister_client(client.id());
            interface.internal_monologue("hm").await?;
            interface.assistant_message("hello").await?;
            interface.function_message("Running walk({})").await?;
            interface.function_message("Success: walked").await?;
            let mut thought = interface.open_thought();
            thought.write("on second ").await?;
            thought.write("thought").await?;
            assert_eq!(thought.text(), "on second thought");
            let item = thought.item().clone();
            assert_eq!(thought.finish().await?, item);
            let mut changed = interface.open_message();
            changed.write("not for you").await?;
            changed.into_thought().finish().await?;
            interface.status("busy").await?;
            interface.usage(usage()).await?;
            interface.spent(usage()).await?;
            let tools = interface.tools();
            let first = tools.called("walk", Map::new()).await?;
            tools.returned(&first, "walk", ToolStatus::Success, "far", None).await?;
            tools.stream_args(&call("c-1"), "{}").await?;
            tools.called_as(call("c-1"), "walk", Map::new()).await?;
            let (part, whole) = ("far", "far away".to_owned());
            tools.returned_part(&call("c-1"), "walk", ToolStatus::Error, part, whole, None).await?;
            tools.called_together(vec![called("c-2"), called("c-3")]).await?;
            tools.called_keeping(vec![called("c-4")], Some("{}".to_owned())).await?;
            assert_eq!(tools.approval(&call("c-2"), "walk", later()).await?, Decision::Approved);
            tools.returned(&call("c-2"), "walk", ToolStatus::Success, "", None).await?;
            assert_eq!(tools.client_runs(&call("c-3"), later()).await?.text, "by a client");
            assert_eq!(tools.client_tools(), []);
            tools.returned(&call("c-4"), "walk", ToolStatus::Success, "", None).await?;
            let block = interface.memory().edit("human", |_| Ok("Bob".to_owned())).await;
            assert_eq!(block.unwrap().text, "Bob");
            interface.compacted("They met.", Seq(1)).await?;
            let steered = interface.control().steered().await?;
            assert_eq!(steered.iter().map(|input| &*input.text).collect::<Vec<_>>(), ["also"]);
            let mut last = interface.open_message();
            last.write("bye").await?;
            assert_eq!(interface.finish(Some(last.into()), Some(usage())).await?, Finish::Ended);
            Ok(())
        })
    }
}

/// An agent that uses every verb of the blocking form. It notifies of the cancel of its turn.
struct EveryBlockingVerb(Arc<Notify>);

impl blocking::Agent for EveryBlockingVerb {
    fn run(&self, turn: &Turn, interface: &blocking::Interface) -> Result<(), AgentError> {
        if interface.user_message() == "wait" {
            assert!(!interface.control().is_cancelled());
            interface.internal_monologue("waiting")?;
            interface.control().cancelled();
            assert!(interface.control().is_cancelled());
            self.0.notify_one();
            return Ok(());
        }
        assert_eq!((interface.session(), interface.turn()), (&turn.session, &turn.id));
        let client = interface.register_client(Encoding::Native).unwrap();
        interface.unregister_client(client.id());
        interface.internal_monologue("hm")?;
        interface.assistant_message("hello")?;
        interface.function_message("Running walk({})")?;
        interface.function_message("Success: walked")?;
        let mut thought = interface.open_thought();
        thought.write("on second ")?;
        thought.write("thought")?;
        assert_eq!(thought.text(), "on second thought");
        let item = thought.item().clone();
        assert_eq!(thought.finish()?, item);
        let mut changed = interface.open_message();
        changed.write("not for you")?;
        changed.into_thought().finish()?;
        interface.status("busy")?;
        interface.usage(usage())?;
        interface.spent(usage())?;
        let tools = interface.tools();
        let first = tools.called("walk", Map::new())?;
        tools.returned(&first, "walk", ToolStatus::Success, "far", None)?;
        tools.stream_args(&call("c-1"), "{}")?;
        tools.called_as(call("c-1"), "walk", Map::new())?;
        let (part, whole) = ("far", "far away".to_owned());
        tools.returned_part(&call("c-1"), "walk", ToolStatus::Error, part, whole, None)?;
        tools.called_together(vec![called("c-2"), called("c-3")])?;
        tools.called_keeping(vec![called("c-4")], Some("{}".to_owned()))?;
        assert_eq!(tools.approval(&call("c-2"), "walk", later())?, Decision::Approved);
        tools.returned(&call("c-2"), "walk", ToolStatus::Success, "", None)?;
        assert_eq!(tools.client_runs(&call("c-3"), later())?.text, "by a client");
        assert_eq!(tools.client_tools(), []);
        tools.returned(&call("c-4"), "walk", ToolStatus::Success, "", None)?;
        let block = interface.memory().edit("human", |_| Ok("Bob".to_owned()));
        assert_eq!(block.unwrap().text, "Bob");
        interface.compacted("They met.", Seq(1))?;
        let steered = interface.control().steered()?;
        assert_eq!(steered.iter().map(|input| &*input.text).collect::<Vec<_>>(), ["also"]);
        let mut last = interface.open_message();
        last.write("bye")?;
        assert_eq!(interface.finish(Some(last.into()), Some(usage()))?, Finish::Ended);
        Ok(())
    }
}

/// Agents of both forms.
fn forms(cancelled: &Arc<Notify>) -> [Arc<dyn Agent>; 2] {
    let asynchronous = EveryVerb(Arc::clone(cancelled));
    let blocking = EveryBlockingVerb(Arc::clone(cancelled));
    [Arc::new(asynchronous), Arc::new(OnThreads::new(blocking, 2))]
}

/// Answers the agent's questions, and has an input join its turn, until the turn ends.
async fn answer_questions(room: &Room, listener: &mut Listener) {
    listener
        .until_event(|event| matches!(event, Event::Turn(TurnEvent::ApprovalAsked { .. })))
        .await;
    room.send_as(None, "also", Policy::Steer).await.unwrap();
    let decide =
        SessionCommand::Decide { call: call("c-2"), decision: Verdict::Approved, result: None };
    room.ask(None, decide.on(room.session.clone())).await.unwrap();
    listener.until_event(|event| matches!(event, Event::Turn(TurnEvent::ToolAwaited { .. }))).await;
    let returned = SessionCommand::ToolReturn {
        call: call("c-3"),
        status: ToolStatus::Success,
        text: "by a client".to_owned(),
        content: None,
    };
    room.ask(None, returned.on(room.session.clone())).await.unwrap();
    listener.turn().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_has_the_same_effect_in_both_forms() {
    for agent in forms(&Arc::default()) {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::with(dir.path(), agent, HubOptions::default()).await;
        let (_, mut listener) = room.after(0).await;
        room.send("go").await.unwrap();
        answer_questions(&room, &mut listener).await;
        let log = room.log().await;
        let expected = "session_opened user_message turn_started thought message tool_called \
             tool_returned thought thought usage tool_called tool_returned tool_called \
             tool_returned tool_called tool_called tool_called approval_asked user_message \
             approval_settled tool_returned tool_awaited tool_returned tool_returned \
             memory_edited compacted usage message turn_ended";
        assert_eq!(
            kinds(&log).join(" "),
            expected.split_whitespace().collect::<Vec<_>>().join(" ")
        );
        let summary = log.iter().find_map(|event| match event {
            Event::Session(SessionEvent::Compacted { summary, .. }) => Some(summary.as_str()),
            _ => None,
        });
        assert_eq!(summary, Some("They met."));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_forms_are_told_of_a_cancel_and_say_nothing_more() {
    let cancelled = Arc::new(Notify::new());
    for agent in forms(&cancelled) {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::with(dir.path(), agent, HubOptions::default()).await;
        let (_, mut listener) = room.after(0).await;
        room.send("wait").await.unwrap();
        listener.until_event(|event| matches!(event, Event::Turn(TurnEvent::Thought { .. }))).await;
        room.cancel().await.unwrap();
        listener.turn().await;
        tokio::time::timeout(Duration::from_secs(10), cancelled.notified()).await.unwrap();
        room.hub.stop(Duration::ZERO).await;
        let expected = ["session_opened", "user_message", "turn_started", "thought", "turn_ended"];
        assert_eq!(kinds(&room.log().await), expected);
    }
}

#[test]
fn a_failed_verb_of_the_blocking_form_is_reported_by_the_next_and_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = blocking::Embedded::open(dir.path(), "ada").unwrap();
    let turn = embedded.user_message("hello").unwrap();
    turn.internal_monologue("").unwrap();
    let refused = std::iter::repeat_with(|| turn.status("on")).find_map(Result::err).unwrap();
    assert!(matches!(refused, TurnError::Illegal(_)), "{refused:?}");
    assert_eq!(turn.finish(None, None), Err(refused.clone()));
    assert_eq!(turn.close(), Err(refused));
    embedded.close();
}
