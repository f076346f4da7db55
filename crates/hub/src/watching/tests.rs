//! One feed serves all watchers of a user, each at its own pace.

use std::collections::BTreeMap;
use std::time::Duration;

use thoughtwire_proto::dialect::FrameLimit;
use thoughtwire_proto::{SessionId, SessionListing};

use super::feed::MAX_ENTRIES;
use super::*;

type ListingHeads = Arc<Mutex<BTreeMap<SessionId, u64>>>;

fn listing(id: &SessionId, head: u64) -> SessionListing {
    serde_json::from_value(serde_json::json!({
        "id": id, "agent": "a-1", "agent_name": "ada", "head": head, "running": false,
        "queued": 0, "main": false, "created_at": "2026-01-01T00:00:00.000Z",
        "updated_at": "2026-01-01T00:00:00.000Z",
    }))
    .unwrap()
}

/// Sessions that only have heads, and how often the list was read.
fn sessions(count: usize) -> (ListingHeads, Arc<Mutex<u64>>, impl Fn() -> ReadList) {
    let ids = (0..count).map(|n| (format!("s-{n}").parse().unwrap(), 0));
    let heads: ListingHeads = Arc::new(Mutex::new(ids.collect()));
    let reads: Arc<Mutex<u64>> = Arc::default();
    let (read_heads, counted) = (Arc::clone(&heads), Arc::clone(&reads));
    let read = move || -> ReadList {
        let (heads, reads) = (Arc::clone(&read_heads), Arc::clone(&counted));
        Box::new(move |wanted| {
            *reads.lock() += 1;
            let heads = heads.lock();
            let is_wanted =
                |id: &SessionId| wanted.as_ref().is_none_or(|wanted| wanted.contains(id));
            let list = heads.iter().filter(|(id, _)| is_wanted(id));
            let list = list.map(|(id, head)| listing(id, *head)).collect();
            Box::pin(std::future::ready(Ok(list)))
        })
    };
    (heads, reads, read)
}

/// The news of one watcher.
struct WatcherLog {
    frames: usize,
    last: BTreeMap<SessionId, Option<u64>>,
    everything: usize,
}

fn listen(mut watcher: Watcher) -> Arc<Mutex<WatcherLog>> {
    let told = Arc::new(Mutex::new(WatcherLog { frames: 0, last: BTreeMap::new(), everything: 0 }));
    let heard = Arc::clone(&told);
    tokio::spawn(async move {
        loop {
            watcher.changed().await;
            let mut heard = heard.lock();
            match watcher.take() {
                ListNews::Everything => heard.everything += 1,
                ListNews::Entries(entries) => {
                    for entry in entries {
                        heard.frames += entry.frames(FrameLimit::default()).len();
                        match entry.change() {
                            ListChange::Changed(listing) => {
                                heard.last.insert(listing.id.clone(), Some(listing.head.0))
                            }
                            ListChange::Gone(id) => heard.last.insert(id.clone(), None),
                        };
                    }
                }
            }
        }
    });
    told
}

#[tokio::test(start_paused = true)]
async fn a_list_costs_by_its_changes_and_its_last_state_is_always_told() {
    let (heads, reads, read) = sessions(500);
    let (feeds, changes) = (Feeds::default(), broadcast::Sender::new(256));
    let (ada, eve): (UserId, UserId) = ("ada".parse().unwrap(), "eve".parse().unwrap());
    let watchers: Vec<_> =
        (0..300).map(|_| listen(watch(&feeds, &ada, || changes.subscribe(), read()))).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*reads.lock(), 1, "one feed reads for all watchers");
    // 200 turns of four events within ten seconds, in ten of the sessions.
    for turn in 0..200_u64 {
        let id: SessionId = format!("s-{}", turn % 10).parse().unwrap();
        for _ in 0..4 {
            *heads.lock().get_mut(&id).unwrap() += 1;
            let (user, session) = (ada.clone(), id.clone());
            changes.send(Changed::Session { user, session, gone: false }).unwrap();
        }
        // Another user's changes are nobody's here.
        let (user, session) = (eve.clone(), id.clone());
        changes.send(Changed::Session { user, session, gone: false }).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let gone: SessionId = "s-499".parse().unwrap();
    heads.lock().remove(&gone);
    changes
        .send(Changed::Session { user: ada.clone(), session: gone.clone(), gone: true })
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut expected: BTreeMap<_, _> =
        heads.lock().iter().map(|(id, head)| (id.clone(), Some(*head))).collect();
    expected.retain(|_, head| *head != Some(0));
    expected.insert(gone, None);
    for told in watchers {
        let told = told.lock();
        assert_eq!(told.last, expected);
        assert_eq!(told.everything, 0);
        // Ten seconds at most four times a second, five sessions in each; not 800.
        assert!(told.frames <= 220, "{} frames", told.frames);
    }
    assert!(*reads.lock() <= 50, "{} reads", reads.lock());
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_is_behind_is_told_each_session_once_or_to_read_everything() {
    let (heads, _, read) = sessions(2);
    let (feeds, changes) = (Feeds::default(), broadcast::Sender::new(256));
    let ada: UserId = "ada".parse().unwrap();
    let mut slow = watch(&feeds, &ada, || changes.subscribe(), read());
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..20 {
        for (id, head) in heads.lock().iter_mut() {
            *head += 1;
            let (user, session) = (ada.clone(), id.clone());
            changes.send(Changed::Session { user, session, gone: false }).unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let ListNews::Entries(entries) = slow.take() else { panic!("it is not too far behind") };
    let heads: Vec<_> = entries
        .iter()
        .map(|entry| match entry.change() {
            ListChange::Changed(listing) => listing.head.0,
            ListChange::Gone(_) => 0,
        })
        .collect();
    assert_eq!(heads, [20, 20]);
    let ListNews::Entries(entries) = slow.take() else { panic!("it is up to date") };
    assert!(entries.is_empty());
    let many = (0..=MAX_ENTRIES).map(|n| ListChange::Gone(format!("g-{n}").parse().unwrap()));
    slow.feed.publish(many.collect(), false);
    assert!(matches!(slow.take(), ListNews::Everything));
    assert!(matches!(slow.take(), ListNews::Entries(entries) if entries.is_empty()));
}
