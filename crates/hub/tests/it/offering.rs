//! Agents that programs outside run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use thoughtwire_hub::{HubOptions, Link};
use thoughtwire_proto::{
    Answer, Awaits, Command, Decision, Directive, Disposition, Emission, Event, Input, InputEvent,
    Offer, Outcome, Permission, Policy, Refusal, RefusalCode, Request, Run, SessionId, StreamKind,
    ToolDeclaration, ToolStatus, TurnEvent, TurnId, Usage, Verb,
};

use crate::support::{Listener, Puppet, Room, event, events, kinds};

pub(crate) fn offer(worker: &str) -> Offer {
    Offer {
        agent: "bob".to_owned(),
        worker: Some(worker.parse().unwrap()),
        turns: None,
        history: None,
        memory: None,
        tools: Vec::new(),
        cursors: None,
    }
}

/// A program outside, over one connection.
pub(crate) struct Program(pub(crate) Link);

impl Program {
    pub(crate) async fn come(room: &Room, offer: Offer) -> (Self, Vec<TurnId>) {
        let mut link = room.hub.link(&room.user);
        let answer = link.offer(offer, true).await.unwrap();
        let Answer::Offered { turns, .. } = answer else { panic!("{answer:?}") };
        (Self(link), turns)
    }

    /// What it is told next. A test that waits in vain fails.
    pub(crate) async fn told(&mut self) -> Directive {
        tokio::time::timeout(Duration::from_secs(10), self.0.next())
            .await
            .expect("it is told nothing")
    }

    pub(crate) async fn run(&mut self) -> Run {
        match self.told().await {
            Directive::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn say(
        &mut self,
        turn: &TurnId,
        id: &str,
        verb: Verb,
    ) -> Result<Answer, Refusal> {
        let id = (!id.is_empty()).then(|| id.parse().unwrap());
        self.0.say(turn, id, verb).await.await
    }

    /// Says something that is taken.
    pub(crate) async fn said(&mut self, turn: &TurnId, id: &str, verb: Verb) {
        let answer = self.say(turn, id, verb).await;
        assert!(matches!(answer, Ok(Answer::Said { duplicate: false, .. })), "{answer:?}");
    }

    pub(crate) async fn finish(&mut self, turn: &TurnId, id: &str) -> Result<Answer, Refusal> {
        self.say(turn, id, Verb::Finish { text: Some("Done.".to_owned()) }).await
    }
}

/// A room with an agent that programs run.
pub(crate) async fn open(dir: &Path) -> Room {
    with(dir, HubOptions::default()).await
}

async fn with(dir: &Path, options: HubOptions) -> Room {
    let mut room = Room::with(dir, Arc::new(Puppet), options).await;
    let Answer::Offered { agent, .. } =
        room.hub.link(&room.user).offer(offer("first"), true).await.unwrap()
    else {
        panic!("no agent")
    };
    room.session = agent.main_session.clone();
    room.agent = *agent;
    room
}

/// The same room under the next hub, after a planned stop. Whoever was there is gone.
pub(crate) async fn started_again<T>(room: Room, dir: &Path, guest: T) -> Room {
    room.hub.stop(Duration::ZERO).await;
    let store = Arc::clone(room.hub.store());
    let session = room.session.clone();
    drop((guest, room));
    store.close().await;
    Room { session, ..Room::open(dir).await }
}

async fn another(room: &Room) -> SessionId {
    let command = Command::CreateSession {
        agent: "bob".into(),
        title: None,
        instructions: None,
        history: vec![],
    };
    let Ok(Answer::Session(session)) = room.ask(None, command).await else { panic!("no session") };
    session
}

async fn send_to(room: &Room, session: &SessionId) -> Disposition {
    let command = Command::Send {
        session: session.clone(),
        text: "hi".into(),
        attachments: vec![],
        policy: Policy::Queue,
    };
    match room.ask(None, command).await.unwrap() {
        Answer::Input { disposition, .. } => disposition,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn ended(seen: &[Emission]) -> (Outcome, Option<String>) {
    let end = events(seen).into_iter().find_map(|event| match event {
        Event::Turn(TurnEvent::Ended { outcome, code, .. }) => Some((outcome, code)),
        _ => None,
    });
    end.expect("no turn ended")
}

fn thought(text: &str) -> Verb {
    Verb::InternalMonologue { text: text.to_owned() }
}

fn delta(item: &str, n: u64, text: &str) -> Verb {
    Verb::Delta { item: item.parse().unwrap(), n, kind: StreamKind::Message, text: text.to_owned() }
}

pub(crate) fn called(name: &str) -> Verb {
    Verb::ToolCalled { name: name.to_owned(), args: Map::new() }
}

pub(crate) fn code(answer: Result<Answer, Refusal>) -> RefusalCode {
    answer.expect_err("it was taken").code
}

#[tokio::test]
async fn a_program_runs_a_turn_with_every_verb() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let (mut program, _) = Program::come(&room, offer("w")).await;
    room.send("What is 6*7?").await.unwrap();
    let run = program.run().await;
    assert_eq!(
        (run.input.text.as_str(), run.resumed, run.history.len()),
        ("What is 6*7?", false, 0)
    );
    let turn = run.turn;
    // Only who reads along is shown deltas.
    let listening = tokio::spawn(async move { listener.turn().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    program.said(&turn, "", delta("i-1", 0, "It ")).await;
    program.said(&turn, "t-1", thought("Hm.")).await;
    program.said(&turn, "c-1", called("calculator")).await;
    let returned = Verb::ToolReturned {
        call: "c-1".parse().unwrap(),
        status: ToolStatus::Success,
        text: "42".into(),
        content: None,
    };
    program.said(&turn, "v-1", returned).await;
    program
        .said(&turn, "f-1", Verb::FunctionMessage { text: "Running dig({\"deep\": true})".into() })
        .await;
    program.said(&turn, "f-2", Verb::FunctionMessage { text: "Error: rock".into() }).await;
    program.said(&turn, "", Verb::Status { text: "nearly".into() }).await;
    program
        .said(
            &turn,
            "",
            Verb::Usage(Usage { input_tokens: 2, output_tokens: 3, cached_tokens: None }),
        )
        .await;
    program.said(&turn, "i-1", Verb::AssistantMessage { text: "It is".into() }).await;
    program.said(&turn, "i-2", Verb::Finish { text: Some("42.".into()) }).await;
    let seen = listening.await.unwrap();
    let expected = "session_opened user_message turn_started thought tool_called tool_returned tool_called tool_returned message usage \
                    message turn_ended";
    assert_eq!(kinds(&events(&seen)), expected.split_whitespace().collect::<Vec<_>>());
    let is_streamed = |emission: &Emission| match emission {
        Emission::Delta(delta) => delta.item.as_str() == "i-1" && delta.n == 0,
        Emission::Partial(partial) => partial.item.as_str() == "i-1",
        _ => false,
    };
    assert!(seen.iter().any(is_streamed));
    assert!(
        seen.iter()
            .any(|emission| matches!(emission, Emission::Status { text, .. } if text == "nearly"))
    );
    assert_eq!(ended(&seen), (Outcome::Completed, None));
}

#[tokio::test]
async fn what_is_said_twice_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let (mut program, _) = Program::come(&room, offer("w")).await;
    room.send("hi").await.unwrap();
    let turn = program.run().await.turn;
    for duplicate in [false, true] {
        for (id, verb) in [("t-1", thought("Hm.")), ("c-1", called("x"))] {
            let answer = program.say(&turn, id, verb).await.unwrap();
            assert!(
                matches!(answer, Answer::Said { seq: Some(_), duplicate: again, .. } if again == duplicate),
                "{answer:?}"
            );
        }
    }
    // Also when the turn is over.
    let first = program.finish(&turn, "i-1").await.unwrap();
    let again = program.finish(&turn, "i-1").await.unwrap();
    let (Answer::Said { seq, .. }, Answer::Said { seq: same, duplicate, .. }) = (first, again)
    else {
        panic!("not said")
    };
    assert_eq!((seq, duplicate), (same, true));
    assert_eq!(code(program.say(&turn, "t-2", thought("late")).await), RefusalCode::NoTurn);
    let seen = events(&listener.turn().await);
    assert_eq!(
        kinds(&seen)
            .iter()
            .filter(|kind| matches!(**kind, "thought" | "tool_called" | "message"))
            .count(),
        3
    );
}

#[tokio::test]
async fn inputs_wait_for_somebody_to_offer_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let told = listener.until(|emission| matches!(emission, Emission::Status { text, .. } if text.starts_with("bob is run by a program")));
    let sent = async {
        for text in ["one", "two"] {
            let answer = room.send(text).await.unwrap();
            assert!(
                matches!(answer, Answer::Input { disposition: Disposition::Queued, .. }),
                "{answer:?}"
            );
        }
    };
    tokio::join!(told, sent);
    let room = started_again(room, dir.path(), listener).await;
    // Who comes late is told as well.
    let (_, mut listener) = room.after(0).await;
    listener.until(|emission| matches!(emission, Emission::Status { text, .. } if text.starts_with("bob is run by a program"))).await;
    let (mut program, _) = Program::come(&room, offer("w")).await;
    for text in ["one", "two"] {
        let run = program.run().await;
        assert_eq!(run.input.text, text);
        program.finish(&run.turn, &format!("i-{text}")).await.unwrap();
    }
}

#[tokio::test]
async fn turns_are_spread_and_a_session_stays_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (mut one, _) = Program::come(&room, Offer { turns: Some(4), ..offer("one") }).await;
    let (mut two, _) = Program::come(&room, Offer { turns: Some(4), ..offer("two") }).await;
    let mut sessions = Vec::new();
    for _ in 0..9 {
        sessions.push(another(&room).await);
    }
    let mut dispositions = Vec::new();
    for session in &sessions {
        dispositions.push(send_to(&room, session).await);
    }
    // Eight places, nine sessions.
    assert_eq!(dispositions.iter().filter(|became| **became == Disposition::Queued).count(), 1);
    let mut at: BTreeMap<SessionId, &str> = BTreeMap::new();
    let mut turns = Vec::new();
    for _ in 0..4 {
        for (program, name) in [(&mut one, "one"), (&mut two, "two")] {
            let run = program.run().await;
            at.insert(run.session.clone(), name);
            turns.push((name, run.turn));
        }
    }
    let mut n = 0;
    for (name, turn) in turns {
        n += 1;
        let program = if name == "one" { &mut one } else { &mut two };
        program.finish(&turn, &format!("i-{n}")).await.unwrap();
    }
    let ninth =
        &sessions[dispositions.iter().position(|became| *became == Disposition::Queued).unwrap()];
    let (mut homes, mut waited) = (BTreeMap::new(), false);
    // With room at both, each session always comes to the same one.
    for round in 0..3 {
        for session in &sessions {
            if round > 0 {
                assert_eq!(send_to(&room, session).await, Disposition::Started);
            } else if session == ninth {
                waited = true;
            } else {
                continue;
            }
            let (run, name) = tokio::select! {
                run = one.run() => (run, "one"),
                run = two.run() => (run, "two"),
            };
            assert_eq!(run.session, *session);
            if round > 0 {
                assert_eq!(*homes.entry(session.clone()).or_insert(name), name, "it moved");
            }
            n += 1;
            let program = if name == "one" { &mut one } else { &mut two };
            program.finish(&run.turn, &format!("i-{n}")).await.unwrap();
        }
    }
    assert!(waited);
    assert_eq!(
        homes.values().collect::<std::collections::BTreeSet<_>>().len(),
        2,
        "one of them got everything"
    );
}

#[tokio::test]
async fn who_comes_back_goes_on_where_its_acknowledgements_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let (mut program, _) = Program::come(&room, offer("w")).await;
    room.send("hi").await.unwrap();
    let turn = program.run().await.turn;
    program.said(&turn, "t-1", thought("Hm.")).await;
    listener
        .until(|emission| matches!(event(emission), Some(Event::Turn(TurnEvent::Thought { .. }))))
        .await;
    for (n, text) in ["Once ", "upon "].into_iter().enumerate() {
        program.said(&turn, "", delta("i-1", n as u64, text)).await;
    }
    drop(program);
    listener.until(|emission| matches!(emission, Emission::Status { text, .. } if text.contains("went away"))).await;

    let (mut program, turns) = Program::come(&room, offer("w")).await;
    assert_eq!(turns, std::slice::from_ref(&turn));
    let run = program.run().await;
    assert!(run.resumed && run.turn == turn);
    assert_eq!(run.open, BTreeMap::from([("i-1".parse().unwrap(), 2)]));
    assert_eq!(
        run.history.iter().map(|record| record.event.kind()).collect::<Vec<_>>(),
        ["turn_started", "thought"]
    );
    let again = program.say(&turn, "t-1", thought("Hm.")).await.unwrap();
    assert!(matches!(again, Answer::Said { duplicate: true, .. }));
    // One that came before is passed over, one too far ahead refused.
    program.said(&turn, "", delta("i-1", 1, "upon ")).await;
    assert_eq!(
        code(program.say(&turn, "", delta("i-1", 3, "time")).await),
        RefusalCode::BadRequest
    );
    program.said(&turn, "", delta("i-1", 2, "a time")).await;
    // One of an item that is whole opens nothing.
    program.said(&turn, "", delta("t-1", 0, "H")).await;
    program.said(&turn, "i-1", Verb::Finish { text: Some("Once upon a time".into()) }).await;
    let seen = listener.turn().await;
    assert_eq!(ended(&seen), (Outcome::Completed, None));
    let log = room.log().await;
    assert_eq!(
        kinds(&log).iter().filter(|kind| matches!(**kind, "thought" | "message")).count(),
        2
    );
}

#[tokio::test]
async fn who_does_not_come_back_loses_its_turns_and_the_next_one_gets_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let room = with(
        dir.path(),
        HubOptions { offer_grace: Duration::from_millis(50), ..HubOptions::default() },
    )
    .await;
    let (_, mut listener) = room.after(0).await;
    let (mut lost, _) = Program::come(&room, offer("lost")).await;
    room.send("one").await.unwrap();
    room.send("two").await.unwrap();
    let turn = lost.run().await.turn;
    lost.said(&turn, "", delta("i-1", 0, "Half a sen")).await;
    drop(lost);
    let seen = listener.turn().await;
    assert_eq!(ended(&seen), (Outcome::Failed, Some("agent_lost".to_owned())));
    assert!(events(&seen).iter().any(|event| matches!(
        event,
        Event::Turn(TurnEvent::Message { text, complete: false, .. }) if text == "Half a sen")));
    let (mut next, turns) = Program::come(&room, offer("next")).await;
    assert_eq!(turns, []);
    let run = next.run().await;
    assert_eq!(run.input.text, "two");
    next.finish(&run.turn, "i-2").await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Completed, None));
}

#[tokio::test]
async fn a_cancel_reaches_the_program_and_its_late_words_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let (mut program, _) = Program::come(&room, offer("w")).await;
    room.send("one").await.unwrap();
    room.send("two").await.unwrap();
    let first = program.run().await;
    room.cancel().await.unwrap();
    assert_eq!(
        program.told().await,
        Directive::Cancel { session: first.session.clone(), turn: first.turn.clone() }
    );
    assert_eq!(code(program.say(&first.turn, "t-1", thought("late")).await), RefusalCode::NoTurn);
    // The next input starts with the other's end, in its place; an interruption likewise.
    let second = program.run().await;
    assert_eq!(second.input.text, "two");
    let answer = room.send_as(None, "three", Policy::Interrupt).await.unwrap();
    assert!(matches!(answer, Answer::Input { disposition: Disposition::Started, .. }));
    assert_eq!(
        program.told().await,
        Directive::Cancel { session: second.session, turn: second.turn }
    );
    let third = program.run().await;
    assert_eq!(third.input.text, "three");
    program
        .said(
            &third.turn,
            "v-1",
            Verb::Fail { code: Some("out_of_tea".into()), reason: "There is no tea.".into() },
        )
        .await;
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        outcomes.push(ended(&listener.turn().await));
    }
    let said = |outcome, code: &str| (outcome, Some(code.to_owned()));
    let expected = [
        said(Outcome::Cancelled, "cancelled"),
        said(Outcome::Cancelled, "interrupted"),
        said(Outcome::Failed, "out_of_tea"),
    ];
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn a_program_harms_no_turn_but_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (mut program, _) = Program::come(&room, offer("w")).await;
    room.send("hi").await.unwrap();
    let turn = program.run().await.turn;
    // Another connection of the same user, and one of another user's.
    let mut stranger = Program(room.hub.link(&room.user));
    assert_eq!(code(stranger.say(&turn, "t-1", thought("me")).await), RefusalCode::NoTurn);
    let other = room
        .hub
        .link(&"mallory".parse().unwrap())
        .offer(Offer { agent: room.agent.id.to_string(), ..offer("w") }, false)
        .await;
    assert_eq!(code(other), RefusalCode::UnknownAgent);
    let call = || "c-9".parse().unwrap();
    for verb in [
        Verb::ToolReturned {
            call: call(),
            status: ToolStatus::Success,
            text: String::new(),
            content: None,
        },
        Verb::Approval { call: call(), timeout_ms: None },
        Verb::ClientRuns { call: call(), timeout_ms: None },
    ] {
        assert_eq!(code(program.say(&turn, "v-1", verb).await), RefusalCode::UnknownCall);
    }
    for verb in [thought(""), delta("i-1", 7, "x")] {
        assert_eq!(code(program.say(&turn, "v-2", verb).await), RefusalCode::BadRequest);
    }
    program.finish(&turn, "i-1").await.unwrap();
    let built_in = Offer { agent: "ada".to_owned(), ..offer("w") };
    assert_eq!(code(program.0.offer(built_in, true).await), RefusalCode::NotOffered);
    assert_eq!(
        code(program.0.offer(Offer { agent: "nobody".to_owned(), ..offer("w") }, false).await),
        RefusalCode::UnknownAgent
    );
    assert_eq!(
        code(program.0.offer(Offer { turns: Some(1_001), ..offer("w") }, true).await),
        RefusalCode::BadRequest
    );
}

#[tokio::test]
async fn inputs_that_join_a_turn_keep_it_going() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let (mut program, _) = Program::come(&room, offer("w")).await;
    room.send("one").await.unwrap();
    let turn = program.run().await.turn;
    room.send_as(None, "and two", Policy::Steer).await.unwrap();
    // A finish that is refused takes nothing along.
    assert_eq!(
        code(program.say(&turn, "i-0", Verb::Finish { text: Some(String::new()) }).await),
        RefusalCode::BadRequest
    );
    let spent =
        |tokens| Verb::Usage(Usage { input_tokens: tokens, output_tokens: 0, cached_tokens: None });
    program.said(&turn, "", spent(5)).await;
    let Ok(Answer::Said { steered, .. }) = program.finish(&turn, "i-1").await else {
        panic!("not said")
    };
    assert!(matches!(steered.as_slice(), [Input { text, .. }] if text == "and two"));
    program.said(&turn, "", spent(7)).await;
    program.finish(&turn, "i-2").await.unwrap();
    let seen = events(&listener.turn().await);
    assert_eq!(kinds(&seen).iter().filter(|kind| **kind == "message").count(), 2);
    let spent = seen.iter().filter_map(|event| {
        if let Event::Turn(TurnEvent::Usage(usage)) = event {
            Some(usage.input_tokens)
        } else {
            None
        }
    });
    assert_eq!(spent.collect::<Vec<_>>(), [5, 2]);
}

#[tokio::test]
async fn a_turn_that_waits_for_people_outlives_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (mut program, _) = Program::come(&room, offer("w")).await;
    room.send("hi").await.unwrap();
    let turn = program.run().await.turn;
    let ask =
        |call: &str| Verb::Approval { call: call.parse().unwrap(), timeout_ms: Some(600_000) };
    for call in ["c-1", "c-2"] {
        program.said(&turn, call, called("risky")).await;
    }
    program.said(&turn, "v-1", ask("c-1")).await;
    program.said(&turn, "v-2", ask("c-2")).await;
    let room = started_again(room, dir.path(), program).await;
    let (_, mut listener) = room.after(0).await;
    // Decided while nobody runs the turn.
    let decide = |call: &str| Command::Decide {
        session: Some(room.session.clone()),
        call: Some(call.parse().unwrap()),
        approve: true,
    };
    room.ask(None, decide("c-1")).await.unwrap();
    let (mut program, turns) = Program::come(&room, offer("other")).await;
    assert_eq!(turns, std::slice::from_ref(&turn));
    let run = program.run().await;
    assert!(run.resumed && run.turn == turn, "{run:?}");
    let asked =
        |run: &Run| run.waiting.iter().map(|waiting| waiting.call.to_string()).collect::<Vec<_>>();
    assert!(run.waiting.iter().all(|waiting| waiting.awaits == Awaits::Approval));
    // Answered or not: the answer follows.
    assert_eq!(asked(&run), ["c-1", "c-2"]);
    // What it had said before is not said again.
    for call in ["c-1", "c-2"] {
        let again = program.say(&turn, call, called("risky")).await.unwrap();
        assert!(matches!(again, Answer::Said { duplicate: true, seq: Some(_), .. }), "{again:?}");
    }
    let first = program.told().await;
    assert!(
        matches!(&first, Directive::ApprovalSettled { call, decision: Decision::Approved, .. } if call.as_str() == "c-1"),
        "{first:?}"
    );
    room.ask(None, decide("c-2")).await.unwrap();
    let second = program.told().await;
    assert!(
        matches!(&second, Directive::ApprovalSettled { call, .. } if call.as_str() == "c-2"),
        "{second:?}"
    );
    // A program that comes back is told again what came for calls that are open, and what still waits.
    program.said(&turn, "c-3", called("risky")).await;
    program.said(&turn, "v-3", ask("c-3")).await;
    drop(program);
    let (mut program, _) = Program::come(&room, offer("other")).await;
    let run = program.run().await;
    assert!(run.resumed);
    assert_eq!(asked(&run), ["c-1", "c-2", "c-3"]);
    for _ in 0..2 {
        assert!(matches!(program.told().await, Directive::ApprovalSettled { .. }));
    }
    room.ask(None, decide("c-3")).await.unwrap();
    assert!(matches!(program.told().await, Directive::ApprovalSettled { .. }));
    for call in ["c-1", "c-2", "c-3"] {
        let verb = Verb::ToolReturned {
            call: call.parse().unwrap(),
            status: ToolStatus::Success,
            text: "ok".into(),
            content: None,
        };
        program.said(&turn, &format!("r-{call}"), verb).await;
    }
    program.finish(&turn, "i-1").await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Completed, None));
}

#[tokio::test]
async fn a_turn_that_waits_fails_when_its_agent_becomes_the_servers() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (mut program, _) = Program::come(&room, offer("w")).await;
    room.send("hi").await.unwrap();
    let turn = program.run().await.turn;
    program.said(&turn, "c-1", called("risky")).await;
    program
        .said(&turn, "v-1", Verb::Approval { call: "c-1".parse().unwrap(), timeout_ms: None })
        .await;
    // Whom others are to settle, the program does not.
    let returned = Verb::ToolReturned {
        call: "c-1".parse().unwrap(),
        status: ToolStatus::Success,
        text: "ok".into(),
        content: None,
    };
    assert_eq!(code(program.say(&turn, "r-1", returned).await), RefusalCode::BadRequest);
    let room = started_again(room, dir.path(), program).await;
    let (_, mut listener) = room.after(0).await;
    let Value::Object(changes) = json!({"model": "offline"}) else { unreachable!() };
    room.hub.edit_agent(&room.user, "bob", changes).await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Failed, Some("agent_lost".to_owned())));
}

#[tokio::test]
async fn a_program_keeps_no_more_open_than_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let (mut program, _) = Program::come(&room, offer("w")).await;
    room.send("hi").await.unwrap();
    let turn = program.run().await.turn;
    for n in 0..256 {
        program.said(&turn, &format!("c-{n}"), called("x")).await;
    }
    assert_eq!(code(program.say(&turn, "c-256", called("x")).await), RefusalCode::TooLarge);
    let megabyte = "x".repeat(1 << 20);
    for n in 0..8 {
        program.said(&turn, "", delta("i-1", n, &megabyte)).await;
    }
    assert_eq!(
        code(program.say(&turn, "", delta("i-1", 8, &megabyte)).await),
        RefusalCode::TooLarge
    );
    // What is said whole makes room.
    program.said(&turn, "i-1", Verb::AssistantMessage { text: "It was long.".into() }).await;
    program.said(&turn, "", delta("i-2", 0, &megabyte)).await;
    program.finish(&turn, "i-2").await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Completed, None));
}

#[tokio::test]
async fn who_leaves_gets_no_more_turns() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (mut leaving, _) = Program::come(&room, offer("leaving")).await;
    room.send("one").await.unwrap();
    room.send("two").await.unwrap();
    let turn = leaving.run().await.turn;
    leaving.0.offer(Offer { turns: Some(0), ..offer("leaving") }, true).await.unwrap();
    leaving.finish(&turn, "i-1").await.unwrap();
    let (mut next, _) = Program::come(&room, offer("next")).await;
    assert_eq!(next.run().await.input.text, "two");
}

async fn spoken(program: &mut Program, listener: &mut Listener, n: usize) -> Run {
    let run = program.run().await;
    program.said(&run.turn, &format!("t-{n}"), thought("Hm.")).await;
    program.finish(&run.turn, &format!("i-{n}")).await.unwrap();
    listener.turn().await;
    run
}

#[tokio::test]
async fn a_program_gets_as_much_of_the_past_as_it_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let past = |run: &Run| run.history.iter().map(|record| record.seq.0).collect::<Vec<_>>();
    // 1 opened; then per turn: input, start, thought, message, end.
    let asked = Offer { history: Some(3), memory: Some(true), ..offer("w") };
    let (mut program, _) = Program::come(&room, asked.clone()).await;
    for n in 0..2 {
        room.send("hi").await.unwrap();
        let run = spoken(&mut program, &mut listener, n).await;
        let expected: (Vec<u64>, u64) = if n == 0 { (vec![1], 0) } else { (vec![4, 5, 6], 3) };
        assert_eq!((past(&run), run.after.unwrap().0), expected);
        assert!(run.memory.iter().any(|block| block.label == "persona"));
    }
    // One that keeps its own past gets what is new: behind its cursor, then behind its last turn.
    let kept = Offer {
        history: Some(100),
        cursors: Some(BTreeMap::from([(room.session.clone(), thoughtwire_proto::Seq(9))])),
        ..asked
    };
    let Answer::Offered { .. } = program.0.offer(kept, true).await.unwrap() else {
        panic!("not offered")
    };
    room.send("hi").await.unwrap();
    assert_eq!(past(&spoken(&mut program, &mut listener, 2).await), [10, 11]);
    room.ask(None, Command::Rename { session: room.session.clone(), title: "Tea".into() })
        .await
        .unwrap();
    room.send("hi").await.unwrap();
    let run = spoken(&mut program, &mut listener, 3).await;
    assert_eq!(
        run.history.iter().map(|record| record.event.kind()).collect::<Vec<_>>(),
        ["session_renamed"]
    );
}

#[tokio::test]
async fn an_input_counts_from_the_start_of_its_turn_on() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let (mut one, _) = Program::come(
        &room,
        Offer { history: Some(100), cursors: Some(BTreeMap::new()), ..offer("one") },
    )
    .await;
    for text in ["first", "second", "third"] {
        room.send(text).await.unwrap();
    }
    let told = |run: &Run| {
        let said = run.history.iter().filter_map(|record| match &record.event {
            Event::Input(InputEvent::UserMessage { text, .. })
            | Event::Turn(TurnEvent::Message { text, .. }) => Some(text.clone()),
            _ => None,
        });
        said.collect::<Vec<_>>()
    };
    let run = one.run().await;
    assert_eq!((run.input.text.as_str(), told(&run)), ("first", Vec::new()));
    one.0
        .offer(
            Offer {
                turns: Some(0),
                history: Some(100),
                cursors: Some(BTreeMap::new()),
                ..offer("one")
            },
            true,
        )
        .await
        .unwrap();
    one.finish(&run.turn, "i-1").await.unwrap();
    // The second one runs elsewhere, where nothing is known.
    let (mut two, _) = Program::come(&room, Offer { history: Some(100), ..offer("two") }).await;
    let run = two.run().await;
    assert_eq!(
        (run.input.text.as_str(), told(&run)),
        ("second", vec!["first".to_owned(), "Done.".to_owned()])
    );
    two.0.offer(Offer { turns: Some(0), ..offer("two") }, true).await.unwrap();
    two.finish(&run.turn, "i-2").await.unwrap();
    // Behind the end of the first turn, where the second and third input lay already.
    let first = listener.turn().await;
    let Some(Emission::Record(end)) = first.last() else { panic!("no end") };
    let cursor = BTreeMap::from([(room.session.clone(), end.seq)]);
    one.0
        .offer(
            Offer { turns: Some(1), history: Some(100), cursors: Some(cursor), ..offer("one") },
            true,
        )
        .await
        .unwrap();
    let run = one.run().await;
    assert_eq!(
        (run.input.text.as_str(), told(&run)),
        ("third", vec!["second".to_owned(), "Done.".to_owned()])
    );
}

#[tokio::test]
async fn permissions_hold_for_tools_that_a_program_declares() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let tool = |name: &str| ToolDeclaration {
        name: name.to_owned(),
        description: "d".to_owned(),
        parameters: Map::new(),
    };
    let declared = Offer { tools: vec![tool("dig"), tool("bury"), tool("look")], ..offer("w") };
    let (mut program, _) = Program::come(&room, declared).await;
    let Value::Object(changes) =
        json!({"permissions": {"dig": "deny", "bury": "ask", "other": "ask"}})
    else {
        unreachable!()
    };
    let agent = room.hub.edit_agent(&room.user, "bob", changes).await.unwrap();
    room.send("hi").await.unwrap();
    let run = program.run().await;
    let expected = BTreeMap::from([
        ("bury".to_owned(), Permission::Ask),
        ("dig".to_owned(), Permission::Deny),
    ]);
    assert_eq!(run.permissions, expected);
    assert_eq!(code(program.say(&run.turn, "c-1", called("dig")).await), RefusalCode::Forbidden);
    program.finish(&run.turn, "i-1").await.unwrap();
    assert_eq!(
        room.hub.tools_of(&agent).iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(),
        ["dig", "bury", "look"]
    );
}

#[tokio::test]
async fn an_offer_ends_with_its_agent_or_when_another_takes_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let (mut old, _) = Program::come(&room, offer("w")).await;
    room.send("hi").await.unwrap();
    let turn = old.run().await.turn;
    let (mut new, turns) = Program::come(&room, offer("w")).await;
    assert_eq!(turns, std::slice::from_ref(&turn));
    assert!(matches!(old.told().await, Directive::OfferEnded { .. }));
    assert_eq!(code(old.say(&turn, "t-1", thought("me")).await), RefusalCode::NoTurn);
    drop(old);
    assert!(new.run().await.resumed);
    // The agent becomes the server's to run: what runs fails, and what comes is answered by the server.
    let Value::Object(changes) = json!({"model": "offline"}) else { unreachable!() };
    room.hub.edit_agent(&room.user, "bob", changes).await.unwrap();
    assert!(matches!(new.told().await, Directive::OfferEnded { .. }));
    assert_eq!(ended(&listener.turn().await), (Outcome::Failed, Some("agent_lost".to_owned())));
    room.send("say").await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Completed, None));
    let request = Request { id: None, command: Command::FindAgent { agent: "bob".into() } };
    assert!(room.hub.execute(&room.user, None, request).await.is_ok());
}
