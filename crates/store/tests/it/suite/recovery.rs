//! Recovery: a store that ends in the middle of a turn, opened again, and its sessions loaded.

use thoughtwire_proto::{Event, ItemId, SessionId, StreamKind, TurnEvent, TurnId};
use thoughtwire_store::{BatchExtras, OpenItem, SessionFilter, Store, StoredSession};

use super::on_every_backend;
use crate::support::{
    NOW, agent, append, at, batch, called, log, says, session, started, stored, user,
};

fn open_item(item: &str, kind: StreamKind, text: &str) -> OpenItem {
    let (item, turn) = (item.parse().unwrap(), "t-1".parse().unwrap());
    OpenItem { item, turn, kind, text: text.into(), continues: None }
}

fn message(item: &str, text: &str, complete: bool) -> Event {
    Event::Turn(TurnEvent::Message {
        item: item.parse().unwrap(),
        text: text.into(),
        complete,
        continues: None,
    })
}

async fn load(store: &Store, id: &SessionId) -> StoredSession {
    store.logs().load(id, at(5)).await.unwrap().unwrap()
}

/// Whether the list shows the session as running.
async fn is_listed_running(store: &Store, id: &SessionId) -> bool {
    let filter = SessionFilter { id: Some(id.clone()), ..SessionFilter::default() };
    store.directory().sessions(&user(), &filter).await.unwrap()[0].running
}

#[tokio::test]
async fn a_cut_turn_keeps_its_texts_so_far_when_its_session_is_loaded() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let mut ada = session(&store, &agent(&store, "ada").await).await;
        let bob = session(&store, &agent(&store, "bob").await).await;
        let turn: TurnId = "t-1".parse().unwrap();
        let events = vec![
            (None, says("i-1", "go")),
            (Some(&turn), started("i-1")),
            (Some(&turn), called("k-1", "slow")),
            (None, says("i-2", "and then")),
        ];
        append(&store, &mut ada, events).await;
        assert!(is_listed_running(&store, &ada.id).await);
        for (item, kind, text) in [
            ("m-1", StreamKind::Message, "Once upon"),
            ("m-2", StreamKind::Thought, "Hm"),
            ("m-3", StreamKind::ToolArgs, "{"),
            ("m-4", StreamKind::Message, ""),
        ] {
            store.logs().checkpoint(&ada.id, open_item(item, kind, text)).await.unwrap();
        }
        let store = place.reopen(store).await;

        // Until its session is loaded nothing changes.
        assert_eq!(log(&store, &ada.id).await.len(), 5);
        assert!(is_listed_running(&store, &ada.id).await);
        assert_eq!(store.logs().sessions_with_work().await.unwrap(), [ada.id.clone()]);
        let loaded = load(&store, &ada.id).await;
        assert_eq!(loaded.state.turn().unwrap().calls.len(), 1, "whether it ran is not known here");
        assert_eq!(loaded.state, stored(&store, &ada.id).await.unwrap().state);
        let records = store.logs().records_after(&ada.id, ada.state.head(), 10).await.unwrap();
        assert!(records.iter().all(|record| record.at == at(5)));
        let after: Vec<Event> = records.into_iter().map(|record| record.event).collect();
        assert_eq!(after[0], message("m-1", "Once upon", false));
        let thought = TurnEvent::Thought {
            item: "m-2".parse().unwrap(),
            text: "Hm".into(),
            complete: false,
            continues: None,
        };
        assert_eq!(after[1], Event::Turn(thought));
        assert_eq!(after.len(), 2);
        let waiting = store.logs().sessions_with_work().await.unwrap();
        assert_eq!(waiting, [ada.id.clone()], "the turn and the queued input wait");
        load(&store, &ada.id).await;
        assert_eq!(log(&store, &ada.id).await.len(), 7, "a second load finds nothing to keep");
        load(&store, &bob.id).await;
        assert_eq!(log(&store, &bob.id).await.len(), 1, "nothing to recover");
        let store = place.reopen(store).await;
        load(&store, &ada.id).await;
        assert_eq!(log(&store, &ada.id).await.len(), 7, "nor does another start");
        let nobody = "s-none".parse().unwrap();
        assert!(store.logs().load(&nobody, NOW).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_continuation_that_a_crash_cuts_names_what_it_continues() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let mut ada = session(&store, &agent(&store, "ada").await).await;
        let turn: TurnId = "t-1".parse().unwrap();
        let events = vec![
            (None, says("i-1", "go")),
            (Some(&turn), started("i-1")),
            (Some(&turn), message("m-1", "Once", false)),
        ];
        append(&store, &mut ada, events).await;
        for (item, kind, text) in [
            ("m-2", StreamKind::Message, " up"),
            ("m-2", StreamKind::Message, " upon"),
            ("m-3", StreamKind::Message, ""),
            ("th-2", StreamKind::Thought, "Hm"),
        ] {
            let continues = Some("m-1".parse().unwrap());
            let open = OpenItem { continues, ..open_item(item, kind, text) };
            store.logs().checkpoint(&ada.id, open).await.unwrap();
        }
        let store = place.reopen(store).await;
        load(&store, &ada.id).await;
        let found = log(&store, &ada.id).await.split_off(4);
        let [
            Event::Turn(TurnEvent::Message { item, text, complete: false, continues }),
            Event::Turn(TurnEvent::Thought { complete: false, continues: thought, .. }),
        ] = found.as_slice()
        else {
            panic!("{found:?}")
        };
        let continues = continues.as_ref().map(ItemId::as_str);
        assert_eq!((item.as_str(), text.as_str(), continues), ("m-2", " upon", Some("m-1")));
        assert_eq!(thought.as_ref().map(ItemId::as_str), Some("m-1"));
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_keeps_its_place_among_the_writes() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let mut ada = session(&store, &agent(&store, "ada").await).await;
        let turn: TurnId = "t-1".parse().unwrap();
        let begun = vec![(None, says("i-1", "go")), (Some(&turn), started("i-1"))];
        append(&store, &mut ada, begun).await;
        let checkpoint = |item| {
            store.logs().checkpoint(&ada.id, open_item(item, StreamKind::Message, "Once upon"))
        };
        // Its text so far, then the whole; and the next text so far, when the store ends.
        let earlier = checkpoint("m-1");
        let said = message("m-1", "Once upon a time", true);
        let closed_items = vec!["m-1".parse().unwrap()];
        let whole = batch(&mut ada.clone(), vec![(Some(&turn), said.clone())])
            .with(BatchExtras { closed_items, ..BatchExtras::default() });
        store.logs().append(whole).await.unwrap();
        earlier.await.unwrap();
        let later = checkpoint("m-2");
        let store = place.reopen(store).await;
        later.await.unwrap();
        load(&store, &ada.id).await;
        let after = log(&store, &ada.id).await.split_off(3);
        assert_eq!(after[..2], [said, message("m-2", "Once upon", false)]);
        assert_eq!(after.len(), 2);
    })
    .await;
}
