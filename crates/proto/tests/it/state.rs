//! The fold: every illegal pair is refused, and replay equals live.

use proptest::prelude::*;
use serde_json::Map;
use thoughtwire_proto::{
    ApprovalAbout, Decision, Event, InputEvent, Outcome, SessionEvent, State, Timestamp,
    ToolStatus, TurnEvent, TurnId, Usage,
};

fn turn(name: &str) -> TurnId {
    name.parse().unwrap()
}

fn opened() -> Event {
    Event::Session(SessionEvent::Opened {
        agent: "a-1".parse().unwrap(),
        instructions: None,
        history: vec![],
    })
}

fn said(item: &str) -> Event {
    Event::Input(InputEvent::UserMessage {
        item: item.parse().unwrap(),
        text: "hi".to_owned(),
        attachments: vec![],
        from: None,
    })
}

fn withdrawn(input: &str) -> Event {
    Event::Input(InputEvent::Withdrawn { input: input.parse().unwrap() })
}

fn started(input: &str) -> Event {
    Event::Turn(TurnEvent::Started { input: input.parse().unwrap() })
}

fn thought(text: &str) -> Event {
    Event::Turn(TurnEvent::Thought {
        item: "i-t".parse().unwrap(),
        text: text.to_owned(),
        complete: true,
        continues: None,
    })
}

fn message(text: &str) -> Event {
    Event::Turn(TurnEvent::Message {
        item: "i-m".parse().unwrap(),
        text: text.to_owned(),
        complete: true,
        continues: None,
    })
}

fn called(call: &str) -> Event {
    Event::Turn(TurnEvent::ToolCalled {
        call: call.parse().unwrap(),
        name: "now".to_owned(),
        args: Map::new(),
    })
}

fn asked(call: &str) -> Event {
    Event::Turn(TurnEvent::ApprovalAsked {
        call: call.parse().unwrap(),
        name: String::new(),
        about: ApprovalAbout::Run,
        expires_at: Timestamp::from_millis(9),
    })
}

fn settled(call: &str) -> Event {
    Event::Turn(TurnEvent::ApprovalSettled {
        call: call.parse().unwrap(),
        decision: Decision::Denied,
        by: None,
    })
}

fn returned(call: &str) -> Event {
    let (name, text) = ("now".to_owned(), "noon".to_owned());
    Event::Turn(TurnEvent::ToolReturned {
        call: call.parse().unwrap(),
        name,
        status: ToolStatus::Success,
        text,
        content: None,
    })
}

fn edited() -> Event {
    Event::Session(SessionEvent::MemoryEdited {
        block: "human".to_owned(),
        before: String::new(),
        after: "x".to_owned(),
        by: "owner".to_owned(),
    })
}

fn ended(input: &str) -> Event {
    Event::Turn(TurnEvent::Ended {
        input: input.parse().unwrap(),
        outcome: Outcome::Completed,
        code: None,
        reason: None,
    })
}

fn renamed() -> Event {
    Event::Session(SessionEvent::Renamed { title: "Tea".to_owned() })
}

type Step = (Option<&'static str>, Event);

/// Makes a state from legal steps.
fn state(steps: &[Step]) -> State {
    let mut state = State::default();
    for (of, event) in steps {
        state.apply(of.map(turn).as_ref(), event).unwrap();
    }
    state
}

fn idle() -> Vec<Step> {
    vec![(None, opened())]
}

fn queued() -> Vec<Step> {
    vec![(None, opened()), (None, said("i-1"))]
}

fn running() -> Vec<Step> {
    vec![(None, opened()), (None, said("i-1")), (Some("t-1"), started("i-1")), (None, said("i-2"))]
}

fn calling() -> Vec<Step> {
    let mut steps = running();
    steps.push((Some("t-1"), called("c-1")));
    steps
}

fn asking() -> Vec<Step> {
    let mut steps = calling();
    steps.push((Some("t-1"), asked("c-1")));
    steps
}

fn over() -> Vec<Step> {
    let mut steps = running();
    steps.push((Some("t-1"), ended("i-1")));
    steps
}

#[test]
fn every_illegal_pair_is_refused() {
    const UNOPENED: &str = "the session is not opened";
    const NO_TURN: &str = "it names no turn";
    const NOT_RUN: &str = "its turn does not run";
    let other = || serde_json::from_str::<Event>(r#"{"kind":"dreamt"}"#).unwrap();
    let compacted = || {
        Event::Session(SessionEvent::Compacted {
            summary: "s".to_owned(),
            through: thoughtwire_proto::Seq(1),
        })
    };
    let usage = || Event::Turn(TurnEvent::Usage(Usage::default()));
    let instructed =
        || Event::Session(SessionEvent::InstructionsChanged { instructions: String::new() });

    let mut table: Vec<(Vec<Step>, Option<&str>, Event, &str)> = vec![
        (idle(), None, opened(), "the session is opened already"),
        (queued(), None, said("i-1"), "the input is queued already"),
        (idle(), Some("t-1"), said("i-1"), NOT_RUN),
        (running(), Some("t-2"), said("i-3"), NOT_RUN),
        (idle(), None, withdrawn("i-1"), "the input is not queued"),
        (running(), None, withdrawn("i-1"), "the input is not queued"),
        (queued(), None, started("i-1"), NO_TURN),
        (queued(), Some("t-1"), started("i-9"), "its input is not queued"),
        (running(), Some("t-2"), started("i-2"), "another turn runs"),
        (running(), Some("t-1"), thought(""), "its text is empty"),
        (running(), Some("t-1"), message(""), "its text is empty"),
        (calling(), Some("t-1"), called("c-1"), "the call is open already"),
        (running(), Some("t-1"), asked("c-1"), "the call is not open"),
        (asking(), Some("t-1"), asked("c-1"), "the approval is asked already"),
        (running(), Some("t-1"), settled("c-1"), "no approval is asked for the call"),
        (calling(), Some("t-1"), settled("c-1"), "no approval is asked for the call"),
        (running(), Some("t-1"), returned("c-1"), "the call is not open"),
        (running(), Some("t-1"), ended("i-2"), "its input is another's"),
        (calling(), Some("t-1"), ended("i-1"), "calls of the turn are open"),
        (idle(), Some("t-1"), edited(), NOT_RUN),
        (idle(), Some("t-1"), compacted(), NOT_RUN),
    ];
    // Nothing comes before the opening.
    for event in [
        renamed(),
        instructed(),
        said("i-1"),
        withdrawn("i-1"),
        started("i-1"),
        thought("x"),
        called("c-1"),
        asked("c-1"),
        settled("c-1"),
        returned("c-1"),
        message("x"),
        usage(),
        edited(),
        compacted(),
        ended("i-1"),
        other(),
    ] {
        table.push((vec![], None, event.clone(), UNOPENED));
        table.push((vec![], Some("t-1"), event, UNOPENED));
    }
    // Events of a turn need their running turn: not before it, in another one, or after its end.
    for event in [
        thought("x"),
        called("c-1"),
        asked("c-1"),
        settled("c-1"),
        returned("c-1"),
        message("x"),
        usage(),
        ended("i-1"),
    ] {
        table.push((running(), None, event.clone(), NO_TURN));
        table.push((queued(), Some("t-1"), event.clone(), NOT_RUN));
        table.push((running(), Some("t-2"), event.clone(), NOT_RUN));
        table.push((over(), Some("t-1"), event, NOT_RUN));
    }
    for (steps, of, event, reason) in table {
        let before = state(&steps);
        let mut after = before.clone();
        let illegal = after
            .apply(of.map(turn).as_ref(), &event)
            .expect_err(&format!("{event:?} after {steps:?}"));
        assert_eq!((illegal.kind.as_str(), illegal.reason), (event.kind(), reason));
        assert_eq!(after, before, "a refused event must change nothing");
    }
}

#[test]
fn legal_events_are_applied() {
    for (steps, of, event) in [
        (idle(), None, edited()),
        (running(), Some("t-1"), edited()),
        (running(), Some("t-1"), said("i-3")),
        (running(), None, withdrawn("i-2")),
        (over(), Some("t-2"), started("i-2")),
        (asking(), Some("t-1"), settled("c-1")),
        (calling(), Some("t-1"), called("c-2")),
        (calling(), Some("t-1"), returned("c-1")),
        (idle(), None, renamed()),
    ] {
        let mut state = state(&steps);
        let head = state.head();
        state.apply(of.map(turn).as_ref(), &event).unwrap();
        assert_eq!(state.head(), head.next());
    }
}

/// Events of a small world, so that random sequences are often legal.
fn any_step() -> impl Strategy<Value = (Option<TurnId>, Event)> {
    let inputs = prop::sample::select(vec!["i-1", "i-2", "i-3"]);
    let calls = prop::sample::select(vec!["c-1", "c-2"]);
    let of = prop::option::weighted(0.7, prop::sample::select(vec!["t-1", "t-2"]));
    (of, inputs, calls, 0..14usize).prop_map(|(of, input, call, which)| {
        let event = match which {
            0 | 1 => said(input),
            2 => withdrawn(input),
            3 | 4 => started(input),
            5 => thought("x"),
            6 => message("x"),
            7 => called(call),
            8 => asked(call),
            9 => settled(call),
            10 => returned(call),
            11 | 12 => ended(input),
            _ => renamed(),
        };
        (of.map(turn), event)
    })
}

proptest! {
    #[test]
    fn replay_of_a_prefix_and_the_rest_equals_live(
        steps in prop::collection::vec(any_step(), 0..120),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut live = state(&idle());
        let mut log = vec![(None, opened())];
        let mut stored = vec![live.clone()];
        for (of, event) in steps {
            if live.apply(of.as_ref(), &event).is_ok() {
                log.push((of, event));
                stored.push(live.clone());
            }
        }
        prop_assert_eq!(live.head().0, log.len() as u64);
        // Replays the log from the start, through the stored form of every event.
        let mut replayed = State::default();
        for (of, event) in &log {
            let stored = serde_json::to_string(event).unwrap();
            let event: Event = serde_json::from_str(&stored).unwrap();
            replayed.apply(of.as_ref(), &event).unwrap();
        }
        prop_assert_eq!(&replayed, &live);
        // Continues from a stored state.
        let at = cut.index(log.len());
        let text = serde_json::to_string(&stored[at]).unwrap();
        let mut resumed: State = serde_json::from_str(&text).unwrap();
        for (of, event) in &log[at + 1..] {
            resumed.apply(of.as_ref(), event).unwrap();
        }
        prop_assert_eq!(&resumed, &live);
    }
}
