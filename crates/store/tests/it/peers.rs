//! Older wires' clients: chats, selection, proven cursors.

use thoughtwire_proto::{PeerRef, PeerWire, Seq, Timestamp};
use thoughtwire_store::{NewSession, Proven, Store};

use crate::support::{NOW, agent, open, user};

fn peer(name: &str) -> PeerRef {
    PeerRef { wire: PeerWire::Sparky, space: "u1".into(), name: name.into() }
}

fn new_session(store: &Store, id: &str) -> NewSession {
    let ada = store.agent(&user(), "ada").unwrap().unwrap();
    NewSession {
        id: id.parse().unwrap(),
        user: user(),
        agent: ada.id,
        epoch: "e".parse().unwrap(),
        title: None,
        instructions: None,
        history: vec![],
        records: vec![],
        at: NOW,
        receipt: None,
    }
}

#[test]
fn chats_belong_to_a_name_space_and_are_known_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    agent(&store, "ada");
    assert!(store.open_peer(&user(), &peer("p1"), NOW).wait().unwrap().is_new);
    let open_chat = |chat, id| {
        store.open_chat(&user(), &peer("p1"), Some(chat), new_session(&store, id)).wait().unwrap()
    };
    let first = open_chat("c1", "x1");
    assert!(first.is_new && first.is_new_to_peer);
    let again = open_chat("c1", "x2");
    assert!(!again.is_new && !again.is_new_to_peer && again.session == first.session);
    open_chat("c2", "x3");
    drop(store);
    let store = open(dir.path());
    let opened = store.open_peer(&user(), &peer("p1"), NOW).wait().unwrap();
    assert!(!opened.is_new);
    assert_eq!(
        opened.chats.iter().map(|(chat, _)| chat.as_str()).collect::<Vec<_>>(),
        ["c1", "c2"]
    );
    assert_eq!(opened.selected.as_deref(), Some("c2"));
    let elsewhere = PeerRef { space: "u2".into(), ..peer("p1") };
    assert!(
        store.open_peer(&user(), &elsewhere, NOW).wait().unwrap().chats.is_empty(),
        "another user's same name is another"
    );
}

#[test]
fn the_largest_cursor_of_those_that_are_open_or_closed_lately_counts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    agent(&store, "ada");
    store.open_peer(&user(), &peer("p1"), NOW).wait().unwrap();
    let session = "s-ada".parse().unwrap();
    let proof = |connection: &str, seq| {
        vec![Proven {
            user: user(),
            peer: peer("p1"),
            connection: connection.into(),
            session: "s-ada".parse().unwrap(),
            seq: Seq(seq),
        }]
    };
    let at = |millis| Timestamp::from_millis(NOW.as_millis() + millis);
    let since = |millis| store.proven(&user(), &peer("p1"), &session, at(millis)).unwrap();
    assert_eq!(since(0), None, "nothing is known");
    store.prove(proof("k1", 5), None).wait().unwrap();
    assert_eq!(
        since(0),
        Some(Seq(5)),
        "open, as far as anybody knows: its client may have come back before that was noticed"
    );
    store.prove(proof("k1", 7), Some(at(10))).wait().unwrap();
    store.prove(proof("k2", 9), Some(at(20))).wait().unwrap();
    assert_eq!(since(0), Some(Seq(9)), "a closed connection does not hold the peer back");
    assert_eq!(since(15), Some(Seq(9)), "k1 closed too long ago");
    store.prove(proof("k3", 9), None).wait().unwrap();
    store.prove(proof("k3", 8), None).wait().unwrap();
    assert_eq!(since(0), Some(Seq(9)), "nor does one that is open and dead");
    store.prove(proof("k4", 12), Some(at(22))).wait().unwrap();
    store.prove(proof("k5", 10), Some(at(24))).wait().unwrap();
    assert_eq!((since(21), since(23)), (Some(Seq(12)), Some(Seq(10))));
    store.prove(proof("k4", 12), None).wait().unwrap();
    assert_eq!(since(23), Some(Seq(12)), "a connection that attached again is open again");
    drop(store);
    let store = Store::open(dir.path(), at(30)).unwrap();
    let since = |millis| store.proven(&user(), &peer("p1"), &session, at(millis)).unwrap();
    assert_eq!(
        since(25),
        Some(Seq(12)),
        "a connection that a crash cut closed when the store was next opened"
    );
    assert_eq!(since(35), None);
}

#[test]
fn of_a_deleted_session_nothing_is_proven_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    agent(&store, "ada");
    store.open_peer(&user(), &peer("p1"), NOW).wait().unwrap();
    let session = store.create_session(new_session(&store, "x1")).wait().unwrap().id;
    store.delete_session(&session, None).wait().unwrap();
    let late = Proven {
        user: user(),
        peer: peer("p1"),
        connection: "k1".into(),
        session: session.clone(),
        seq: Seq(1),
    };
    store.prove(vec![late], None).wait().unwrap();
    assert_eq!(store.proven(&user(), &peer("p1"), &session, NOW).unwrap(), None);
}
