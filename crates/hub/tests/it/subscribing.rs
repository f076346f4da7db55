//! Subscribers: from every position the same events, partials once, and the log for who falls behind.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_hub::HubOptions;
use thoughtwire_proto::{Cursor, Emission, Event, Outcome, Seq, Start};

use crate::support::{Puppet, Room, event, events};

#[tokio::test]
async fn from_every_position_the_rest_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let (_, mut first) = room.after(0).await;
    for _ in 0..3 {
        room.send("think tool stream").await.unwrap();
        first.turn().await;
    }
    let log = room.log().await;
    for seq in 0..=log.len() {
        let (attached, mut listener) = room.after(seq as u64).await;
        assert!(attached.recovered);
        let mut seen = Vec::new();
        while listener.caught_up.is_none() || seen.len() < log.len() - seq {
            let next = tokio::time::timeout(Duration::from_millis(if seen.len() < log.len() - seq { 10_000 } else { 1 }), listener.next());
            match next.await {
                Ok(Some(emission)) => seen.extend(event(&emission).cloned()),
                Ok(None) | Err(_) => break,
            }
        }
        assert_eq!(seen, log[seq..], "after {seq}");
        assert_eq!(listener.caught_up, Some(Seq(log.len() as u64)));
    }
    let (attached, _) = room.attach(Start::After(Cursor { epoch: Some("another".parse().unwrap()), seq: Seq(3) })).await;
    assert!(!attached.recovered && attached.after == Seq::ZERO);
    let (attached, _) = room.after(10_000).await;
    assert!(!attached.recovered && attached.after == Seq::ZERO);
    let (attached, _) = room.attach(Start::Last(2)).await;
    assert_eq!(attached.after.0, log.len() as u64 - 2);
}

#[tokio::test]
async fn who_joins_in_mid_item_gets_its_text_so_far_once() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let (_, mut first) = room.after(0).await;
    room.send("begin hang").await.unwrap();
    first.until(|emission| matches!(emission, Emission::Delta(_) | Emission::Partial(_))).await;
    let (_, mut late) = room.after(0).await;
    let seen = late.until(|emission| matches!(emission, Emission::Partial(_))).await;
    assert_eq!(events(&seen).len(), 3);
    let Some(Emission::Partial(partial)) = seen.last() else { panic!("{seen:?}") };
    assert_eq!((partial.text.as_str(), partial.n), ("Half a sen", 1));
    assert_eq!(late.caught_up, Some(Seq(3)));
    room.cancel().await.unwrap();
    let rest = late.turn().await;
    assert!(!rest.iter().any(|emission| matches!(emission, Emission::Partial(_) | Emission::Delta(_))));
}

#[tokio::test]
async fn who_falls_behind_the_ring_reads_the_log_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let (_, mut quick) = room.after(0).await;
    let (_, mut slow) = room.after(0).await;
    slow.until(|emission| event(emission).is_some()).await;
    room.send("20000").await.unwrap();
    quick.turn().await;
    let seen = events(&slow.turn().await);
    let log = room.log().await;
    assert_eq!(log.len(), 20_005);
    assert_eq!(seen, log[1..]);
}

#[tokio::test]
async fn an_idle_session_leaves_memory_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = HubOptions { passivate_after: Duration::ZERO, ..HubOptions::default() };
    let room = Room::with(dir.path(), Arc::new(Puppet), options).await;
    let sends = (0..200).map(|_| room.send("think"));
    for answer in futures::future::join_all(sends).await {
        answer.unwrap();
        tokio::task::yield_now().await;
    }
    let mut ended = 0;
    let (_, mut listener) = room.after(0).await;
    while ended < 200 {
        ended += listener.turn().await.iter().filter(|emission| matches!(event(emission), Some(Event::TurnEnded { .. }))).count();
    }
    drop(listener);
    for _ in 0..50 {
        room.send("say").await.unwrap();
        let (_, mut listener) = room.attach(Start::Last(1)).await;
        drop(listener.next().await);
    }
}

#[tokio::test]
async fn queued_inputs_outlive_a_stop_and_run_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    room.send("begin hang").await.unwrap();
    room.send("say").await.unwrap();
    room.hub.stop(Duration::ZERO).await;
    room.hub.store().close();
    drop(room);
    let room = Room::open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let mut seen = events(&listener.turn().await);
    seen.extend(events(&listener.turn().await));
    let outcomes: Vec<_> = seen
        .iter()
        .filter_map(|event| match event {
            Event::TurnEnded { outcome, .. } => Some(*outcome),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [Outcome::Interrupted, Outcome::Completed]);
    assert!(seen.iter().any(|event| matches!(event, Event::Message { complete: false, text, .. } if text == "Half a sen")));
}

#[tokio::test]
async fn presence_counts_who_is_attached() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let (_, mut first) = room.after(0).await;
    first.until(|emission| matches!(emission, Emission::Presence { clients: 1 })).await;
    let (_, second) = room.after(0).await;
    first.until(|emission| matches!(emission, Emission::Presence { clients: 2 })).await;
    drop(second);
    first.until(|emission| matches!(emission, Emission::Presence { clients: 1 })).await;
}
