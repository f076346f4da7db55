//! Chats of Sparky's users: which one is meant, lists, and the archive.

use thoughtwire_proto::{PeerRef, PeerWire, Timestamp};
use thoughtwire_store::{NewSession, Store, StoreError};

use crate::support::{NOW, agent, open, user};

fn peer(space: &str, name: &str) -> PeerRef {
    PeerRef { wire: PeerWire::Sparky, space: space.into(), name: name.into() }
}

/// Opens a chat so many milliseconds after the start; gives the one that was opened.
fn open_chat(store: &Store, peer: &PeerRef, chat: Option<&str>, after: i64) -> String {
    let at = Timestamp::from_millis(NOW.as_millis() + after);
    let new = NewSession {
        id: format!("s-{}-{after}", peer.space).parse().unwrap(),
        user: user(),
        agent: "a-ada".parse().unwrap(),
        epoch: "e-1".parse().unwrap(),
        title: None,
        instructions: None,
        history: vec![],
        records: vec![],
        at,
        receipt: None,
    };
    store.open_peer(&user(), peer, at).wait().unwrap();
    store.open_chat(&user(), peer, chat, new).wait().unwrap().chat
}

fn listed(store: &Store, space: &str, with_archived: bool) -> Vec<String> {
    let chats = store.chats(&user(), space, with_archived).unwrap();
    chats.into_iter().map(|stored| stored.chat).collect()
}

#[test]
fn without_a_name_it_is_the_chat_that_its_user_selected_last() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    agent(&store, "ada");
    let (old, new, other) = (peer("u1", "p1"), peer("u1", "p2"), peer("u2", "p1"));
    assert_eq!(open_chat(&store, &other, None, 1), "default", "nothing was selected yet");
    open_chat(&store, &old, Some("c1"), 2);
    open_chat(&store, &old, Some("c2"), 3);
    assert_eq!(open_chat(&store, &new, None, 4), "c2", "whichever client selected it");
    open_chat(&store, &old, Some("c1"), 5);
    drop(store);
    let store = open(dir.path());
    assert_eq!(open_chat(&store, &peer("u1", "p3"), None, 6), "c1");
    assert_eq!(
        open_chat(&store, &other, None, 7),
        "default",
        "another user's selection is another"
    );
    store.archive_chat(&user(), "u1", "c1", Some(NOW)).wait().unwrap();
    // The newest selection of a chat that is not archived.
    assert_eq!(open_chat(&store, &peer("u1", "p4"), None, 8), "c2");
}

#[test]
fn a_list_is_one_users_and_shows_the_archive_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    agent(&store, "ada");
    for (n, (space, chat)) in [("u1", "c1"), ("u1", "c2"), ("u2", "c1")].into_iter().enumerate() {
        open_chat(&store, &peer(space, "p"), Some(chat), n as i64 + 1);
    }
    assert_eq!(listed(&store, "u1", false), ["c2", "c1"], "the one that grew last first");
    store.archive_chat(&user(), "u1", "c2", Some(NOW)).wait().unwrap();
    assert_eq!(listed(&store, "u1", false), ["c1"]);
    assert_eq!(listed(&store, "u1", true), ["c2", "c1"]);
    assert_eq!(listed(&store, "u2", true), ["c1"]);
    store.archive_chat(&user(), "u1", "c2", None).wait().unwrap();
    assert_eq!(listed(&store, "u1", false), ["c2", "c1"]);
    let missing = store.archive_chat(&user(), "u2", "c2", Some(NOW)).wait();
    assert!(matches!(missing, Err(StoreError::Missing(_))), "{missing:?}");
    let spaces: Vec<_> =
        store.chats_named(&user(), "c1").unwrap().into_iter().map(|stored| stored.space).collect();
    assert_eq!(spaces, ["u2", "u1"]);
    assert_eq!(["u1", "u3"].map(|space| store.has_space(&user(), space).unwrap()), [true, false]);
}
