//! The native dialect's connection machine.

use serde_json::{Value, json};
use thoughtwire_proto::connection::{Encoding, Machine, Output, Tag};
use thoughtwire_proto::dialect::native::{
    ClientBody, ClientFrame, ConnectionLimits, NativeMachine, ServerFrame,
};
use thoughtwire_proto::{
    AgentProfile, AgentSpec, Attached, Command, CommandReply, ConnectionCommand, ConnectionReply,
    Cursor, DirectoryReply, Disposition, Refusal, RefusalCode, Seq, SessionCommand, SessionId,
    SessionListing, SessionReply, Start, Timestamp, Usage, Verdict,
};

use crate::native::rows;

struct Bench {
    machine: NativeMachine,
}

impl Bench {
    fn new(limits: ConnectionLimits, needs_hello: bool) -> Self {
        let mut machine = NativeMachine::new(limits, "test/1".to_owned(), needs_hello);
        let Some(Output::Frame(welcome)) = machine.poll() else { panic!("no welcome") };
        assert!(matches!(ServerFrame::decode(&welcome).unwrap(), ServerFrame::Welcome { .. }));
        Self { machine }
    }

    fn open() -> Self {
        Self::new(ConnectionLimits::default(), false)
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
        unended: Vec::new(),
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
            decision: Verdict::Denied,
            result: None
        }))
    );
}

#[test]
fn each_reply_becomes_its_frame() {
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
            json!({"type": "ack", "id": "c", "agent": {"id": "a-1", "name": "ada"},
                   "session": "s-1"}),
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
            json!({"type": "ack", "id": "c", "seq": 7, "disposition": "queued", "input": "i-1",
                   "duplicate": true}),
        ),
        (done(None), json!({"type": "ack", "id": "c"})),
        (done(Some(9)), json!({"type": "ack", "id": "c", "seq": 9})),
        (
            CommandReply::Connection(ConnectionReply::Attached(attached("s-1"))),
            json!({"type": "attached", "id": "c", "session": "s-1", "agent": "a-1",
                   "epoch": "e-1", "first": 1, "head": 4, "recovered": true}),
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
fn every_refusal_becomes_a_refused_frame() {
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
fn bad_frames_are_refused_and_the_connection_stays_open() {
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
fn commands_before_hello_are_unauthorized() {
    let mut bench = Bench::new(ConnectionLimits::default(), true);
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
    // The frame after the hello waits for its outcome.
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
    assert!(matches!(&outputs[1], Output::Request { request, .. }
            if request.command == Command::Connection(ConnectionCommand::Watch)));
    assert!(bench.machine.is_greeted());
    let said = frames(bench.say(&json!({"type": "hello", "id": "again"})));
    assert_eq!((&said[0]["code"], &said[0]["id"]), (&json!("bad_request"), &json!("again")));
}

#[test]
fn hello_is_allowed_if_it_is_not_required() {
    let mut bench = Bench::open();
    assert!(bench.machine.is_greeted());
    assert!(matches!(
        bench.say(&json!({"type": "hello", "client": "cli"}))[..],
        [Output::Authenticate { .. }]
    ));
    assert!(bench.machine.is_greeted());
    bench.machine.authenticated(Err(Refusal::new(RefusalCode::Unauthorized, "no")));
    assert_eq!(frames(bench.drain())[0]["code"], "unauthorized");
    // The connection is unchanged.
    assert!(bench.machine.is_greeted());
    bench.ask(&json!({"type": "watch"}));
}

#[test]
fn attachments_are_counted() {
    let mut bench = Bench::new(
        ConnectionLimits { attached_sessions: Some(2), ..ConnectionLimits::default() },
        false,
    );
    let refusal = |bench: &mut Bench, frame: Value| frames(bench.say(&frame))[0]["code"].clone();
    assert_eq!(refusal(&mut bench, json!({"type": "detach", "session": "s-1"})), "not_attached");
    bench.attach("s-1");
    // An unanswered `attach` counts too. A repeated one does not.
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
    // Answering twice, or with an unknown tag, has no effect.
    assert_eq!(bench.answer(tags[0], Ok(done(None))), Vec::<Value>::new());
    assert_eq!(bench.answer(Tag(9999), Ok(done(None))), Vec::<Value>::new());
}

#[test]
fn the_server_sends_frames_without_a_request() {
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
fn a_client_computes_the_start_of_its_attachment() {
    let cursor = |seq| Start::After(Cursor { epoch: None, seq: Seq(seq) });
    // (start, recovered, first, head) gives the position after which events follow.
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
        let frame = json!({"type": "attached", "session": "s-1", "agent": "a-1", "epoch": "e-1",
                           "first": first, "head": head, "recovered": recovered});
        let ServerFrame::Attached(attachment) = ServerFrame::decode(&frame.to_string()).unwrap()
        else {
            panic!()
        };
        assert_eq!(attachment.attached(&start).after, Seq(after), "{start:?}");
    }
    // The older dialects' start is written as the head.
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
