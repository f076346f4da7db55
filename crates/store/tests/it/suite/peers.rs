//! Older wires' clients: chats, selection, proven positions.

use thoughtwire_proto::{PeerRef, PeerWire, Seq};
use thoughtwire_store::Proven;

use super::on_every_backend;
use crate::support::{NOW, agent, at, new_session, user};

fn peer(name: &str) -> PeerRef {
    PeerRef { wire: PeerWire::Sparky, space: "u1".into(), name: name.into() }
}

fn proof(session: &str, connection: &str, seq: u64) -> Vec<Proven> {
    vec![Proven {
        user: user(),
        peer: peer("p1"),
        connection: connection.into(),
        session: session.parse().unwrap(),
        seq: Seq(seq),
    }]
}

#[tokio::test]
async fn chats_belong_to_a_name_space_and_are_known_again() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let ada = agent(&store, "ada").await;
        assert!(store.peers().open_peer(&user(), &peer("p1"), NOW).await.unwrap().is_new);
        let open_chat = async |chat, id| {
            let new = new_session(&ada, id);
            store.peers().open_chat(&user(), &peer("p1"), Some(chat), new).await.unwrap()
        };
        let first = open_chat("c1", "x1").await;
        assert!(first.is_new && first.is_new_to_peer);
        let again = open_chat("c1", "x2").await;
        assert!(!again.is_new && !again.is_new_to_peer && again.session == first.session);
        open_chat("c2", "x3").await;
        let store = place.reopen(store).await;
        let opened = store.peers().open_peer(&user(), &peer("p1"), NOW).await.unwrap();
        assert!(!opened.is_new);
        let chats: Vec<_> = opened.chats.iter().map(|(chat, _)| chat.as_str()).collect();
        assert_eq!(chats, ["c1", "c2"]);
        assert_eq!(opened.selected.as_deref(), Some("c2"));
        let elsewhere = PeerRef { space: "u2".into(), ..peer("p1") };
        let other = store.peers().open_peer(&user(), &elsewhere, NOW).await.unwrap();
        assert!(other.chats.is_empty(), "another user's same name is another");
    })
    .await;
}

#[tokio::test]
async fn the_largest_position_of_those_that_are_open_or_closed_lately_counts() {
    on_every_backend(async |place| {
        let store = place.open().await;
        agent(&store, "ada").await;
        store.peers().open_peer(&user(), &peer("p1"), NOW).await.unwrap();
        let session = "s-ada".parse().unwrap();
        let prove = async |connection: &str, seq, closed_at| {
            store.peers().prove(proof("s-ada", connection, seq), closed_at).await.unwrap();
        };
        let since = async |millis| {
            store.peers().proven(&user(), &peer("p1"), &session, at(millis)).await.unwrap()
        };
        assert_eq!(since(0).await, None, "nothing is known");
        prove("k1", 5, None).await;
        let open = "open, as far as anybody knows: its client may have come back before";
        assert_eq!(since(0).await, Some(Seq(5)), "{open}");
        prove("k1", 7, Some(at(10))).await;
        prove("k2", 9, Some(at(20))).await;
        assert_eq!(since(0).await, Some(Seq(9)), "a closed connection does not hold the peer back");
        assert_eq!(since(15).await, Some(Seq(9)), "k1 closed too long ago");
        prove("k3", 9, None).await;
        prove("k3", 8, None).await;
        assert_eq!(since(0).await, Some(Seq(9)), "nor does one that is open and dead");
        prove("k4", 12, Some(at(22))).await;
        prove("k5", 10, Some(at(24))).await;
        assert_eq!((since(21).await, since(23).await), (Some(Seq(12)), Some(Seq(10))));
        prove("k4", 12, None).await;
        assert_eq!(since(23).await, Some(Seq(12)), "a connection that attached again is open");
        store.close().await;
        let store = place.open_at(at(30)).await;
        let since = async |millis| {
            store.peers().proven(&user(), &peer("p1"), &session, at(millis)).await.unwrap()
        };
        let closed = "a connection that a crash cut closed when the store was next opened";
        assert_eq!(since(25).await, Some(Seq(12)), "{closed}");
        assert_eq!(since(35).await, None);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_proven_of_a_deleted_session() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let ada = agent(&store, "ada").await;
        store.peers().open_peer(&user(), &peer("p1"), NOW).await.unwrap();
        let new = new_session(&ada, "x1");
        let session = store.directory().create_session(new).await.unwrap().id;
        store.directory().delete_session(&session, None).await.unwrap();
        store.peers().prove(proof("x1", "k1", 1), None).await.unwrap();
        let proven = store.peers().proven(&user(), &peer("p1"), &session, NOW).await.unwrap();
        assert_eq!(proven, None);
    })
    .await;
}
