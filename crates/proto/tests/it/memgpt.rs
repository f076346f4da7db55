//! `MemGPT`'s dialect: recorded frames, and the connection machine.

use proptest::prelude::*;
use serde::Deserialize;
use thoughtwire_proto::connection::{Encoding, Machine, Output, Tag};
use thoughtwire_proto::dialect::memgpt::{
    MemgptClientFrame, MemgptFrame, MemgptMachine, MemgptServerFrame, ResponseKind, encode,
    normalise, render,
};
use thoughtwire_proto::{
    AgentProfile, AgentSpec, Attached, Command, CommandReply, ConnectionCommand, ConnectionReply,
    DirectoryCommand, DirectoryReply, Disposition, Emission, Event, InputEvent, Outcome, PeerRef,
    Record, RefusalCode, Seq, SessionCommand, SessionEmission, SessionEvent, SessionReply, Start,
    TurnEvent,
};

#[derive(Deserialize)]
struct MemgptRow {
    r#fn: Option<String>,
    wire: String,
    error: Option<RefusalCode>,
}

fn function(frame: &MemgptFrame) -> &'static str {
    match frame {
        MemgptFrame::Client(MemgptClientFrame::UserMessage { .. }) => "client_user_message",
        MemgptFrame::Client(MemgptClientFrame::CreateAgent { .. }) => "client_command_create",
        MemgptFrame::Client(MemgptClientFrame::LoadAgent { .. }) => "client_command_load",
        MemgptFrame::Server(MemgptServerFrame::Error(_)) => "server_error",
        MemgptFrame::Server(MemgptServerFrame::CommandResponse(_)) => "server_command_response",
        MemgptFrame::Server(MemgptServerFrame::ResponseError(_)) => "server_agent_response_error",
        MemgptFrame::Server(MemgptServerFrame::ResponseStart) => "server_agent_response_start",
        MemgptFrame::Server(MemgptServerFrame::ResponseEnd) => "server_agent_response_end",
        MemgptFrame::Server(MemgptServerFrame::Response(ResponseKind::InternalMonologue, _)) => {
            "server_agent_internal_monologue"
        }
        MemgptFrame::Server(MemgptServerFrame::Response(ResponseKind::AssistantMessage, _)) => {
            "server_agent_assistant_message"
        }
        MemgptFrame::Server(MemgptServerFrame::Response(ResponseKind::FunctionMessage, _)) => {
            "server_agent_function_message"
        }
    }
}

#[test]
fn every_recorded_frame_is_read_and_written_back() {
    let mut functions = std::collections::BTreeSet::new();
    for line in include_str!("../../../../vectors/memgpt.jsonl").lines() {
        let row: MemgptRow = serde_json::from_str(line).unwrap();
        match (MemgptFrame::decode(&row.wire), row.error) {
            (Ok(frame), None) => {
                assert_eq!(Some(function(&frame)), row.r#fn.as_deref(), "{}", row.wire);
                functions.insert(function(&frame));
                // 0.3.25 does not escape non-ASCII characters, so texts and key orders are compared
                // as JSON.
                let ours =
                    serde_json::from_str::<serde_json::Value>(&frame.encode()).unwrap().to_string();
                let theirs =
                    serde_json::from_str::<serde_json::Value>(&row.wire).unwrap().to_string();
                assert_eq!(ours, theirs);
                assert_eq!(MemgptFrame::decode(&frame.encode()).unwrap(), frame);
                assert_eq!(render(&normalise(&row.wire).unwrap()).unwrap(), frame.encode());
            }
            (Err(refusal), Some(code)) => assert_eq!(refusal.code, code, "{}", row.wire),
            (outcome, _) => panic!("{}: {outcome:?}", row.wire),
        }
    }
    assert_eq!(functions.len(), 11, "all eleven functions");
}

proptest! {
    #[test]
    fn any_text_is_answered(text in ".*") {
        drop(MemgptFrame::decode(&text));
        let mut machine = MemgptMachine::new(None);
        machine.frame(&text);
        prop_assert!(machine.poll().is_some(), "it is answered");
    }

    #[test]
    fn written_frames_are_read_back(message in any::<String>(), key in any::<String>()) {
        let frame = MemgptServerFrame::response(ResponseKind::AssistantMessage, &message).encode();
        let expected = MemgptServerFrame::response(ResponseKind::AssistantMessage, &message);
        prop_assert_eq!(MemgptFrame::decode(&frame).unwrap(), MemgptFrame::Server(expected));
        let config = serde_json::json!({key: message});
        let json =
            serde_json::json!({"type": "command", "command": "create_agent", "config": config});
        let frame = MemgptFrame::decode(&json.to_string()).unwrap();
        prop_assert_eq!(MemgptFrame::decode(&frame.encode()).unwrap(), frame);
    }
}

struct Driven {
    machine: MemgptMachine,
}

impl Driven {
    fn request(&mut self) -> (Tag, Command) {
        match self.machine.poll() {
            Some(Output::Request { tag, request }) => (tag, request.command),
            other => panic!("{other:?}"),
        }
    }

    fn frame(&mut self) -> String {
        match self.machine.poll() {
            Some(Output::Frame(frame)) => frame,
            other => panic!("{other:?}"),
        }
    }

    /// Answers the requests that switch to an agent: find, detach, attach.
    fn arrive(&mut self, name: &str) {
        self.arrive_among(name, &[]);
    }

    /// [`Self::arrive`] while the turns of these inputs of earlier connections run.
    fn arrive_among(&mut self, name: &str, unended: &[&str]) {
        let (tag, command) = self.request();
        assert!(matches!(command, Command::Directory(DirectoryCommand::FindAgent { agent })
                if agent == name));
        self.machine.answer(
            tag,
            Ok(CommandReply::Directory(DirectoryReply::Agent {
                profile: Box::new(profile(name)),
                duplicate: false,
            })),
        );
        let (mut tag, mut command) = self.request();
        if let Command::Connection(ConnectionCommand::Detach { .. }) = command {
            self.machine.answer(
                tag,
                Ok(CommandReply::Session(SessionReply::Done { seq: None, duplicate: false })),
            );
            (tag, command) = self.request();
        }
        let Command::Connection(ConnectionCommand::Attach { session, start, .. }) = command else {
            panic!("{command:?}")
        };
        assert_eq!(start, self.machine.peer().cloned().map_or(Start::Head, Start::Proven));
        let attached = Attached {
            session,
            agent: "a".parse().unwrap(),
            epoch: "e".parse().unwrap(),
            first: Seq(1),
            head: Seq(1),
            recovered: true,
            after: Seq(1),
            turn: None,
            unended: unended.iter().map(|input| input.parse().unwrap()).collect(),
        };
        self.machine.answer(tag, Ok(CommandReply::Connection(ConnectionReply::Attached(attached))));
    }

    fn sent(&mut self, input: &str) {
        let (tag, command) = self.request();
        assert!(
            matches!(command, Command::Session { command: SessionCommand::Send { .. }, .. }),
            "{command:?}"
        );
        let answer = CommandReply::Session(SessionReply::Input {
            seq: Seq(2),
            input: input.parse().unwrap(),
            disposition: Disposition::Started,
            duplicate: false,
        });
        self.machine.answer(tag, Ok(answer));
    }
}

fn profile(name: &str) -> AgentProfile {
    AgentProfile {
        id: format!("id-{name}").parse().unwrap(),
        spec: AgentSpec { name: name.into(), ..AgentSpec::default() },
        main_session: format!("s-{name}").parse().unwrap(),
    }
}

fn ended(input: &str, outcome: Outcome) -> SessionEmission {
    let event = Event::Turn(TurnEvent::Ended {
        input: input.parse().unwrap(),
        outcome,
        code: None,
        reason: Some("why".into()),
    });
    let record =
        Record { seq: Seq(9), at: Default::default(), turn: Some("t".parse().unwrap()), event };
    SessionEmission { session: "s-ada".parse().unwrap(), emission: Emission::Record(record) }
}

#[test]
fn switching_agents_waits_for_the_connections_own_turns() {
    let mut driven = Driven { machine: MemgptMachine::new(None) };
    driven.machine.frame(r#"{"type": "user_message", "message": "one", "agent_name": "ada"}"#);
    driven.arrive("ada");
    driven.sent("i-1");
    driven.machine.frame(r#"{"type": "user_message", "message": "two", "agent_id": "bob"}"#);
    assert_eq!(driven.machine.poll(), None, "bob has to wait");
    assert!(!driven.machine.shows(&ended("i-other", Outcome::Completed)), "somebody else's end");
    assert_eq!(driven.machine.poll(), None);
    assert!(driven.machine.shows(&ended("i-1", Outcome::Completed)));
    driven.arrive("bob");
    driven.sent("i-2");
}

fn emitted(seq: u64, event: serde_json::Value) -> SessionEmission {
    let event = serde_json::from_value(event).unwrap();
    let record = Record { seq: Seq(seq), at: Default::default(), turn: None, event };
    SessionEmission { session: "s-ada".parse().unwrap(), emission: Emission::Record(record) }
}

#[test]
fn a_client_that_reconnects_gets_the_ends_of_its_turns_and_is_not_held_back() {
    let mut driven = Driven { machine: MemgptMachine::new(Some("phone".into())) };
    let (tag, command) = driven.request();
    let Command::Directory(DirectoryCommand::OpenPeer { wire, space, name: Some(name) }) = command
    else {
        panic!("{command:?}")
    };
    let peer = PeerRef { wire, space, name };
    let sender = peer.sender().unwrap();
    let reply = DirectoryReply::Peer { peer, is_new: false, chats: vec![], selected: None };
    driven.machine.answer(tag, Ok(CommandReply::Directory(reply)));
    driven.machine.frame(r#"{"type": "command", "command": "load_agent", "name": "ada"}"#);
    driven.arrive_among("ada", &["i-1"]);
    assert!(driven.frame().contains("OK: Agent 'ada' loaded"));
    let said = |seq, input: &str, from: &str| {
        let said = serde_json::json!({"kind": "user_message", "item": input, "text": "hi",
            "from": from});
        emitted(seq, said)
    };
    let started =
        |input: &str| emitted(9, serde_json::json!({"kind": "turn_started", "input": input}));
    // Sent before this connection, and not proven to have been read.
    driven.machine.shows(&said(1, "i-2", &sender));
    // Sent by another client, and by another connection of this one that is still open.
    driven.machine.shows(&said(1, "i-3", "memgpt"));
    driven.machine.shows(&said(2, "i-4", &sender));
    for (input, is_own) in [("i-1", true), ("i-2", true), ("i-3", false), ("i-4", false)] {
        assert_eq!(driven.machine.shows(&started(input)), is_own, "{input}");
        assert_eq!(driven.machine.shows(&ended(input, Outcome::Completed)), is_own, "{input}");
        assert!(!driven.machine.shows(&ended(input, Outcome::Completed)), "{input} ends once");
    }
    // Turns of earlier connections hold no switch back.
    driven.machine.frame(r#"{"type": "command", "command": "load_agent", "name": "bob"}"#);
    driven.arrive_among("bob", &["i-5"]);
    assert!(driven.frame().contains("OK: Agent 'bob' loaded"));
    driven.machine.frame(r#"{"type": "command", "command": "load_agent", "name": "ada"}"#);
    driven.arrive("ada");
}

#[test]
fn emissions_that_need_no_machine_are_always_shown() {
    let mut driven = Driven { machine: MemgptMachine::new(None) };
    let about = |event| {
        let record =
            Record { seq: Seq(9), at: Default::default(), turn: Some("t".parse().unwrap()), event };
        SessionEmission { session: "s-ada".parse().unwrap(), emission: Emission::Record(record) }
    };
    let input = || "i-other".parse().unwrap();
    for emitted in [
        about(Event::Turn(TurnEvent::Started { input: input() })),
        about(Event::Input(InputEvent::Withdrawn { input: input() })),
        ended("i-other", Outcome::Failed),
        about(Event::Turn(TurnEvent::Message {
            item: "m".parse().unwrap(),
            text: "hello".into(),
            complete: true,
            continues: None,
        })),
        about(Event::Session(SessionEvent::Renamed { title: "a title".into() })),
        SessionEmission {
            session: "s-ada".parse().unwrap(),
            emission: Emission::Presence { clients: 2 },
        },
    ] {
        assert_eq!(
            driven.machine.shows(&emitted),
            !Encoding::Memgpt.is_for_machine(&emitted.emission),
            "{emitted:?}"
        );
        assert!(!Encoding::Native.is_for_machine(&emitted.emission));
    }
}

#[test]
fn a_failed_turn_ends_with_one_error_frame() {
    assert_eq!(encode(&ended("i-1", Outcome::Completed)), [r#"{"type": "agent_response_end"}"#]);
    for outcome in [Outcome::Failed, Outcome::Cancelled, Outcome::Interrupted] {
        let frames = encode(&ended("i-1", outcome));
        assert_eq!(
            frames,
            [concat!(
                r#"{"type": "agent_response_error", "#,
                r#""message": "server.user_message failed with: why"}"#
            )]
        );
    }
}

fn told(event: serde_json::Value) -> Vec<String> {
    let event = serde_json::from_value(event).unwrap();
    let turn = Some("t".parse().unwrap());
    let record = Record { seq: Seq(9), at: Default::default(), turn, event };
    let session = "s-ada".parse().unwrap();
    encode(&SessionEmission { session, emission: Emission::Record(record) })
}

#[test]
fn a_resumed_turn_has_one_start_and_no_text_twice() {
    let frames: Vec<String> = [
        serde_json::json!({"kind": "turn_started", "input": "i"}),
        serde_json::json!({"kind": "message", "item": "m-1", "text": "Half a", "complete": false}),
        serde_json::json!({"kind": "turn_resumed", "attempt": 1, "reason": "restart"}),
        serde_json::json!({"kind": "tool_retried", "call": "c-1", "attempt": 1, "reason": "safe"}),
        serde_json::json!({"kind": "tool_returned", "call": "c-1", "name": "pay",
            "status": "unknown", "text": "It may have taken effect."}),
        serde_json::json!({"kind": "message", "item": "m-2", "text": " sentence.",
            "complete": true, "continues": "m-1"}),
        serde_json::json!({"kind": "turn_ended", "input": "i", "outcome": "completed"}),
    ]
    .into_iter()
    .flat_map(told)
    .collect();
    let response = |kind, text: &str| MemgptServerFrame::response(kind, text).encode();
    assert_eq!(
        frames,
        [
            MemgptServerFrame::ResponseStart.encode(),
            response(ResponseKind::AssistantMessage, "Half a"),
            response(ResponseKind::FunctionMessage, "Error: It may have taken effect."),
            response(ResponseKind::AssistantMessage, " sentence."),
            MemgptServerFrame::ResponseEnd.encode(),
        ]
    );
}

#[test]
fn a_call_in_doubt_is_told_with_the_places_to_answer() {
    let asked = |about: &str| {
        told(serde_json::json!({"kind": "approval_asked", "call": "c-1", "name": "pay",
            "about": about, "expires_at": "2026-01-01T00:05:00.000Z"}))
    };
    let (run, retry) = (asked("run"), asked("retry"));
    assert!(run[0].contains("I may not run pay without your approval."), "{run:?}");
    assert!(retry[0].contains("It may already have taken effect."), "{retry:?}");
    for frames in [run, retry] {
        assert_eq!(frames.len(), 1);
        assert!(frames[0].contains("`thoughtwire chat`") && frames[0].contains("(call c-1)"));
    }
}

#[test]
fn a_refusal_is_exactly_one_frame() {
    let mut driven = Driven { machine: MemgptMachine::new(None) };
    driven.machine.frame("not json");
    assert!(driven.frame().contains("Error: bad data from client - "));
    assert_eq!(driven.machine.poll(), None);
    driven.machine.frame(r#"{"type": "user_message", "message": "hi", "agent_name": null}"#);
    assert!(driven.frame().contains("agent_name was not specified in the request"));
    assert_eq!(driven.machine.poll(), None);
}
