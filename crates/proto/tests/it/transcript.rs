//! The transcript: it is the same whatever a client missed or saw twice.

use serde_json::{Map, json};
use thoughtwire_proto::transcript::{
    Approval, EntryBody, InputStatus, Transcript, TranscriptChange,
};
use thoughtwire_proto::{
    ApprovalAbout, Attached, Decision, Delta, Emission, Event, InputEvent, Outcome, Partial,
    Record, Seq, SessionEvent, StreamKind, Timestamp, ToolStatus, TurnEvent, TurnId, Usage,
};

/// A session on the server's side.
#[derive(Default)]
struct Session {
    emitted: Vec<Emission>,
    head: u64,
}

impl Session {
    fn event(&mut self, turn: Option<&str>, event: Event) {
        self.head += 1;
        let turn = turn.map(|turn| turn.parse().unwrap());
        self.emitted.push(Emission::Record(Record {
            seq: Seq(self.head),
            at: Timestamp::from_millis(1),
            turn,
            event,
        }));
    }

    fn stream(&mut self, turn: &str, item: &str, kind: StreamKind, pieces: &[&str]) {
        for (n, text) in pieces.iter().enumerate() {
            let (turn, item) = (turn.parse().unwrap(), item.parse().unwrap());
            self.emitted.push(Emission::Delta(Delta {
                turn,
                item,
                n: n as u64,
                kind,
                text: (*text).to_owned(),
            }));
        }
    }

    fn user_message(&mut self, turn: Option<&str>, item: &str) {
        let event = Event::Input(InputEvent::UserMessage {
            item: item.parse().unwrap(),
            text: format!("say {item}"),
            attachments: vec![],
            from: None,
        });
        self.event(turn, event);
    }

    fn message(&mut self, turn: &str, item: &str, text: &str, complete: bool) {
        self.event(
            Some(turn),
            Event::Turn(TurnEvent::Message {
                item: item.parse().unwrap(),
                text: text.to_owned(),
                complete,
                continues: None,
            }),
        );
    }

    fn ended(&mut self, turn: &str, input: &str, outcome: Outcome) {
        self.event(
            Some(turn),
            Event::Turn(TurnEvent::Ended {
                input: input.parse().unwrap(),
                outcome,
                code: None,
                reason: None,
            }),
        );
    }

    /// A log of two turns with everything in them: interleaved items, a call with an approval, an
    /// input that is withdrawn and one that joins, a message cut short, an item without an event.
    fn full_log() -> Self {
        let mut session = Self::default();
        session.event(
            None,
            Event::Session(SessionEvent::Opened {
                agent: "a-1".parse().unwrap(),
                instructions: None,
                history: vec![],
            }),
        );
        session.user_message(None, "in-1");
        session
            .event(Some("t-1"), Event::Turn(TurnEvent::Started { input: "in-1".parse().unwrap() }));
        session.user_message(None, "in-2");
        session.user_message(None, "in-3");
        session.emitted.push(Emission::Status { turn: None, text: "thinking".to_owned() });
        session.stream("t-1", "th-1", StreamKind::Thought, &["I ", "th", "ink"]);
        session.stream("t-1", "m-1", StreamKind::Message, &["Hel"]);
        session.event(
            Some("t-1"),
            Event::Turn(TurnEvent::Thought {
                item: "th-1".parse().unwrap(),
                text: "I think.".to_owned(),
                complete: true,
                continues: None,
            }),
        );
        session.event(None, Event::Input(InputEvent::Withdrawn { input: "in-2".parse().unwrap() }));
        session.stream("t-1", "c-1", StreamKind::ToolArgs, &["{\"x\"", ":1}"]);
        let args = json!({"x": 1}).as_object().unwrap().clone();
        let call = "c-1".parse().unwrap();
        session.event(
            Some("t-1"),
            Event::Turn(TurnEvent::ToolCalled { call, name: "f".to_owned(), args }),
        );
        let (call, expires_at) = ("c-1".parse().unwrap(), Timestamp::from_millis(99));
        session.event(
            Some("t-1"),
            Event::Turn(TurnEvent::ApprovalAsked {
                call,
                name: "now".to_owned(),
                about: ApprovalAbout::Run,
                expires_at,
            }),
        );
        session.user_message(Some("t-1"), "in-4");
        session.emitted.push(Emission::Presence { clients: 2 });
        let call = "c-1".parse().unwrap();
        session.event(
            Some("t-1"),
            Event::Turn(TurnEvent::ApprovalSettled {
                call,
                decision: Decision::Approved,
                by: None,
            }),
        );
        let (call, name, text) = ("c-1".parse().unwrap(), "f".to_owned(), "1".to_owned());
        session.event(
            Some("t-1"),
            Event::Turn(TurnEvent::ToolReturned {
                call,
                name,
                status: ToolStatus::Success,
                text,
                content: None,
            }),
        );
        session.stream("t-1", "m-9", StreamKind::Message, &["never finished"]);
        session.event(Some("t-1"), Event::Turn(TurnEvent::Usage(Usage::default())));
        session.message("t-1", "m-1", "Hello", true);
        session.ended("t-1", "in-1", Outcome::Completed);
        session
            .event(Some("t-2"), Event::Turn(TurnEvent::Started { input: "in-3".parse().unwrap() }));
        session.stream("t-2", "m-2", StreamKind::Message, &["On", "ce ", "upon "]);
        session.event(None, Event::Session(SessionEvent::Renamed { title: "Tale".to_owned() }));
        // The event is shorter than the streamed text.
        session.message("t-2", "m-2", "Once", false);
        session.ended("t-2", "in-3", Outcome::Cancelled);
        session.event(None, serde_json::from_str(r#"{"kind":"dreamt","of":"sheep"}"#).unwrap());
        session
    }

    /// Replies to a client that attaches after `after` when `at` emissions are out.
    fn attach(&self, at: usize, after: Seq) -> (Attached, Vec<Emission>) {
        let mut head = Seq::ZERO;
        let mut turn: Option<TurnId> = None;
        let mut open: Vec<Partial> = Vec::new();
        let mut replay = Vec::new();
        for emission in &self.emitted[..at] {
            match emission {
                Emission::Record(record) => {
                    head = record.seq;
                    match &record.event {
                        Event::Turn(TurnEvent::Started { .. }) => turn.clone_from(&record.turn),
                        Event::Turn(TurnEvent::Ended { .. }) => {
                            turn = None;
                            open.clear();
                        }
                        Event::Turn(
                            TurnEvent::Thought { item, .. } | TurnEvent::Message { item, .. },
                        ) => {
                            open.retain(|open| open.item != *item);
                        }
                        Event::Turn(TurnEvent::ToolCalled { call, .. }) => {
                            open.retain(|open| open.item.as_str() != call.as_str());
                        }
                        _ => {}
                    }
                    if record.seq > after {
                        replay.push(emission.clone());
                    }
                }
                Emission::Delta(delta) => {
                    match open.iter_mut().find(|open| open.item == delta.item) {
                        Some(open) => {
                            open.n += 1;
                            open.text.push_str(&delta.text);
                        }
                        None => {
                            let Delta { turn, item, kind, text, .. } = delta.clone();
                            open.push(Partial { turn, item, n: 1, kind, text });
                        }
                    }
                }
                Emission::Partial(_) | Emission::Status { .. } | Emission::Presence { .. } => {}
            }
        }
        replay.extend(open.into_iter().map(Emission::Partial));
        let attached = Attached {
            session: "s-1".parse().unwrap(),
            agent: "a-1".parse().unwrap(),
            epoch: "e-1".parse().unwrap(),
            first: Seq(1),
            head,
            recovered: true,
            after,
            turn,
        };
        (attached, replay)
    }
}

/// Applies the emissions from `at` to `until`.
fn follow(transcript: &mut Transcript, session: &Session, at: usize, until: usize) {
    let after = transcript.cursor().seq;
    let (attached, replay) = session.attach(at, after);
    transcript.attach(&attached);
    for emission in replay.iter().chain(&session.emitted[at..until]) {
        let change = transcript.apply(emission);
        assert!(!matches!(change, TranscriptChange::Gap { .. }), "{change:?}");
    }
}

#[test]
fn a_reconnect_at_any_moment_gives_the_same_transcript() {
    let session = Session::full_log();
    let all = session.emitted.len();
    let mut whole = Transcript::default();
    follow(&mut whole, &session, 0, all);
    for left in 0..=all {
        for back in left..=all {
            let mut cut = Transcript::default();
            follow(&mut cut, &session, 0, left);
            follow(&mut cut, &session, back, all);
            assert_eq!(cut, whole, "left at {left}, back at {back}");
        }
    }
}

#[test]
fn late_clients_have_the_same_open_items() {
    let session = Session::full_log();
    for at in 0..=session.emitted.len() {
        let (mut early, mut late) = (Transcript::default(), Transcript::default());
        follow(&mut early, &session, 0, at);
        follow(&mut late, &session, at, at);
        assert_eq!(early.open(), late.open(), "at {at}");
        assert_eq!(early.entries(), late.entries(), "at {at}");
        assert_eq!(early.turn(), late.turn(), "at {at}");
    }
}

#[test]
fn repeated_emissions_change_nothing() {
    let session = Session::full_log();
    let mut transcript = Transcript::default();
    follow(&mut transcript, &session, 0, session.emitted.len());
    let before = transcript.clone();
    for emission in &session.emitted {
        assert_eq!(transcript.apply(emission), TranscriptChange::Nothing);
    }
    assert_eq!(transcript, before);
}

#[test]
fn a_whole_log_gives_the_expected_transcript() {
    let session = Session::full_log();
    let mut transcript = Transcript::default();
    follow(&mut transcript, &session, 0, session.emitted.len());
    let fates: Vec<_> = transcript
        .entries()
        .iter()
        .filter_map(|entry| match &entry.body {
            EntryBody::Input { item, status, .. } => Some((item.as_str(), *status)),
            _ => None,
        })
        .collect();
    let expected = [
        ("in-1", InputStatus::Ended(Outcome::Completed)),
        ("in-2", InputStatus::Withdrawn),
        ("in-3", InputStatus::Ended(Outcome::Cancelled)),
        ("in-4", InputStatus::Ended(Outcome::Completed)),
    ];
    assert_eq!(fates, expected);
    let call = transcript.entries().iter().find_map(|entry| match &entry.body {
        EntryBody::Call(call) => Some(call),
        _ => None,
    });
    let call = call.unwrap();
    assert_eq!(call.approval, Some(Approval::Settled(Decision::Approved)));
    assert_eq!(call.returned.as_ref().unwrap().text, "1");
    assert_eq!(transcript.title(), Some("Tale"));
    assert_eq!(transcript.cursor().seq, Seq(session.head));
    assert!(transcript.open().is_empty() && transcript.turn().is_none());
}

#[test]
fn a_gap_is_reported_and_not_applied() {
    let session = Session::full_log();
    let mut transcript = Transcript::default();
    let (attached, _) = session.attach(0, Seq::ZERO);
    transcript.attach(&attached);
    let _ = transcript.apply(&session.emitted[0]);
    assert_eq!(
        transcript.apply(&session.emitted[2]),
        TranscriptChange::Gap { expected: Seq(2), found: Seq(3) }
    );
    assert_eq!(transcript.cursor().seq, Seq(1));
    assert_eq!(transcript.apply(&session.emitted[1]), TranscriptChange::Entry(1));
}

#[test]
fn deltas_apply_only_in_order() {
    let session = Session::full_log();
    let mut transcript = Transcript::default();
    let started = 3;
    follow(&mut transcript, &session, 0, started);
    let delta = |n: u64, text: &str| {
        let (turn, item) = ("t-1".parse().unwrap(), "m".parse().unwrap());
        Emission::Delta(Delta { turn, item, n, kind: StreamKind::Message, text: text.to_owned() })
    };
    let text = |transcript: &Transcript| transcript.open().first().map(|open| open.text.clone());
    assert_eq!(
        transcript.apply(&delta(1, "b")),
        TranscriptChange::Nothing,
        "the first piece is missing"
    );
    assert!(matches!(transcript.apply(&delta(0, "a")), TranscriptChange::Open(_)));
    assert_eq!(transcript.apply(&delta(0, "a")), TranscriptChange::Nothing, "twice");
    assert_eq!(transcript.apply(&delta(2, "c")), TranscriptChange::Nothing, "one is missing");
    assert_eq!(text(&transcript).unwrap(), "a");
    let partial = Partial {
        turn: "t-1".parse().unwrap(),
        item: "m".parse().unwrap(),
        n: 3,
        kind: StreamKind::Message,
        text: "abc".to_owned(),
    };
    assert!(matches!(
        transcript.apply(&Emission::Partial(partial.clone())),
        TranscriptChange::Open(_)
    ));
    assert!(matches!(transcript.apply(&delta(3, "d")), TranscriptChange::Open(_)));
    assert_eq!(text(&transcript).unwrap(), "abcd");
    let other_turn = Partial { turn: "t-9".parse().unwrap(), ..partial };
    assert_eq!(transcript.apply(&Emission::Partial(other_turn)), TranscriptChange::Nothing);
}

#[test]
fn another_epoch_starts_over() {
    let session = Session::full_log();
    let mut transcript = Transcript::default();
    follow(&mut transcript, &session, 0, session.emitted.len());
    let (mut attached, _) = session.attach(session.emitted.len(), Seq::ZERO);
    attached.epoch = "e-2".parse().unwrap();
    attached.recovered = false;
    transcript.attach(&attached);
    assert!(transcript.entries().is_empty());
    assert_eq!(transcript.cursor().seq, Seq::ZERO);
    assert_eq!(transcript.cursor().epoch, "e-2".parse().ok());
}

#[test]
fn a_transcript_may_begin_after_a_call() {
    let mut transcript = Transcript::default();
    let mut attached = Session::full_log().attach(0, Seq(7)).0;
    attached.turn = "t-1".parse().ok();
    transcript.attach(&attached);
    let (call, name, text) = ("c-0".parse().unwrap(), "f".to_owned(), "x".to_owned());
    let event = Event::Turn(TurnEvent::ToolReturned {
        call,
        name,
        status: ToolStatus::Error,
        text,
        content: None,
    });
    let record = Record { seq: Seq(8), at: Timestamp::default(), turn: "t-1".parse().ok(), event };
    assert_eq!(transcript.apply(&Emission::Record(record)), TranscriptChange::Entry(0));
    let EntryBody::Call(call) = &transcript.entries()[0].body else { panic!() };
    assert_eq!((call.args.as_ref(), call.name.as_str()), (None::<&Map<_, _>>, "f"));
}
