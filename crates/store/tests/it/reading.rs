//! Reading: fair among users, and by index where logs are long.

use std::sync::Arc;
use std::sync::mpsc;

use thoughtwire_proto::{CallId, Event, ItemId, ToolStatus, TurnEvent, TurnId};
use thoughtwire_store::Store;

use crate::support::{agent, append, as_version_5, open, says, session};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_users_reads_hold_up_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let (begun, begins) = mpsc::channel();
    let mut releases = Vec::new();
    let mut hogs = Vec::new();
    for _ in 0..24 {
        let (release, released) = mpsc::channel::<()>();
        releases.push(release);
        let (store, begun) = (Arc::clone(&store), begun.clone());
        hogs.push(tokio::spawn(async move {
            let read = move |_: &Store| {
                begun.send(()).unwrap();
                Ok(released.recv().is_ok())
            };
            store.reading_for("ada", read).await.unwrap()
        }));
    }
    // Three of them hold a place, and no more come in.
    let _begins = tokio::task::spawn_blocking(move || {
        for _ in 0..3 {
            begins.recv().unwrap();
        }
        begins
    })
    .await
    .unwrap();
    assert_eq!(store.reading_for("bob", |_| Ok(1)).await.unwrap(), 1);
    assert_eq!(store.reading(|_| Ok(2)).await.unwrap(), 2);
    assert!(hogs.iter().all(|hog| !hog.is_finished()));
    drop(releases);
    for hog in hogs {
        assert!(!hog.await.unwrap());
    }
}

/// A session in which a call came back, and what came back with it.
fn called(store: &Store) -> (thoughtwire_store::SessionNum, CallId) {
    let mut ada = session(store, &agent(store, "ada"));
    let (turn, call): (TurnId, CallId) = ("t-1".parse().unwrap(), "c-1".parse().unwrap());
    let input: ItemId = "i-1".parse().unwrap();
    let events = vec![
        (None, says("i-1", "look")),
        (Some(&turn), Event::Turn(TurnEvent::Started { input })),
        (
            Some(&turn),
            Event::Turn(TurnEvent::ToolCalled {
                call: call.clone(),
                name: "find".into(),
                args: Default::default(),
            }),
        ),
        (
            Some(&turn),
            Event::Turn(TurnEvent::ToolReturned {
                call: call.clone(),
                name: "find".into(),
                status: ToolStatus::Success,
                text: "under the mat".into(),
                content: None,
            }),
        ),
    ];
    store.append(append(&mut ada, events)).wait().unwrap();
    (ada.num, call)
}

#[test]
fn what_a_call_came_back_with_is_looked_up_by_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (num, call) = called(&store);
    assert_eq!(store.tool_output(num, &call).unwrap().as_deref(), Some("under the mat"));
    assert_eq!(store.tool_output(num, &"c-none".parse().unwrap()).unwrap(), None);
    let file = rusqlite::Connection::open(dir.path().join("thoughtwire.db")).unwrap();
    let plan: String = file
        .query_row(
            "EXPLAIN QUERY PLAN SELECT body ->> '$.text' FROM events WHERE session = ? AND call = ?
             ORDER BY seq LIMIT 1",
            [1, 1],
            |row| row.get("detail"),
        )
        .unwrap();
    assert!(plan.contains("USING INDEX events_by_call"), "{plan}");
}

#[test]
fn calls_of_an_earlier_version_are_found_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (num, call) = called(&store);
    drop(store);
    as_version_5(dir.path());
    let store = open(dir.path());
    assert_eq!(store.tool_output(num, &call).unwrap().as_deref(), Some("under the mat"));
}
