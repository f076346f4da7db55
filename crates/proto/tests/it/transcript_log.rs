//! A session with everything in its log, as its server would send it to a client.

use serde_json::json;
use thoughtwire_proto::{
    ApprovalAbout, Attached, Decision, Delta, Emission, Event, InputEvent, Outcome, Partial,
    Record, Seq, SessionEvent, StreamKind, Timestamp, ToolStatus, TurnEvent, TurnId, Usage,
};

/// A session on the server's side.
#[derive(Default)]
pub(crate) struct TranscriptLog {
    pub(crate) emitted: Vec<Emission>,
    pub(crate) head: u64,
}

impl TranscriptLog {
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
        self.stream_rest(turn, item, kind, None, pieces);
    }

    /// Streams an item that continues one that was cut.
    fn stream_rest(
        &mut self,
        turn: &str,
        item: &str,
        kind: StreamKind,
        cut: Option<&str>,
        pieces: &[&str],
    ) {
        for (n, text) in pieces.iter().enumerate() {
            let (turn, item) = (turn.parse().unwrap(), item.parse().unwrap());
            self.emitted.push(Emission::Delta(Delta {
                turn,
                item,
                n: n as u64,
                kind,
                text: (*text).to_owned(),
                continues: cut.filter(|_| n == 0).map(|cut| cut.parse().unwrap()),
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
        let said = json!({"kind": "message", "item": item, "text": text, "complete": complete});
        self.json(turn, said);
    }

    /// A message or thought that continues one that was cut.
    fn continued(&mut self, turn: &str, kind: &str, item: &str, cut: &str, complete: bool) {
        let text = format!(" {item}");
        let said = json!({"kind": kind, "item": item, "text": text, "complete": complete,
            "continues": cut});
        self.json(turn, said);
    }

    fn resumed(&mut self, turn: &str, attempt: u32) {
        self.json(turn, json!({"kind": "turn_resumed", "attempt": attempt, "reason": "restart"}));
    }

    #[allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
    fn json(&mut self, turn: &str, event: serde_json::Value) {
        self.event(Some(turn), serde_json::from_value(event).unwrap());
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
    pub(crate) fn full_log() -> Self {
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
        session.interrupted_turn();
        session
    }

    /// A turn that is interrupted three times: two texts are cut and continued, one of them twice,
    /// a call is made again and its outcome stays unknown, and a last text stays cut.
    fn interrupted_turn(&mut self) {
        let turn = "t-3";
        self.user_message(None, "in-5");
        let input = "in-5".parse().unwrap();
        self.event(Some(turn), Event::Turn(TurnEvent::Started { input }));
        self.stream(turn, "th-3", StreamKind::Thought, &["thi", "nk"]);
        self.stream(turn, "m-3", StreamKind::Message, &["hel", "lo"]);
        self.json(turn, json!({"kind": "tool_called", "call": "c-3", "name": "pay", "args": {}}));
        let cut = json!({"kind": "thought", "item": "th-3", "text": "think", "complete": false});
        self.json(turn, cut);
        self.message(turn, "m-3", "hello", false);
        self.resumed(turn, 1);
        self.json(
            turn,
            json!({"kind": "approval_asked", "call": "c-3", "name": "pay",
            "about": "retry", "expires_at": "2026-01-01T00:05:00.000Z"}),
        );
        let settled = json!({"kind": "approval_settled", "call": "c-3", "decision": "approved"});
        self.json(turn, settled);
        let retried = json!({"kind": "tool_retried", "call": "c-3", "attempt": 1,
            "reason": "approved"});
        self.json(turn, retried);
        self.stream_rest(turn, "th-4", StreamKind::Thought, Some("th-3"), &[" th", "-4"]);
        self.continued(turn, "thought", "th-4", "th-3", true);
        self.stream_rest(turn, "m-4", StreamKind::Message, Some("m-3"), &[" ", "m-4"]);
        self.continued(turn, "message", "m-4", "m-3", false);
        self.resumed(turn, 2);
        self.json(
            turn,
            json!({"kind": "tool_returned", "call": "c-3", "name": "pay",
            "status": "unknown", "text": "?"}),
        );
        self.stream_rest(turn, "m-5", StreamKind::Message, Some("m-4"), &[" m-5", ", and"]);
        self.continued(turn, "message", "m-5", "m-4", true);
        self.stream(turn, "m-6", StreamKind::Message, &["new"]);
        // Arguments have no event without their call.
        self.stream(turn, "c-4", StreamKind::ToolArgs, &["{"]);
        self.message(turn, "m-6", "new", false);
        self.resumed(turn, 3);
        self.stream(turn, "m-7", StreamKind::Message, &["other"]);
        self.message(turn, "m-7", "other", true);
        self.ended(turn, "in-5", Outcome::Completed);
    }

    /// Replies to a client that attaches after `after` when `at` emissions are out.
    pub(crate) fn attach(&self, at: usize, after: Seq) -> (Attached, Vec<Emission>) {
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
                        Event::Turn(TurnEvent::Resumed { .. }) => open.clear(),
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
                            let Delta { turn, item, kind, text, continues, .. } = delta.clone();
                            open.push(Partial { turn, item, n: 1, kind, text, continues });
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
            unended: Vec::new(),
        };
        (attached, replay)
    }
}
