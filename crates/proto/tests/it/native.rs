//! The native dialect against `vectors/native.jsonl`, and its machine.

use serde_json::{Value, json};
use thoughtwire_proto::connection::{Encoding, Machine, Output, Tag};
use thoughtwire_proto::dialect::native::{
    ClientBody, ClientFrame, Limits, NativeMachine, ServerFrame, encode, normalise, render,
};
use thoughtwire_proto::{
    AgentProfile, AgentSpec, Attached, Command, CommandReply, ConnectionCommand, ConnectionReply,
    Cursor, DirectoryReply, Disposition, Emission, Event, Record, Refusal, RefusalCode, Seq,
    SessionCommand, SessionId, SessionListing, SessionReply, Start, Timestamp, Usage,
};

const VECTORS: &str = include_str!("../../../../vectors/native.jsonl");
const EVENTS: &str = include_str!("../../../../vectors/events.jsonl");

fn rows() -> impl Iterator<Item = Value> {
    VECTORS.lines().map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn every_vector() {
    for row in rows() {
        let wire = row["wire"].as_str().unwrap();
        match normalise(wire) {
            // As text, so that the order of keys counts.
            Ok(frame) => assert_eq!(frame.to_string(), row["ok"].to_string(), "{row}"),
            Err(refusal) => {
                assert_eq!(refusal.code.as_str(), row["error"]["code"], "{row}");
                if let Some(reason) = row["error"]["reason"].as_str() {
                    assert_eq!(refusal.reason, reason, "{row}");
                }
            }
        }
    }
}

#[test]
fn what_is_normal_stays_so() {
    for row in rows().filter(|row| row.get("ok").is_some()) {
        let text = render(&row["ok"]).unwrap();
        assert_eq!(text, row["ok"].to_string(), "{row}");
        assert_eq!(normalise(&text).unwrap(), row["ok"]);
    }
}

#[test]
fn each_side_reads_its_own_direction() {
    for row in rows().filter(|row| row.get("ok").is_some()) {
        let wire = row["wire"].as_str().unwrap();
        if row["from"] == "client" {
            assert_eq!(ClientFrame::decode(wire).unwrap().encode(), row["ok"].to_string());
            // `cancel` goes both ways.
            if row["ok"]["type"] != "cancel" {
                assert!(
                    matches!(ServerFrame::decode(wire).unwrap(), ServerFrame::Other(_)),
                    "{row}"
                );
            }
        } else {
            let frame = ServerFrame::decode(wire).unwrap();
            assert_eq!(frame.encode(), row["ok"].to_string());
            assert!(!matches!(frame, ServerFrame::Other(_)), "{row}");
            if row["ok"]["type"] != "cancel" {
                assert_eq!(
                    ClientFrame::decode(wire).unwrap_err().refusal.code,
                    RefusalCode::UnknownType
                );
            }
        }
    }
}

#[test]
fn the_vectors_have_every_type() {
    let types: Vec<_> =
        rows().filter_map(|row| row["ok"]["type"].as_str().map(str::to_owned)).collect();
    let all = "hello attach detach create_agent create_session delete_session send withdraw cancel decide tool_return rename watch offer say ping run approval_settled tool_returned offer_ended \
               welcome attached caught_up ack refused event delta partial status presence session session_gone detached pong goaway";
    for name in all.split_whitespace() {
        assert!(types.iter().any(|known| known == name), "no vector for {name}");
    }
}

#[test]
fn events_are_stored_as_frozen() {
    for line in EVENTS.lines() {
        let event: Event = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event.kind(), row["kind"]);
        assert_eq!(matches!(event, Event::Other(_)), !Event::knows(event.kind()));

        let record = Record {
            seq: Seq(3),
            at: Timestamp::from_millis(1_767_225_600_000),
            turn: "t-1".parse().ok(),
            event,
        };
        let session: SessionId = "s-1".parse().unwrap();
        let frame = encode(&session, &Emission::Record(record));
        let shown = format!(
            r#"{{"type":"event","session":"s-1","seq":3,"at":"2026-01-01T00:00:00.000Z","turn":"t-1","event":{line}}}"#
        );
        assert_eq!(frame, shown);
        assert_eq!(ServerFrame::decode(&frame).unwrap().encode(), frame);
    }
    for kind in Event::known_kinds() {
        assert!(EVENTS.contains(&format!(r#"{{"kind":"{kind}","#)), "no vector for {kind}");
    }
}

/// Found by `make fuzz`: a number was read as another one than it had been written as.
#[test]
fn numbers_of_a_kind_that_is_not_known_stay_what_they_were() {
    for number in ["9999999999990000000000085608679", "0.1", "1e-310", "123456789.12345679", "-0.0"]
    {
        let first: Event =
            serde_json::from_str(&format!(r#"{{"kind":"later","n":{number}}}"#)).unwrap();
        let stored = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&stored).unwrap(), first, "{stored}");
    }
}

#[test]
fn an_undecoded_frame_keeps_its_id() {
    let undecoded = ClientFrame::decode(r#"{"type":"send","id":"m1"}"#).unwrap_err();
    assert_eq!(undecoded.id, "m1".parse().ok());
    assert_eq!(ClientFrame::decode(r#"{"type":"send","id":7}"#).unwrap_err().id, None);
}

// --- the machine

struct Bench {
    machine: NativeMachine,
}

impl Bench {
    fn new(limits: Limits, needs_hello: bool) -> Self {
        let mut machine = NativeMachine::new(limits, "test/1".to_owned(), needs_hello);
        let Some(Output::Frame(welcome)) = machine.poll() else { panic!("no welcome") };
        assert!(matches!(ServerFrame::decode(&welcome).unwrap(), ServerFrame::Welcome { .. }));
        Self { machine }
    }

    fn open() -> Self {
        Self::new(Limits::default(), false)
    }

    fn say(&mut self, frame: &Value) -> Vec<Output> {
        self.machine.frame(&frame.to_string());
        self.drain()
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.machine.poll()).collect()
    }

    fn ask(&mut self, frame: &Value) -> (Tag, Command) {
        match self.say(frame).pop() {
            Some(Output::Request { tag, request }) => (tag, request.command),
            other => panic!("{frame} gave {other:?}"),
        }
    }

    fn answer(&mut self, tag: Tag, outcome: Result<CommandReply, Refusal>) -> Vec<Value> {
        self.machine.answer(tag, outcome);
        frames(self.drain())
    }

    fn attach(&mut self, session: &str) {
        let (tag, _) = self.ask(&json!({"type": "attach", "session": session}));
        let said = self.answer(
            tag,
            Ok(CommandReply::Connection(ConnectionReply::Attached(attached(session)))),
        );
        assert_eq!(said[0]["type"], "attached");
    }
}

fn frames(outputs: Vec<Output>) -> Vec<Value> {
    outputs
        .into_iter()
        .map(|output| match output {
            Output::Frame(frame) => serde_json::from_str(&frame).unwrap(),
            other => panic!("{other:?} is no frame"),
        })
        .collect()
}

fn attached(session: &str) -> Attached {
    Attached {
        session: session.parse().unwrap(),
        agent: "a-1".parse().unwrap(),
        epoch: "e-1".parse().unwrap(),
        first: Seq(1),
        head: Seq(4),
        recovered: true,
        after: Seq(4),
        turn: None,
    }
}

fn done(seq: Option<u64>) -> CommandReply {
    CommandReply::Session(SessionReply::Done { seq: seq.map(Seq), duplicate: false })
}

#[test]
fn each_command_becomes_its_request() {
    let mut bench = Bench::open();
    for row in rows().filter(|row| row["from"] == "client" && row.get("ok").is_some()) {
        let kind = row["ok"]["type"].as_str().unwrap();
        let empty =
            kind == "send" && row["ok"]["text"] == "" && row["ok"].get("attachments").is_none();
        if ["hello", "ping", "detach"].contains(&kind) || empty {
            continue;
        }
        bench.machine.frame(row["wire"].as_str().unwrap());
        let outputs = bench.drain();
        let [Output::Request { tag, request }] = outputs.as_slice() else {
            panic!("{row} gave {outputs:?}")
        };
        assert_eq!(
            request.id.as_ref().map(thoughtwire_proto::Id::as_str),
            row["ok"]["id"].as_str()
        );
        bench.machine.answer(*tag, Ok(done(None)));
        assert_eq!(bench.drain().len(), usize::from(request.id.is_some()), "{row}");
    }
    let (_, command) =
        bench.ask(&json!({"type": "attach", "session": "s-1", "after": 3, "epoch": "e-1"}));
    let start = Start::After(Cursor { epoch: "e-1".parse().ok(), seq: Seq(3) });
    assert_eq!(
        command,
        Command::Connection(ConnectionCommand::Attach {
            session: "s-1".parse().unwrap(),
            start,
            tools: vec![]
        })
    );
    let (_, command) = bench.ask(&json!({"type": "decide", "call": "c-1", "decision": "denied"}));
    assert_eq!(
        command,
        Command::Connection(ConnectionCommand::InAttached(SessionCommand::Decide {
            call: "c-1".parse().unwrap(),
            approve: false
        }))
    );
}

#[test]
fn answers_have_their_shapes() {
    let profile = AgentProfile {
        id: "a-1".parse().unwrap(),
        spec: AgentSpec {
            name: "ada".to_owned(),
            extra: json!({"x": 1}).as_object().unwrap().clone(),
            ..AgentSpec::default()
        },
        main_session: "s-1".parse().unwrap(),
    };
    let input = |duplicate| {
        CommandReply::Session(SessionReply::Input {
            seq: Seq(7),
            input: "i-1".parse().unwrap(),
            disposition: Disposition::Queued,
            duplicate,
        })
    };
    let table = [
        (
            CommandReply::Directory(DirectoryReply::Agent {
                profile: Box::new(profile),
                duplicate: false,
            }),
            json!({"type": "ack", "id": "c", "agent": {"id": "a-1", "name": "ada"}, "session": "s-1"}),
        ),
        (
            CommandReply::Directory(DirectoryReply::Session {
                session: "s-2".parse().unwrap(),
                duplicate: false,
            }),
            json!({"type": "ack", "id": "c", "session": "s-2"}),
        ),
        (
            input(false),
            json!({"type": "ack", "id": "c", "seq": 7, "disposition": "queued", "input": "i-1"}),
        ),
        (
            input(true),
            json!({"type": "ack", "id": "c", "seq": 7, "disposition": "queued", "input": "i-1", "duplicate": true}),
        ),
        (done(None), json!({"type": "ack", "id": "c"})),
        (done(Some(9)), json!({"type": "ack", "id": "c", "seq": 9})),
        (
            CommandReply::Connection(ConnectionReply::Attached(attached("s-1"))),
            json!({"type": "attached", "id": "c", "session": "s-1", "agent": "a-1", "epoch": "e-1", "first": 1, "head": 4, "recovered": true}),
        ),
    ];
    for (answer, frame) in table {
        let mut bench = Bench::open();
        let (tag, _) = bench.ask(&json!({"type": "watch", "id": "c"}));
        assert_eq!(bench.answer(tag, Ok(answer.clone())), [frame]);
        // Without an id only an attachment is answered.
        let (tag, _) = bench.ask(&json!({"type": "watch"}));
        assert_eq!(
            bench.answer(tag, Ok(answer.clone())).len(),
            usize::from(matches!(answer, CommandReply::Connection(ConnectionReply::Attached(_))))
        );
    }
}

#[test]
fn a_refusal_is_always_answered() {
    let mut bench = Bench::open();
    for code in RefusalCode::ALL {
        for id in [Some("c"), None] {
            let mut frame = json!({"type": "watch"});
            let mut refused =
                json!({"type": "refused", "code": code.as_str(), "reason": "why", "retry": false});
            if let Some(id) = id {
                frame["id"] = id.into();
                refused["id"] = id.into();
            }
            refused["retry"] = (code.retry() == thoughtwire_proto::Retry::Later).into();
            let (tag, _) = bench.ask(&frame);
            assert_eq!(bench.answer(tag, Err(Refusal::new(code, "why"))), [refused]);
        }
    }
}

#[test]
fn bad_frames_are_answered_and_survived() {
    let mut bench = Bench::open();
    for row in rows().filter(|row| row["from"] == "client" && row.get("error").is_some()) {
        bench.machine.frame(row["wire"].as_str().unwrap());
        let said = frames(bench.drain());
        assert_eq!(said.len(), 1);
        assert_eq!(said[0]["type"], "refused");
        assert_eq!(said[0]["code"], row["error"]["code"]);
    }
    bench
        .machine
        .unreadable(b"\xff", &Refusal::new(RefusalCode::BadFrame, "the binary frame is not UTF-8"));
    assert_eq!(frames(bench.drain())[0]["code"], "bad_frame");
    let said =
        frames(bench.say(&json!({"type": "send", "id": "m1", "session": "s-1", "text": " \n"})));
    assert_eq!((&said[0]["code"], &said[0]["id"]), (&json!("empty_text"), &json!("m1")));
    assert_eq!(
        frames(bench.say(&json!({"type": "ping", "id": "p"}))),
        [json!({"type": "pong", "id": "p"})]
    );
}

#[test]
fn nothing_is_taken_before_hello() {
    let mut bench = Bench::new(Limits::default(), true);
    assert!(!bench.machine.is_greeted());
    assert_eq!(frames(bench.say(&json!({"type": "ping"}))), [json!({"type": "pong"})]);
    let said = frames(bench.say(&json!({"type": "watch", "id": "w"})));
    assert_eq!((&said[0]["code"], &said[0]["id"]), (&json!("unauthorized"), &json!("w")));

    let hello = json!({"type": "hello", "id": "h", "token": "wrong", "client": "cli"});
    let authenticate = Output::Authenticate {
        token: Some("wrong".to_owned()),
        client: Some("cli".to_owned()),
        space: None,
    };
    assert_eq!(bench.say(&hello), [authenticate]);
    assert!(bench.machine.is_full());
    // What came right behind it waits for the outcome, and is then judged by it.
    assert_eq!(bench.say(&json!({"type": "watch", "id": "w2"})), []);
    bench
        .machine
        .authenticated(Err(Refusal::new(RefusalCode::Unauthorized, "the key is not known")));
    let said = frames(bench.drain());
    assert_eq!(said.iter().map(|frame| frame["id"].clone()).collect::<Vec<_>>(), ["h", "w2"]);
    assert!(said.iter().all(|frame| frame["code"] == "unauthorized"));
    assert!(!bench.machine.is_greeted() && !bench.machine.is_full());

    bench.say(&json!({"type": "hello", "id": "h", "token": "right"}));
    bench.say(&json!({"type": "watch", "id": "w3"}));
    bench.machine.authenticated(Ok(()));
    let outputs = bench.drain();
    assert_eq!(outputs[0], Output::Frame(json!({"type": "ack", "id": "h"}).to_string()));
    assert!(
        matches!(&outputs[1], Output::Request { request, .. } if request.command == Command::Connection(ConnectionCommand::Watch))
    );
    assert!(bench.machine.is_greeted());
    let said = frames(bench.say(&json!({"type": "hello", "id": "again"})));
    assert_eq!((&said[0]["code"], &said[0]["id"]), (&json!("bad_request"), &json!("again")));
}

#[test]
fn hello_is_allowed_where_it_is_not_needed() {
    let mut bench = Bench::open();
    assert!(bench.machine.is_greeted());
    assert!(matches!(
        bench.say(&json!({"type": "hello", "client": "cli"}))[..],
        [Output::Authenticate { .. }]
    ));
    assert!(bench.machine.is_greeted());
    bench.machine.authenticated(Err(Refusal::new(RefusalCode::Unauthorized, "no")));
    assert_eq!(frames(bench.drain())[0]["code"], "unauthorized");
    // The connection is what it was.
    assert!(bench.machine.is_greeted());
    bench.ask(&json!({"type": "watch"}));
}

#[test]
fn attachments_are_counted() {
    let mut bench = Bench::new(Limits { attached_sessions: Some(2), ..Limits::default() }, false);
    let refusal = |bench: &mut Bench, frame: Value| frames(bench.say(&frame))[0]["code"].clone();
    assert_eq!(refusal(&mut bench, json!({"type": "detach", "session": "s-1"})), "not_attached");
    bench.attach("s-1");
    // One under way counts too; the same one again does not.
    let (second, _) = bench.ask(&json!({"type": "attach", "session": "s-2"}));
    assert_eq!(
        refusal(&mut bench, json!({"type": "attach", "session": "s-3"})),
        "too_many_sessions"
    );
    bench.attach("s-1");
    bench.answer(second, Err(Refusal::new(RefusalCode::UnknownSession, "there is no session s-2")));
    bench.attach("s-3");
    assert_eq!(
        refusal(&mut bench, json!({"type": "attach", "session": "s-4"})),
        "too_many_sessions"
    );

    let (tag, _) = bench.ask(&json!({"type": "detach", "session": "s-3"}));
    bench.answer(tag, Ok(done(None)));
    bench.attach("s-4");
    let session = "s-1".parse().unwrap();
    bench.machine.detached(&session, "the session was deleted");
    assert_eq!(
        frames(bench.drain()),
        [json!({"type": "detached", "session": "s-1", "reason": "the session was deleted"})]
    );
    bench.attach("s-5");
}

#[test]
fn a_busy_connection_is_full() {
    let mut bench = Bench::open();
    let mut tags = Vec::new();
    while !bench.machine.is_full() {
        tags.push(bench.ask(&json!({"type": "watch"})).0);
        assert!(tags.len() <= 64);
    }
    bench.answer(tags[0], Ok(done(None)));
    assert!(!bench.machine.is_full());
    // Answered twice, or never asked: nothing happens.
    assert_eq!(bench.answer(tags[0], Ok(done(None))), Vec::<Value>::new());
    assert_eq!(bench.answer(Tag(9999), Ok(done(None))), Vec::<Value>::new());
}

#[test]
fn what_the_server_says_by_itself() {
    let mut bench = Bench::open();
    let session: SessionId = "s-1".parse().unwrap();
    assert_eq!(bench.machine.encoding(&session), Encoding::Native);
    let at = Timestamp::from_millis(0);
    let listing = SessionListing {
        id: session.clone(),
        agent: "a-1".parse().unwrap(),
        agent_name: "ada".to_owned(),
        title: None,
        head: Seq(1),
        running: false,
        queued: 0,
        needs_you: false,
        main: true,
        usage: Usage::default(),
        created_at: at,
        updated_at: at,
    };
    bench.machine.caught_up(&session, Seq(4));
    bench.machine.listed(&listing);
    bench.machine.unlisted(&session);
    bench.machine.going_away("the server is stopping", 1000);
    let said = frames(bench.drain());
    assert_eq!(said[0], json!({"type": "caught_up", "session": "s-1", "seq": 4}));
    assert_eq!(said[1]["listing"]["agent_name"], "ada");
    assert_eq!(said[2], json!({"type": "session_gone", "session": "s-1"}));
    assert_eq!(
        said[3],
        json!({"type": "goaway", "reason": "the server is stopping", "retry_after_ms": 1000})
    );
}

#[test]
fn a_client_knows_where_its_attachment_begins() {
    let cursor = |seq| Start::After(Cursor { epoch: None, seq: Seq(seq) });
    // (asked, recovered, first, head) gives the position behind which events follow.
    let table = [
        (Start::Head, true, 1, 9, 9),
        (cursor(0), true, 1, 9, 0),
        (cursor(5), true, 1, 9, 5),
        (cursor(5), false, 1, 9, 0),
        (cursor(2), false, 4, 9, 3),
        (Start::Last(3), true, 1, 9, 6),
        (Start::Last(100), true, 1, 9, 0),
        (Start::Last(100), true, 4, 9, 3),
    ];
    for (start, recovered, first, head, after) in table {
        let frame = json!({"type": "attached", "session": "s-1", "agent": "a-1", "epoch": "e-1", "first": first, "head": head, "recovered": recovered});
        let ServerFrame::Attached(attachment) = ServerFrame::decode(&frame.to_string()).unwrap()
        else {
            panic!()
        };
        assert_eq!(attachment.attached(&start).after, Seq(after), "{start:?}");
    }
    // The older wires' place is written as the head.
    let peer = thoughtwire_proto::PeerRef {
        wire: thoughtwire_proto::PeerWire::Sparky,
        space: String::new(),
        name: "x".to_owned(),
    };
    let body = ClientBody::Attach {
        session: "s-1".parse().unwrap(),
        start: Start::Proven(peer),
        tools: vec![],
    };
    assert_eq!(ClientFrame { id: None, body }.encode(), r#"{"type":"attach","session":"s-1"}"#);
}
