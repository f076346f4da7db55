//! Turns over disconnects and restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use thoughtwire_hub::HubOptions;
use thoughtwire_proto::{
    ApprovalAbout, Awaits, ConnectionReply, Decision, Directive, Event, Outcome, RefusalCode, Run,
    SessionCommand, ToolStatus, TurnEvent, Verb, Verdict,
};

use super::{TestWorker, called, code, delta, ended, offer, started, started_again, thought, with};
use crate::support::{events, kinds};

#[tokio::test]
async fn a_worker_that_reconnects_continues_after_its_acknowledgements() {
    let (_dir, room, mut listener, mut worker, turn) = started("hi").await;
    worker.said(&turn, "t-1", thought("Hm.")).await;
    listener.until_event(|event| matches!(event, Event::Turn(TurnEvent::Thought { .. }))).await;
    for (n, text) in ["Once ", "upon "].into_iter().enumerate() {
        worker.said(&turn, "", delta("i-1", n as u64, text)).await;
    }
    drop(worker);
    listener.until_status("the program that runs this agent went away").await;

    let (mut worker, turns) = TestWorker::connect(&room, offer("w")).await;
    assert_eq!(turns, std::slice::from_ref(&turn));
    let run = worker.run().await;
    assert!(run.resumed && run.turn == turn);
    assert_eq!(run.open, BTreeMap::from([("i-1".parse().unwrap(), 2)]));
    assert_eq!(
        run.history.iter().map(|record| record.event.kind()).collect::<Vec<_>>(),
        ["turn_started", "thought"]
    );
    let again = worker.say(&turn, "t-1", thought("Hm.")).await.unwrap();
    assert!(matches!(again, ConnectionReply::Said { duplicate: true, .. }));
    // A delta that came before is ignored, and one too far ahead is refused.
    worker.said(&turn, "", delta("i-1", 1, "upon ")).await;
    assert_eq!(code(worker.say(&turn, "", delta("i-1", 3, "time")).await), RefusalCode::BadRequest);
    worker.said(&turn, "", delta("i-1", 2, "a time")).await;
    // A delta of an item that is whole opens nothing.
    worker.said(&turn, "", delta("t-1", 0, "H")).await;
    worker.said(&turn, "i-1", Verb::Finish { text: Some("Once upon a time".into()) }).await;
    let seen = listener.turn().await;
    assert_eq!(ended(&seen), (Outcome::Completed, None));
    let log = room.log().await;
    assert_eq!(
        kinds(&log).iter().filter(|kind| matches!(**kind, "thought" | "message")).count(),
        2
    );
}

#[tokio::test]
async fn a_worker_that_stays_away_loses_its_turns_and_the_next_gets_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let room = with(
        dir.path(),
        HubOptions { offer_grace: Duration::from_millis(50), ..HubOptions::default() },
    )
    .await;
    let (_, mut listener) = room.after(0).await;
    let (mut lost, _) = TestWorker::connect(&room, offer("lost")).await;
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
    let (mut next, turns) = TestWorker::connect(&room, offer("next")).await;
    assert_eq!(turns, []);
    let run = next.run().await;
    assert_eq!(run.input.text, "two");
    next.finish(&run.turn, "i-2").await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Completed, None));
}

/// A worker's process dies, and another one offers under its name.
#[tokio::test]
async fn a_new_process_of_a_worker_learns_which_calls_had_started() {
    let (_dir, room, mut listener, mut worker, turn) = started("hi").await;
    let call = |id: &str| id.parse::<thoughtwire_proto::CallId>().unwrap();
    for id in ["c-1", "c-2", "c-3"] {
        worker.said(&turn, id, called("pay")).await;
    }
    let returned = |id: &str| Verb::ToolReturned {
        call: call(id),
        status: ToolStatus::Success,
        text: "paid".to_owned(),
        content: None,
    };
    worker.said(&turn, "r-1", returned("c-1")).await;
    let question = Verb::Approval { call: call("c-3"), about: None, timeout_ms: None };
    worker.said(&turn, "q-3", question).await;
    drop(worker);
    // An answer that comes meanwhile starts nothing: its worker is not there.
    let decide =
        SessionCommand::Decide { call: call("c-3"), decision: Verdict::Approved, result: None };
    room.ask(None, decide.on(room.session.clone())).await.unwrap();

    let (mut worker, _) = TestWorker::connect(&room, offer("w")).await;
    let run = worker.run().await;
    assert_eq!((run.unknown, run.attempt), (vec![call("c-2")], 0));
    assert_eq!(run.waiting.len(), 1);
    assert!(matches!(worker.told().await, Directive::ApprovalSettled { .. }));

    // A connection that takes over from one that is still open counts as another process, too.
    worker.said(&turn, "r-2", returned("c-2")).await;
    let (mut other, _) = TestWorker::connect(&room, offer("w")).await;
    assert_eq!(other.run().await.unknown, [call("c-3")]);
    other.said(&turn, "r-3", returned("c-3")).await;
    other.finish(&turn, "i-1").await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Completed, None));
}

#[tokio::test]
async fn a_turn_that_waits_for_approval_survives_a_restart() {
    let (dir, room, _, mut worker, turn) = started("hi").await;
    let ask = |call: &str| Verb::Approval {
        call: call.parse().unwrap(),
        about: None,
        timeout_ms: Some(600_000),
    };
    for call in ["c-1", "c-2"] {
        worker.said(&turn, call, called("risky")).await;
    }
    worker.said(&turn, "v-1", ask("c-1")).await;
    worker.said(&turn, "v-2", ask("c-2")).await;
    let room = started_again(room, dir.path(), worker).await;
    let (_, mut listener) = room.after(0).await;
    // The owner decides while no worker has the turn.
    let decide = |call: &str| {
        SessionCommand::Decide {
            call: call.parse().unwrap(),
            decision: Verdict::Approved,
            result: None,
        }
        .on(room.session.clone())
    };
    room.ask(None, decide("c-1")).await.unwrap();
    let (mut worker, turns) = TestWorker::connect(&room, offer("other")).await;
    assert_eq!(turns, std::slice::from_ref(&turn));
    let run = worker.run().await;
    assert!(run.resumed && run.turn == turn, "{run:?}");
    let asked =
        |run: &Run| run.waiting.iter().map(|waiting| waiting.call.to_string()).collect::<Vec<_>>();
    assert!(run.waiting.iter().all(|waiting| waiting.awaits == Awaits::Approval));
    // Answered calls are among them; their replies follow.
    assert_eq!(asked(&run), ["c-1", "c-2"]);
    // A call that was made before the restart is not made again.
    for call in ["c-1", "c-2"] {
        let again = worker.say(&turn, call, called("risky")).await.unwrap();
        assert!(
            matches!(again, ConnectionReply::Said { duplicate: true, seq: Some(_), .. }),
            "{again:?}"
        );
    }
    let first = worker.told().await;
    assert!(
        matches!(
            &first,
            Directive::ApprovalSettled {
                call,
                about: ApprovalAbout::Run,
                decision: Decision::Approved,
                ..
            } if call.as_str() == "c-1"
        ),
        "{first:?}"
    );
    room.ask(None, decide("c-2")).await.unwrap();
    let second = worker.told().await;
    assert!(
        matches!(&second, Directive::ApprovalSettled { call, .. } if call.as_str() == "c-2"),
        "{second:?}"
    );
    // A worker that reconnects gets the replies to its open calls again, and the waiting calls.
    worker.said(&turn, "c-3", called("risky")).await;
    worker.said(&turn, "v-3", ask("c-3")).await;
    drop(worker);
    let (mut worker, _) = TestWorker::connect(&room, offer("other")).await;
    let run = worker.run().await;
    assert!(run.resumed);
    assert_eq!(asked(&run), ["c-1", "c-2", "c-3"]);
    for _ in 0..2 {
        assert!(matches!(worker.told().await, Directive::ApprovalSettled { .. }));
    }
    room.ask(None, decide("c-3")).await.unwrap();
    assert!(matches!(worker.told().await, Directive::ApprovalSettled { .. }));
    for call in ["c-1", "c-2", "c-3"] {
        let verb = Verb::ToolReturned {
            call: call.parse().unwrap(),
            status: ToolStatus::Success,
            text: "ok".into(),
            content: None,
        };
        worker.said(&turn, &format!("r-{call}"), verb).await;
    }
    worker.finish(&turn, "i-1").await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Completed, None));
}

#[tokio::test]
async fn a_parked_turn_fails_when_the_server_takes_its_agent() {
    let (dir, room, _, mut worker, turn) = started("hi").await;
    worker.said(&turn, "c-1", called("risky")).await;
    worker
        .said(
            &turn,
            "v-1",
            Verb::Approval { call: "c-1".parse().unwrap(), about: None, timeout_ms: None },
        )
        .await;
    // The worker cannot return a call that waits for the owner.
    let returned = Verb::ToolReturned {
        call: "c-1".parse().unwrap(),
        status: ToolStatus::Success,
        text: "ok".into(),
        content: None,
    };
    assert_eq!(code(worker.say(&turn, "r-1", returned).await), RefusalCode::BadRequest);
    let room = started_again(room, dir.path(), worker).await;
    let (_, mut listener) = room.after(0).await;
    let Value::Object(changes) = json!({"model": "offline"}) else { unreachable!() };
    room.hub.directory().edit_agent(&room.user, "bob", changes).await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Failed, Some("agent_lost".to_owned())));
}
