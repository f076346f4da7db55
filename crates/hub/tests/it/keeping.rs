//! Logs that lose what is kept no longer, under those who read and write them.

use std::sync::Arc;

use thoughtwire_hub::{Presence, Read};
use thoughtwire_proto::{
    Cursor, Emission, Event, InputEvent, Outcome, Policy, Seq, Start, TurnEvent,
};
use thoughtwire_store::Retention;
use tokio::sync::Notify;

use crate::support::{Room, event, events};

async fn keep(room: &Room, events: u64) -> usize {
    room.hub
        .keep(&room.user, &room.session, Retention { days: None, events: Some(events) })
        .await
        .unwrap();
    room.hub.sweep().await.unwrap()
}

fn seqs(emissions: &[Emission]) -> Vec<u64> {
    emissions
        .iter()
        .filter_map(
            |emission| {
                if let Emission::Record(record) = emission { Some(record.seq.0) } else { None }
            },
        )
        .collect()
}

#[tokio::test]
async fn who_reads_what_goes_is_told_and_everybody_else_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let (_, mut present) = room.after(0).await;
    // More than the tail holds, and then some short turns.
    for text in std::iter::repeat_n("300", 10).chain(std::iter::repeat_n("think", 10)) {
        room.send(text).await.unwrap();
        present.turn().await;
    }
    let head = room.log().await.len() as u64;
    // One that has read a page of an old part, and one that has not begun.
    let attach = async |after: u64| {
        let start = Start::After(Cursor { epoch: None, seq: Seq(after) });
        let presence = Presence::Client { tools: Vec::new() };
        room.hub
            .attach(&room.user, &room.session, start, Arc::new(Notify::new()), presence)
            .await
            .unwrap()
            .1
    };
    let mut reading = attach(0).await;
    assert!(matches!(reading.next().await.unwrap(), Read::Entries { .. }));
    let mut about_to = attach(10).await;
    let mut at_the_edge = attach(head - 20).await;

    assert_eq!(keep(&room, head).await, 0, "it is no longer than that");
    assert_eq!(keep(&room, 22).await, 1);
    for trimmed in [&mut reading, &mut about_to] {
        for _ in 0..2 {
            assert!(matches!(trimmed.next().await.unwrap(), Read::Trimmed));
            assert!(!trimmed.has_news(), "nothing follows");
        }
    }
    let Read::Entries { entries, .. } = at_the_edge.next().await.unwrap() else {
        panic!("what is kept is read")
    };
    assert_eq!(entries.len(), 20);

    let (attached, mut again) = room.after(3).await;
    assert!(!attached.recovered);
    assert!(
        attached.first.0 > head - 30 && attached.first.0 <= head - 21,
        "whole turns: {attached:?}"
    );
    room.send("think").await.unwrap();
    let seen = again
        .until(|emission| matches!(emission, Emission::Record(record) if record.seq.0 > head + 4))
        .await;
    assert!(
        matches!(event(&seen[0]), Some(Event::Input(InputEvent::UserMessage { .. }))),
        "it begins with a turn: {seen:?}"
    );
    let seen = seqs(&seen);
    assert_eq!(seen[0], attached.first.0);
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seen:?}");
    let seen = seqs(&present.turn().await);
    assert_eq!(seen[0], head + 1, "who is there reads on");
    assert_eq!(room.log().await.len() as u64, *seen.last().unwrap() + 1 - attached.first.0);

    // The next life begins where this one does.
    room.hub.stop(std::time::Duration::ZERO).await;
    let first = attached.first;
    drop((room, present, again, reading, about_to, at_the_edge));
    let room = Room::open(dir.path()).await;
    assert_eq!(room.after(0).await.0.first, first);
}

#[tokio::test]
async fn what_a_turn_or_a_waiting_input_stands_on_stays() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    for _ in 0..3 {
        room.send("think").await.unwrap();
        listener.turn().await;
    }
    room.send("hang").await.unwrap();
    for text in ["think one", "think two"] {
        room.send_as(None, text, Policy::Queue).await.unwrap();
    }
    assert_eq!(keep(&room, 1).await, 1);
    let (attached, mut late) = room.after(0).await;
    let seen = late
        .until(|emission| {
            matches!(event(emission), Some(Event::Input(InputEvent::UserMessage { text, .. }))
        if text == "think two")
        })
        .await;
    assert!(
        matches!(
            &events(&seen)[..],
            [
                Event::Input(InputEvent::UserMessage { text, .. }),
                Event::Turn(TurnEvent::Started { .. }),
                ..
            ] if text == "hang"
        ),
        "{seen:?}"
    );
    assert_eq!(seqs(&seen)[0], attached.first.0);
    room.cancel().await.unwrap();
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        outcomes.extend(events(&late.turn().await).into_iter().filter_map(|event| match event {
            Event::Turn(TurnEvent::Ended { outcome, .. }) => Some(outcome),
            _ => None,
        }));
    }
    assert_eq!(outcomes, [Outcome::Cancelled, Outcome::Completed, Outcome::Completed]);
    // Nothing runs or waits any more: all goes but for the newest turn.
    assert_eq!(keep(&room, 1).await, 1);
    assert!(matches!(
        &room.log().await[..],
        [Event::Turn(TurnEvent::Started { .. }), .., Event::Turn(TurnEvent::Ended { .. })]
    ));
    assert_eq!(room.hub.sweep().await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_kept_is_something_and_the_owners_to_say() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let no = room
        .hub
        .keep(&room.user, &room.session, Retention { days: Some(0), events: None })
        .await
        .unwrap_err();
    assert_eq!(no.code.as_str(), "bad_request");
    let stranger = "stranger".parse().unwrap();
    let no = room
        .hub
        .keep(&stranger, &room.session, Retention { days: Some(1), events: None })
        .await
        .unwrap_err();
    assert_eq!(no.code.as_str(), "unknown_session");
}
