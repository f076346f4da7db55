//! Chats of Sparky's users: which one is meant, lists, and the archive.

use thoughtwire_proto::{PeerRef, PeerWire};
use thoughtwire_store::{NewSession, Store, StoreError};

use super::on_every_backend;
use crate::support::{NOW, agent, at, new_session, user};

fn peer(space: &str, name: &str) -> PeerRef {
    PeerRef { wire: PeerWire::Sparky, space: space.into(), name: name.into() }
}

/// Opens a chat so many milliseconds after the start; gives its name.
async fn open_chat(store: &Store, peer: &PeerRef, chat: Option<&str>, after: i64) -> String {
    let ada = store.directory().agent(&user(), "ada").await.unwrap().unwrap();
    let id = format!("s-{}-{after}", peer.space);
    let new = NewSession { at: at(after), ..new_session(&ada, &id) };
    store.peers().open_peer(&user(), peer, at(after)).await.unwrap();
    store.peers().open_chat(&user(), peer, chat, new).await.unwrap().chat
}

async fn listed(store: &Store, space: &str, with_archived: bool) -> Vec<String> {
    let chats = store.peers().chats(&user(), space, with_archived).await.unwrap();
    chats.into_iter().map(|stored| stored.chat).collect()
}

#[tokio::test]
async fn without_a_name_it_is_the_chat_that_its_user_selected_last() {
    on_every_backend(async |place| {
        let store = place.open().await;
        agent(&store, "ada").await;
        let (old, new, other) = (peer("u1", "p1"), peer("u1", "p2"), peer("u2", "p1"));
        let first = open_chat(&store, &other, None, 1).await;
        assert_eq!(first, "default", "nothing was selected yet");
        open_chat(&store, &old, Some("c1"), 2).await;
        open_chat(&store, &old, Some("c2"), 3).await;
        let last = open_chat(&store, &new, None, 4).await;
        assert_eq!(last, "c2", "whichever client selected it");
        open_chat(&store, &old, Some("c1"), 5).await;
        let store = place.reopen(store).await;
        assert_eq!(open_chat(&store, &peer("u1", "p3"), None, 6).await, "c1");
        let theirs = open_chat(&store, &other, None, 7).await;
        assert_eq!(theirs, "default", "another user's selection is another");
        store.peers().archive_chat(&user(), "u1", "c1", Some(NOW)).await.unwrap();
        // The newest selection of a chat that is not archived.
        assert_eq!(open_chat(&store, &peer("u1", "p4"), None, 8).await, "c2");
    })
    .await;
}

#[tokio::test]
async fn a_list_is_one_users_and_shows_the_archive_when_asked() {
    on_every_backend(async |place| {
        let store = place.open().await;
        agent(&store, "ada").await;
        let chats = [("u1", "c1"), ("u1", "c2"), ("u2", "c1")];
        for (n, (space, chat)) in (1..).zip(chats) {
            open_chat(&store, &peer(space, "p"), Some(chat), n).await;
        }
        let peers = store.peers();
        assert_eq!(listed(&store, "u1", false).await, ["c2", "c1"], "the newest activity first");
        peers.archive_chat(&user(), "u1", "c2", Some(NOW)).await.unwrap();
        assert_eq!(listed(&store, "u1", false).await, ["c1"]);
        assert_eq!(listed(&store, "u1", true).await, ["c2", "c1"]);
        assert_eq!(listed(&store, "u2", true).await, ["c1"]);
        peers.archive_chat(&user(), "u1", "c2", None).await.unwrap();
        assert_eq!(listed(&store, "u1", false).await, ["c2", "c1"]);
        let missing = peers.archive_chat(&user(), "u2", "c2", Some(NOW)).await;
        assert!(matches!(missing, Err(StoreError::Missing(_))), "{missing:?}");
        let named = peers.chats_named(&user(), "c1").await.unwrap();
        let spaces: Vec<_> = named.into_iter().map(|stored| stored.space).collect();
        assert_eq!(spaces, ["u2", "u1"]);
        assert!(peers.has_space(&user(), "u1").await.unwrap());
        assert!(!peers.has_space(&user(), "u3").await.unwrap());
        let other = "other".parse().unwrap();
        assert!(!peers.has_space(&other, "u1").await.unwrap());
        assert!(peers.chats(&other, "u1", true).await.unwrap().is_empty());
    })
    .await;
}
