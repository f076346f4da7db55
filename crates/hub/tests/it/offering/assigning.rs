//! Turns and workers: waiting, spreading, cancelling, the end of an offer.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use serde_json::{Value, json};
use thoughtwire_proto::{
    Command, CommandReply, Directive, DirectoryCommand, Disposition, Event, Offer, Outcome, Policy,
    RefusalCode, SessionId, SessionReply, TurnEvent, Verb,
};

use super::{
    TestWorker, another, code, connected, ended, offer, open, send_to, started_again, thought,
};

#[tokio::test]
async fn inputs_wait_for_a_worker_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let told = listener.until_status("bob is run by a program");
    let sent = async {
        for text in ["one", "two"] {
            let answer = room.send(text).await.unwrap();
            assert!(
                matches!(
                    answer,
                    CommandReply::Session(SessionReply::Input {
                        disposition: Disposition::Queued,
                        ..
                    })
                ),
                "{answer:?}"
            );
        }
    };
    tokio::join!(told, sent);
    let room = started_again(room, dir.path(), listener).await;
    // A client that attaches later sees the status as well.
    let (_, mut listener) = room.after(0).await;
    listener.until_status("bob is run by a program").await;
    let (mut worker, _) = TestWorker::connect(&room, offer("w")).await;
    for text in ["one", "two"] {
        let run = worker.run().await;
        assert_eq!(run.input.text, text);
        worker.finish(&run.turn, &format!("i-{text}")).await.unwrap();
    }
}

#[tokio::test]
async fn turns_are_spread_and_a_session_stays_at_its_worker() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (mut one, _) = TestWorker::connect(&room, Offer { turns: Some(4), ..offer("one") }).await;
    let (mut two, _) = TestWorker::connect(&room, Offer { turns: Some(4), ..offer("two") }).await;
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
        for (worker, name) in [(&mut one, "one"), (&mut two, "two")] {
            let run = worker.run().await;
            at.insert(run.session.clone(), name);
            turns.push((name, run.turn));
        }
    }
    let mut n = 0;
    for (name, turn) in turns {
        n += 1;
        let worker = if name == "one" { &mut one } else { &mut two };
        worker.finish(&turn, &format!("i-{n}")).await.unwrap();
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
            let worker = if name == "one" { &mut one } else { &mut two };
            worker.finish(&run.turn, &format!("i-{n}")).await.unwrap();
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
async fn a_worker_that_offers_no_turns_gets_none() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (mut leaving, _) = TestWorker::connect(&room, offer("leaving")).await;
    room.send("one").await.unwrap();
    room.send("two").await.unwrap();
    let turn = leaving.run().await.turn;
    leaving.0.offer(Offer { turns: Some(0), ..offer("leaving") }, true).await.unwrap();
    leaving.finish(&turn, "i-1").await.unwrap();
    let (mut next, _) = TestWorker::connect(&room, offer("next")).await;
    assert_eq!(next.run().await.input.text, "two");
    assert_eq!(leaving.0.next().now_or_never(), None, "no more turns come");
}

#[tokio::test]
async fn a_cancel_reaches_the_worker_and_its_late_verbs_are_refused() {
    let (_dir, room, mut listener, mut worker) = connected().await;
    room.send("one").await.unwrap();
    room.send("two").await.unwrap();
    let first = worker.run().await;
    room.cancel().await.unwrap();
    assert_eq!(
        worker.told().await,
        Directive::Cancel { session: first.session.clone(), turn: first.turn.clone() }
    );
    assert_eq!(code(worker.say(&first.turn, "t-1", thought("late")).await), RefusalCode::NoTurn);
    // The next input starts with the end of the other turn, under its permit. So does an
    // interrupting input.
    let second = worker.run().await;
    assert_eq!(second.input.text, "two");
    let answer = room.send_as(None, "three", Policy::Interrupt).await.unwrap();
    assert!(matches!(
        answer,
        CommandReply::Session(SessionReply::Input { disposition: Disposition::Started, .. })
    ));
    assert_eq!(
        worker.told().await,
        Directive::Cancel { session: second.session, turn: second.turn }
    );
    let third = worker.run().await;
    assert_eq!(third.input.text, "three");
    worker
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
    assert!(!has_thought(&room.log().await), "a late verb leaves no event");
}

#[tokio::test]
async fn an_offer_ends_with_its_agent_or_when_another_connection_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let (mut old, _) = TestWorker::connect(&room, offer("w")).await;
    room.send("hi").await.unwrap();
    let turn = old.run().await.turn;
    let (mut new, turns) = TestWorker::connect(&room, offer("w")).await;
    assert_eq!(turns, std::slice::from_ref(&turn));
    assert!(matches!(old.told().await, Directive::OfferEnded { .. }));
    assert_eq!(code(old.say(&turn, "t-1", thought("me")).await), RefusalCode::NoTurn);
    drop(old);
    assert!(new.run().await.resumed);
    // The server takes the agent: the running turn fails, and the server answers the next input.
    let Value::Object(changes) = json!({"model": "offline"}) else { unreachable!() };
    room.hub.directory().edit_agent(&room.user, "bob", changes).await.unwrap();
    assert!(matches!(new.told().await, Directive::OfferEnded { .. }));
    assert_eq!(ended(&listener.turn().await), (Outcome::Failed, Some("agent_lost".to_owned())));
    assert!(!has_thought(&room.log().await), "a refused verb leaves no event");
    room.send("say").await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Completed, None));
    let find = DirectoryCommand::FindAgent { agent: "bob".into() };
    assert!(room.ask(None, Command::Directory(find)).await.is_ok());
}

fn has_thought(log: &[Event]) -> bool {
    log.iter().any(|event| matches!(event, Event::Turn(TurnEvent::Thought { .. })))
}
