//! The fold over any sequence of events.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use thoughtwire_proto::transcript::{Transcript, TranscriptChange};
use thoughtwire_proto::{
    ApprovalAbout, CallId, Decision, Emission, Event, InputEvent, ItemId, Outcome, Record,
    ResumeReason, RetryReason, Seq, SessionEvent, State, Timestamp, ToolStatus, TurnEvent, TurnId,
    Usage,
};

/// An event in small: of each kind of thing there are four, so that they meet.
#[derive(Debug, Arbitrary)]
enum Kind {
    Opened,
    Renamed(Words),
    Instructions(Words),
    Said(Name),
    Withdrawn(Name),
    Started(Name),
    Thought(Name, Words),
    Called(Name),
    Asked(Name),
    Settled(Name),
    Awaited(Name),
    CallResult(Name),
    Resumed(u32),
    Retried(Name, u32),
    Message(Name, Words),
    Usage(u64, u64, Option<u64>),
    Edited,
    Compacted(u8),
    Ended(Name),
    /// A kind of a newer server.
    Dreamt,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Name {
    A,
    B,
    C,
    D,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Words {
    None,
    Some,
}

impl Name {
    fn with(self, prefix: &str) -> String {
        format!("{prefix}-{self:?}")
    }

    fn item(self) -> ItemId {
        self.with("i").parse().expect("an id")
    }

    fn call(self) -> CallId {
        self.with("c").parse().expect("an id")
    }
}

impl Words {
    fn text(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Some => "word".to_owned(),
        }
    }
}

fn event(kind: &Kind) -> Event {
    let at = Timestamp::from_millis(1000);
    match kind {
        Kind::Opened => Event::Session(SessionEvent::Opened {
            agent: "a-1".parse().expect("an id"),
            instructions: None,
            history: Vec::new(),
        }),
        Kind::Renamed(words) => Event::Session(SessionEvent::Renamed { title: words.text() }),
        Kind::Instructions(words) => {
            Event::Session(SessionEvent::InstructionsChanged { instructions: words.text() })
        }
        Kind::Said(name) => Event::Input(InputEvent::UserMessage {
            item: name.item(),
            text: "word".to_owned(),
            attachments: Vec::new(),
            from: None,
        }),
        Kind::Withdrawn(name) => Event::Input(InputEvent::Withdrawn { input: name.item() }),
        Kind::Started(name) => Event::Turn(TurnEvent::Started { input: name.item() }),
        Kind::Thought(name, words) => Event::Turn(TurnEvent::Thought {
            item: name.item(),
            text: words.text(),
            complete: true,
            continues: None,
        }),
        Kind::Called(name) => Event::Turn(TurnEvent::ToolCalled {
            call: name.call(),
            name: "tool".to_owned(),
            args: serde_json::Map::new(),
        }),
        Kind::Asked(name) => Event::Turn(TurnEvent::ApprovalAsked {
            call: name.call(),
            name: "tool".to_owned(),
            about: ApprovalAbout::Run,
            expires_at: at,
        }),
        Kind::Settled(name) => Event::Turn(TurnEvent::ApprovalSettled {
            call: name.call(),
            decision: Decision::Approved,
            by: None,
        }),
        Kind::Awaited(name) => {
            Event::Turn(TurnEvent::ToolAwaited { call: name.call(), expires_at: at })
        }
        Kind::Resumed(attempt) => Event::Turn(TurnEvent::Resumed {
            attempt: *attempt,
            reason: ResumeReason::Restart,
        }),
        Kind::Retried(name, attempt) => Event::Turn(TurnEvent::ToolRetried {
            call: name.call(),
            attempt: *attempt,
            reason: RetryReason::Safe,
        }),
        Kind::CallResult(name) => Event::Turn(TurnEvent::ToolReturned {
            call: name.call(),
            name: "tool".to_owned(),
            status: ToolStatus::Success,
            text: String::new(),
            content: None,
        }),
        Kind::Message(name, words) => Event::Turn(TurnEvent::Message {
            item: name.item(),
            text: words.text(),
            complete: true,
            continues: None,
        }),
        Kind::Usage(input_tokens, output_tokens, cached_tokens) => {
            Event::Turn(TurnEvent::Usage(Usage {
                input_tokens: *input_tokens,
                output_tokens: *output_tokens,
                cached_tokens: *cached_tokens,
            }))
        }
        Kind::Edited => {
            let [block, before, after, by] = ["human", "", "word", "agent"].map(str::to_owned);
            Event::Session(SessionEvent::MemoryEdited { block, before, after, by })
        }
        Kind::Compacted(through) => Event::Session(SessionEvent::Compacted {
            summary: "word".to_owned(),
            through: Seq(u64::from(*through)),
        }),
        Kind::Ended(name) => Event::Turn(TurnEvent::Ended {
            input: name.item(),
            outcome: Outcome::Completed,
            code: None,
            reason: None,
        }),
        Kind::Dreamt => {
            serde_json::from_str(r#"{"kind":"dreamt","of":"sheep"}"#).expect("an event")
        }
    }
}

/// Checks the invariants of every state.
fn check(state: &State) {
    let head = state.head();
    assert!(state.agent().is_some() || head == Seq::ZERO);
    let mut before = Seq::ZERO;
    for queued in state.queue() {
        assert!(before < queued.seq && queued.seq <= head, "the queue is in the order of the log");
        before = queued.seq;
    }
    let inputs: Vec<_> = state.queue().iter().map(|queued| &queued.input).collect();
    assert!(
        inputs.iter().enumerate().all(|(at, input)| !inputs[..at].contains(input)),
        "an input waits once"
    );
    if let Some(turn) = state.turn() {
        assert!(Seq::ZERO < turn.asked && turn.asked < turn.started && turn.started <= head);
        for (at, open) in turn.calls.iter().enumerate() {
            assert!(
                turn.calls[..at].iter().all(|other| other.call != open.call),
                "a call is open once"
            );
            assert!(
                open.approval.is_none() || open.awaited.is_none(),
                "a call waits for one thing"
            );
        }
    }
    if let Some(compaction) = state.compaction() {
        assert!(compaction.through < compaction.seq && compaction.seq <= head);
    }
}

fuzz_target!(|sequence: Vec<(Option<Name>, Kind)>| {
    let mut live = State::default();
    // Stored and read back before each event, as by a server that restarts every time.
    let mut restarted = State::default();
    let mut transcript = Transcript::default();
    let mut turns = (0_u64, 0_u64);
    for (turn, kind) in &sequence {
        let turn: Option<TurnId> = turn.map(|name| name.with("t").parse().expect("an id"));
        let event = event(kind);
        let before = live.clone();
        let outcome = live.apply(turn.as_ref(), &event);
        assert_eq!(restarted.apply(turn.as_ref(), &event), outcome);
        assert_eq!(restarted, live);
        match outcome {
            Ok(()) => {
                assert_eq!(live.head(), before.head().next());
                turns.0 += u64::from(matches!(event, Event::Turn(TurnEvent::Started { .. })));
                turns.1 += u64::from(matches!(event, Event::Turn(TurnEvent::Ended { .. })));
                let record =
                    Record { seq: live.head(), at: Timestamp::from_millis(0), turn, event };
                let emission = Emission::Record(record);
                // Another test checks the changes themselves.
                let _change = transcript.apply(&emission);
                let shown = transcript.clone();
                assert_eq!(transcript.apply(&emission), TranscriptChange::Nothing);
                assert_eq!(transcript, shown, "what comes twice is shown once");
            }
            Err(_) => assert_eq!(live, before, "a refused event changes nothing"),
        }
        check(&live);
        assert_eq!(turns.0 - turns.1, u64::from(live.turn().is_some()), "every turn ends once");
        let stored = serde_json::to_string(&live).expect("a state can be stored");
        restarted =
            serde_json::from_str(&stored).unwrap_or_else(|error| panic!("{stored}: {error}"));
        assert_eq!(restarted, live, "{stored}");
    }
});
