//! Recovery: a store that is dropped in the middle of a turn, opened again.

use thoughtwire_proto::{Event, Outcome, StreamKind, Timestamp, ToolStatus, TurnEvent, TurnId};
use thoughtwire_store::{Append, OpenItem};

use crate::support::{agent, append, log, open, says, session};

#[test]
fn a_cut_turn_is_ended_with_what_there_was_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let profile = agent(&store, "ada");
    let mut ada = session(&store, &profile);
    let turn: TurnId = "t-1".parse().unwrap();
    let call: thoughtwire_proto::CallId = "k-1".parse().unwrap();
    let events = vec![
        (None, says("i-1", "go")),
        (Some(&turn), Event::Turn(TurnEvent::Started { input: "i-1".parse().unwrap() })),
        (
            Some(&turn),
            Event::Turn(TurnEvent::ToolCalled {
                call: call.clone(),
                name: "slow".into(),
                args: Default::default(),
            }),
        ),
        (None, says("i-2", "and then")),
    ];
    store.append(append(&mut ada, events)).wait().unwrap();
    for (item, kind, text) in [
        ("m-1", StreamKind::Message, "Once upon"),
        ("m-2", StreamKind::Thought, "Hm"),
        ("m-3", StreamKind::ToolArgs, "{"),
        ("m-4", StreamKind::Message, ""),
    ] {
        let open =
            OpenItem { item: item.parse().unwrap(), turn: turn.clone(), kind, text: text.into() };
        store.checkpoint(ada.num, open).wait().unwrap();
    }
    drop(store);

    let store = open(dir.path());
    let after = log(&store, &ada).split_off(5);
    assert_eq!(
        after[0],
        Event::Turn(TurnEvent::Message {
            item: "m-1".parse().unwrap(),
            text: "Once upon".into(),
            complete: false
        })
    );
    assert_eq!(
        after[1],
        Event::Turn(TurnEvent::Thought {
            item: "m-2".parse().unwrap(),
            text: "Hm".into(),
            complete: false
        })
    );
    assert!(matches!(
        &after[2],
        Event::Turn(TurnEvent::ToolReturned { status: ToolStatus::Error, .. })
    ));
    assert!(matches!(
        &after[3],
        Event::Turn(TurnEvent::Ended { outcome: Outcome::Interrupted, .. })
    ));
    assert_eq!(after.len(), 4);
    assert_eq!(
        store.sessions_with_work().unwrap(),
        [ada.id.clone()],
        "the queued input still waits"
    );
    drop(store);

    assert_eq!(log(&open(dir.path()), &ada).len(), 9, "a second start finds nothing to end");
}

#[test]
fn a_text_that_is_saved_before_long_keeps_its_place_among_the_writes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut ada = session(&store, &agent(&store, "ada"));
    let turn: TurnId = "t-1".parse().unwrap();
    let begun = vec![
        (None, says("i-1", "go")),
        (Some(&turn), Event::Turn(TurnEvent::Started { input: "i-1".parse().unwrap() })),
    ];
    store.append(append(&mut ada, begun)).wait().unwrap();
    let checkpoint = |item: &str| {
        let item = item.parse().unwrap();
        store.checkpoint(
            ada.num,
            OpenItem {
                item,
                turn: turn.clone(),
                kind: StreamKind::Message,
                text: "Once upon".into(),
            },
        )
    };
    let said = |item: &str| {
        Event::Turn(TurnEvent::Message {
            item: item.parse().unwrap(),
            text: "Once upon a time".into(),
            complete: true,
        })
    };
    // Its text so far, and at once the whole of it; and so far of the next, when the store is closed.
    let earlier = checkpoint("m-1");
    let closed_items = vec!["m-1".parse().unwrap()];
    store
        .append(Append {
            closed_items,
            ..append(&mut ada.clone(), vec![(Some(&turn), said("m-1"))])
        })
        .wait()
        .unwrap();
    earlier.wait().unwrap();
    let later = checkpoint("m-2");
    drop(store);
    later.wait().unwrap();

    let after = log(&open(dir.path()), &ada).split_off(3);
    assert_eq!(after[0], said("m-1"));
    assert!(
        matches!(&after[1], Event::Turn(TurnEvent::Message { item, complete: false, .. })
            if item.as_str() == "m-2"),
        "{after:?}"
    );
    assert!(matches!(
        &after[2],
        Event::Turn(TurnEvent::Ended { outcome: Outcome::Interrupted, .. })
    ));
    assert_eq!(after.len(), 3);
}

#[test]
fn a_turn_that_waits_for_people_stays_open_and_what_ran_beside_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut ada = session(&store, &agent(&store, "ada"));
    let turn: TurnId = "t-1".parse().unwrap();
    let called = |call: &str| {
        Event::Turn(TurnEvent::ToolCalled {
            call: call.parse().unwrap(),
            name: "rm".into(),
            args: Default::default(),
        })
    };
    let expires_at = Timestamp::from_millis(9);
    let events = vec![
        (None, says("i-1", "go")),
        (Some(&turn), Event::Turn(TurnEvent::Started { input: "i-1".parse().unwrap() })),
        (Some(&turn), called("asked")),
        (Some(&turn), called("running")),
        (Some(&turn), called("awaited")),
        (
            Some(&turn),
            Event::Turn(TurnEvent::ApprovalAsked {
                call: "asked".parse().unwrap(),
                name: "rm".into(),
                expires_at,
            }),
        ),
        (
            Some(&turn),
            Event::Turn(TurnEvent::ToolAwaited { call: "awaited".parse().unwrap(), expires_at }),
        ),
    ];
    store.append(append(&mut ada, events)).wait().unwrap();
    drop(store);

    let store = open(dir.path());
    let after = log(&store, &ada).split_off(8);
    assert!(
        matches!(&after[..], [Event::Turn(TurnEvent::ToolReturned { call, status: ToolStatus::Error, .. })]
            if call.as_str() == "running"),
        "{after:?}"
    );
    let state = store.session(&ada.id).unwrap().unwrap().state;
    assert!(state.turn().unwrap().is_parked());
    assert_eq!(store.sessions_with_work().unwrap(), [ada.id.clone()]);
    drop(store);
    assert_eq!(log(&open(dir.path()), &ada).len(), 9, "a second start changes nothing");
}
