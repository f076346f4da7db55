//! Turns that go to another worker.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_hub::HubOptions;
use thoughtwire_proto::{
    ApprovalAbout, Directive, Emission, Event, ItemId, Offer, Outcome, RefusalCode, ResumeReason,
    SessionCommand, StreamKind, ToolStatus, TurnEvent, Verb, Verdict,
};
use thoughtwire_store::RamDisk;

use super::{TestWorker, called, code, delta, ended, offer, started, started_again, thought};
use crate::support::{Puppet, Room, events, kinds};

fn resumable(worker: &str) -> Offer {
    Offer { resumable: Some(true), ..offer(worker) }
}

fn attempts(log: &[Event]) -> Vec<(u32, ResumeReason)> {
    let attempt = |event: &Event| match event {
        Event::Turn(TurnEvent::Resumed { attempt, reason }) => Some((*attempt, *reason)),
        _ => None,
    };
    log.iter().filter_map(attempt).collect()
}

#[tokio::test]
async fn a_lost_workers_turn_goes_to_a_resumable_worker_at_once() {
    let (_dir, room, mut listener, mut lost, turn) = started("hi").await;
    lost.said(&turn, "t-1", thought("Hm.")).await;
    lost.said(&turn, "c-1", called("pay")).await;
    lost.said(&turn, "", delta("i-1", 0, "Half a sen")).await;
    listener.until_event(|event| matches!(event, Event::Turn(TurnEvent::ToolCalled { .. }))).await;
    let (mut heir, turns) = TestWorker::connect(&room, resumable("heir")).await;
    assert_eq!(turns, [], "its worker is there");
    drop(lost);
    let run = heir.run().await;
    assert_eq!((run.turn.clone(), run.resumed, run.attempt), (turn.clone(), true, 1));
    assert_eq!(run.unknown, ["c-1".parse().unwrap()]);
    let history: Vec<_> = run.history.iter().map(|record| record.event.kind()).collect();
    assert_eq!(history, ["turn_started", "thought", "tool_called", "message", "turn_resumed"]);

    // The lost worker comes back too late.
    let (mut lost, turns) = TestWorker::connect(&room, offer("w")).await;
    assert_eq!(turns, []);
    assert_eq!(code(lost.say(&turn, "t-2", thought("Hm?")).await), RefusalCode::NoTurn);

    let call = || "c-1".parse().unwrap();
    heir.said(&turn, "r-1", Verb::ToolRetried { call: call(), reason: None }).await;
    let (status, text) = (ToolStatus::Success, "paid".to_owned());
    heir.said(&turn, "v-1", Verb::ToolReturned { call: call(), status, text, content: None }).await;
    heir.finish(&turn, "i-2").await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Completed, None));
    let log = room.log().await;
    assert_eq!(attempts(&log), [(1, ResumeReason::WorkerLost)]);
    assert_eq!(kinds(&log).iter().filter(|kind| **kind == "turn_ended").count(), 1);
}

#[tokio::test]
async fn the_new_worker_continues_a_cut_text_and_nothing_else() {
    let (_dir, room, mut listener, mut lost, turn) = started("hi").await;
    lost.said(&turn, "t-1", thought("Hm.")).await;
    lost.said(&turn, "", delta("i-1", 0, "Half a sen")).await;
    listener.until_event(|event| matches!(event, Event::Turn(TurnEvent::Thought { .. }))).await;
    let (mut heir, _) = TestWorker::connect(&room, resumable("heir")).await;
    drop(lost);
    heir.run().await;
    let continues = |item: &str| Some(item.parse().unwrap());
    let text = || "tence.".to_owned();
    // A whole thought, an item of nobody, and a message as a thought.
    for item in ["t-1", "i-9", "i-1"] {
        let rest = Verb::InternalMonologue { text: text(), continues: continues(item) };
        assert_eq!(code(heir.say(&turn, "t-2", rest).await), RefusalCode::BadRequest);
    }
    let piece = |n, kind, continues| {
        let (item, text) = ("i-2".parse().unwrap(), text());
        Verb::Delta { item, n, kind, text, continues }
    };
    let thought = piece(0, StreamKind::Thought, continues("i-1"));
    assert_eq!(code(heir.say(&turn, "", thought).await), RefusalCode::BadRequest);
    heir.said(&turn, "", piece(0, StreamKind::Message, continues("i-1"))).await;
    let is_open = |emission: &_| matches!(emission, Emission::Delta(_) | Emission::Partial(_));
    let seen = listener.until(|emission| is_open(emission) && shown_item(emission) == "i-2").await;
    let shown = match seen.last().unwrap() {
        Emission::Delta(delta) => delta.continues.clone(),
        Emission::Partial(partial) => partial.continues.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(shown, continues("i-1"));
    let rest = Verb::AssistantMessage { text: text(), continues: continues("i-1") };
    heir.said(&turn, "i-2", rest).await;
    heir.finish(&turn, "i-3").await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Completed, None));
    let said: Vec<_> = room.log().await.into_iter().filter_map(said_message).collect();
    let (cut, rest) = ("Half a sen".to_owned(), text());
    let last = ("Done.".to_owned(), true, None);
    assert_eq!(said, [(cut, false, None), (rest, true, continues("i-1")), last]);
}

/// Item of an open text that is shown.
fn shown_item(emission: &Emission) -> &str {
    match emission {
        Emission::Delta(delta) => delta.item.as_str(),
        Emission::Partial(partial) => partial.item.as_str(),
        other => panic!("{other:?}"),
    }
}

fn said_message(event: Event) -> Option<(String, bool, Option<ItemId>)> {
    match event {
        Event::Turn(TurnEvent::Message { text, complete, continues, .. }) => {
            Some((text, complete, continues))
        }
        _ => None,
    }
}

#[tokio::test]
async fn the_owner_answers_about_a_call_in_doubt_and_the_new_worker_is_told() {
    for (verdict, result) in
        [(Verdict::Approved, None), (Verdict::Done, Some("paid")), (Verdict::Denied, None)]
    {
        let (_dir, room, mut listener, mut lost, turn) = started("hi").await;
        lost.said(&turn, "c-1", called("pay")).await;
        let (mut heir, _) = TestWorker::connect(&room, resumable("heir")).await;
        drop(lost);
        heir.run().await;
        let call = || "c-1".parse().unwrap();
        let about = Some(ApprovalAbout::Retry);
        let question = Verb::Approval { call: call(), about, timeout_ms: None };
        heir.said(&turn, "q-1", question).await;
        let decide = SessionCommand::Decide {
            call: call(),
            decision: verdict,
            result: result.map(str::to_owned),
        };
        room.ask(None, decide.on(room.session.clone())).await.unwrap();
        match heir.told().await {
            Directive::ApprovalSettled { about, .. } => {
                assert_eq!((verdict, about), (Verdict::Approved, ApprovalAbout::Retry));
                let (status, text) = (ToolStatus::Success, "paid".to_owned());
                let returned = Verb::ToolReturned { call: call(), status, text, content: None };
                heir.said(&turn, "v-1", returned).await;
            }
            Directive::ToolReturned { status, text, .. } if verdict == Verdict::Done => {
                assert_eq!((status, text.as_str()), (ToolStatus::Success, "paid"));
            }
            Directive::ToolReturned { status, .. } => assert_eq!(status, ToolStatus::Error),
            other => panic!("{other:?}"),
        }
        heir.finish(&turn, "i-2").await.unwrap();
        assert_eq!(ended(&listener.turn().await), (Outcome::Completed, None), "{verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_loses_worker_after_worker_fails() {
    let mut room = Room::on(
        RamDisk::new().open(thoughtwire_hub::now()),
        Arc::new(Puppet),
        HubOptions::default(),
    )
    .await;
    room.take_offered(offer("first")).await;
    let (_, mut listener) = room.after(0).await;
    let (mut worker, _) = TestWorker::connect(&room, resumable("w-0")).await;
    room.send("hi").await.unwrap();
    worker.run().await;
    let begun = tokio::time::Instant::now();
    for (number, pause) in [(1, 0), (2, 5), (3, 35)] {
        let (next, _) = TestWorker::connect(&room, resumable(&format!("w-{number}"))).await;
        drop(std::mem::replace(&mut worker, next));
        let run = worker.0.next().await;
        let Directive::Run(run) = run else { panic!("{run:?}") };
        assert_eq!((run.resumed, run.attempt), (true, number));
        assert_eq!(begun.elapsed().as_secs(), pause);
    }
    let (_other, _) = TestWorker::connect(&room, resumable("w-4")).await;
    drop(worker);
    let seen = listener.turn().await;
    assert_eq!(ended(&seen), (Outcome::Failed, Some("crash_loop".to_owned())));
    assert_eq!(attempts(&events(&seen)).len(), 3);
}

#[tokio::test]
async fn after_a_restart_a_running_turn_goes_to_a_resumable_worker_only() {
    let dir = tempfile::tempdir().unwrap();
    let room = super::open(dir.path()).await;
    let (mut worker, _) = TestWorker::connect(&room, resumable("w")).await;
    room.send("one").await.unwrap();
    let turn = worker.run().await.turn;
    worker.said(&turn, "t-1", thought("Hm.")).await;
    let room = started_again(room, dir.path(), worker).await;
    let (_plain, turns) = TestWorker::connect(&room, offer("plain")).await;
    assert_eq!(turns, []);
    let (_, mut listener) = room.after(0).await;
    let (mut heir, _) = TestWorker::connect(&room, resumable("heir")).await;
    let run = heir.run().await;
    assert_eq!((run.turn, run.resumed, run.attempt), (turn.clone(), true, 0));
    heir.finish(&turn, "i-2").await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Completed, None));
    assert_eq!(attempts(&room.log().await), [(0, ResumeReason::Restart)]);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_running_turn_fails_if_nobody_takes_it() {
    let options = || HubOptions { offer_grace: Duration::from_secs(5), ..Default::default() };
    let disk = RamDisk::new();
    let mut room = Room::on(disk.open(thoughtwire_hub::now()), Arc::new(Puppet), options()).await;
    room.take_offered(offer("first")).await;
    let (mut worker, _) = TestWorker::connect(&room, resumable("w")).await;
    room.send("one").await.unwrap();
    worker.run().await;
    room.hub.stop(Duration::ZERO).await;
    room.hub.store().close().await;
    let session = room.session.clone();
    let again = Room::on(disk.open(thoughtwire_hub::now()), Arc::new(Puppet), options()).await;
    let room = Room { session, ..again };
    let (_plain, _) = TestWorker::connect(&room, offer("plain")).await;
    let (_, mut listener) = room.after(0).await;
    let seen = listener.turn().await;
    assert_eq!(ended(&seen), (Outcome::Failed, Some("agent_lost".to_owned())));
}
