//! The history that a worker gets with a turn.

use std::collections::BTreeMap;

use thoughtwire_proto::{
    ConnectionReply, Emission, Event, InputEvent, Offer, Run, SessionCommand, TurnEvent,
};

use super::{TestWorker, offer, open, thought};
use crate::support::Listener;

async fn spoken(worker: &mut TestWorker, listener: &mut Listener, n: usize) -> Run {
    let run = worker.run().await;
    worker.said(&run.turn, &format!("t-{n}"), thought("Hm.")).await;
    worker.finish(&run.turn, &format!("i-{n}")).await.unwrap();
    listener.turn().await;
    run
}

#[tokio::test]
async fn a_worker_gets_the_history_that_it_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let past = |run: &Run| run.history.iter().map(|record| record.seq.0).collect::<Vec<_>>();
    // 1 opened; then per turn: input, start, thought, message, end.
    let asked = Offer { history: Some(3), memory: Some(true), ..offer("w") };
    let (mut worker, _) = TestWorker::connect(&room, asked.clone()).await;
    for n in 0..2 {
        room.send("hi").await.unwrap();
        let run = spoken(&mut worker, &mut listener, n).await;
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
    let ConnectionReply::Offered { .. } = worker.0.offer(kept, true).await.unwrap() else {
        panic!("not offered")
    };
    room.send("hi").await.unwrap();
    assert_eq!(past(&spoken(&mut worker, &mut listener, 2).await), [10, 11]);
    room.ask(None, SessionCommand::Rename { title: "Tea".into() }.on(room.session.clone()))
        .await
        .unwrap();
    room.send("hi").await.unwrap();
    let run = spoken(&mut worker, &mut listener, 3).await;
    assert_eq!(
        run.history.iter().map(|record| record.event.kind()).collect::<Vec<_>>(),
        ["session_renamed"]
    );
}

#[tokio::test]
async fn an_input_belongs_to_the_history_from_its_turn_on() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let (mut one, _) = TestWorker::connect(
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
    let (mut two, _) =
        TestWorker::connect(&room, Offer { history: Some(100), ..offer("two") }).await;
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
