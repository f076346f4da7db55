//! Subscribers: the same events from every position, partials once, and the log for slow readers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use thoughtwire_hub::{DirectSink, HubOptions, Presence, Read, SharedSink, TailEntry};
use thoughtwire_proto::{Cursor, Emission, Event, ItemId, Outcome, Seq, Start, TurnEvent};

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
            let next = tokio::time::timeout(
                Duration::from_millis(if seen.len() < log.len() - seq { 10_000 } else { 1 }),
                listener.next(),
            );
            match next.await {
                Ok(Some(emission)) => seen.extend(event(&emission).cloned()),
                Ok(None) | Err(_) => break,
            }
        }
        assert_eq!(seen, log[seq..], "after {seq}");
        assert_eq!(listener.caught_up, Some(Seq(log.len() as u64)));
    }
    let (attached, _) = room
        .attach(Start::After(Cursor { epoch: Some("another".parse().unwrap()), seq: Seq(3) }))
        .await;
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
    room.cancel().await.unwrap();
    let rest = late.turn().await;
    assert_eq!(late.caught_up, Some(Seq(3)));
    assert!(
        !rest.iter().any(|emission| matches!(emission, Emission::Partial(_) | Emission::Delta(_)))
    );
}

#[tokio::test]
async fn who_joins_in_mid_continuation_gets_the_item_that_it_continues() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let (_, mut first) = room.after(0).await;
    room.send("rest hang").await.unwrap();
    let cut: Option<ItemId> = Some("m-0".parse().unwrap());
    let is_open = |emission: &_| matches!(emission, Emission::Delta(_) | Emission::Partial(_));
    let seen = first.until(is_open).await;
    let continues = match seen.last().unwrap() {
        Emission::Delta(delta) => &delta.continues,
        Emission::Partial(partial) => &partial.continues,
        other => panic!("{other:?}"),
    };
    assert_eq!(*continues, cut);
    let (_, mut late) = room.after(0).await;
    let seen = late.until(|emission| matches!(emission, Emission::Partial(_))).await;
    let Some(Emission::Partial(partial)) = seen.last() else { panic!("{seen:?}") };
    assert_eq!((partial.text.as_str(), &partial.continues), ("tence", &cut));
    room.cancel().await.unwrap();
    let ended = events(&late.turn().await);
    let said = ended.iter().find_map(|event| match event {
        Event::Turn(TurnEvent::Message { complete, continues, .. }) => Some((*complete, continues)),
        _ => None,
    });
    assert_eq!(said, Some((false, &cut)));
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

/// The records that one reader got, parked or not. It accepts at most so many entries at a time.
struct RecordSink {
    records: Mutex<Vec<u64>>,
    most: usize,
}

impl RecordSink {
    fn put(&self, entries: &[Arc<TailEntry>]) {
        let seqs = entries.iter().filter_map(|entry| match &entry.emitted().emission {
            Emission::Record(record) => Some(record.seq.0),
            _ => None,
        });
        self.records.lock().unwrap().extend(seqs);
    }
}

impl DirectSink<Arc<TailEntry>> for RecordSink {
    fn accept(&self, entries: &[Arc<TailEntry>]) -> usize {
        let taken = entries.len().min(self.most);
        self.put(&entries[..taken]);
        taken
    }
}

/// A sink that panics.
struct PanickingSink;

impl DirectSink<Arc<TailEntry>> for PanickingSink {
    fn accept(&self, _entries: &[Arc<TailEntry>]) -> usize {
        panic!("as told")
    }
}

/// A reader that parks whenever there is nothing for it. Returns its events so far, and its task.
async fn parked_reader(
    room: &Room,
    most: usize,
    broken: bool,
) -> (Arc<RecordSink>, tokio::task::JoinHandle<()>) {
    let wake = Arc::new(tokio::sync::Notify::new());
    let (start, presence) = (
        Start::After(Cursor { epoch: None, seq: Seq::ZERO }),
        Presence::Client { tools: Vec::new() },
    );
    let mut subscription = room
        .hub
        .attach(&room.user, &room.session, start, Arc::clone(&wake), presence)
        .await
        .unwrap()
        .1;
    let sink = Arc::new(RecordSink { records: Mutex::default(), most });
    let shared: SharedSink<Arc<TailEntry>> =
        if broken { Arc::new(PanickingSink) } else { Arc::<RecordSink>::clone(&sink) };
    let read = Arc::clone(&sink);
    let task = tokio::spawn(async move {
        loop {
            while subscription.has_news() {
                if let Read::Entries { entries, .. } = subscription.next().await.unwrap() {
                    read.put(&entries);
                }
            }
            assert_eq!(
                read.records.lock().unwrap().last().copied().unwrap_or(0),
                subscription.cursor().0
            );
            subscription.park(&shared);
            wake.notified().await;
            subscription.unpark();
        }
    });
    (sink, task)
}

/// Some turns, and every reader has every record once and in order.
async fn all_get_all(room: &Room, readers: Vec<(Arc<RecordSink>, tokio::task::JoinHandle<()>)>) {
    let (_, mut listener) = room.after(0).await;
    for text in ["3000", "think stream say", "500"] {
        room.send(text).await.unwrap();
        listener.turn().await;
    }
    let head = room.log().await.len() as u64;
    for (number, (sink, task)) in readers.iter().enumerate() {
        let has_all = async {
            while sink.records.lock().unwrap().len() < head as usize {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(10), has_all).await;
        assert!(
            in_time.is_ok() && !task.is_finished(),
            "reader {number} has {} of {head}",
            sink.records.lock().unwrap().len()
        );
        assert!(sink.records.lock().unwrap().iter().copied().eq(1..=head), "reader {number}");
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_reader_gets_every_record_once_in_order_however_much_it_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let mut readers = Vec::new();
    for number in 0..100 {
        // Some accept all, some nothing, some a part.
        readers.push(parked_reader(&room, [usize::MAX, 0, 1, 7][number % 4], false).await);
    }
    all_get_all(&room, readers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_panics_harms_no_other_reader() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let mut readers = Vec::new();
    for number in 0..5 {
        readers.push(parked_reader(&room, usize::MAX, number == 2).await);
    }
    all_get_all(&room, readers).await;
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
        ended += listener
            .turn()
            .await
            .iter()
            .filter(|emission| {
                matches!(event(emission), Some(Event::Turn(TurnEvent::Ended { .. })))
            })
            .count();
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
    room.hub.store().close().await;
    drop(room);
    let room = Room::open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let mut seen = events(&listener.turn().await);
    seen.extend(events(&listener.turn().await));
    let outcomes: Vec<_> = seen
        .iter()
        .filter_map(|event| match event {
            Event::Turn(TurnEvent::Ended { outcome, .. }) => Some(*outcome),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [Outcome::Interrupted, Outcome::Completed]);
    assert!(seen.iter().any(|event| matches!(
        event,
        Event::Turn(TurnEvent::Message { complete: false, text, .. }) if text == "Half a sen")));
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
