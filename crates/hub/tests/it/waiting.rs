//! Waiting for an input's turn in one call, as `POST …/inputs?wait=` does.

use std::time::Duration;

use thoughtwire_hub::AwaitedTurn;
use thoughtwire_proto::{
    CommandReply, DirectoryReply, ItemId, Policy, RefusalCode, Seq, SessionReply,
};
use thoughtwire_store::Retention;

use crate::support::Room;

async fn say(room: &Room, text: &str) -> (Seq, ItemId) {
    match room.send_as(None, text, Policy::Queue).await.unwrap() {
        CommandReply::Session(SessionReply::Input { seq, input, .. }) => (seq, input),
        other => panic!("{other:?}"),
    }
}

async fn awaited(room: &Room, input: &(Seq, ItemId)) -> AwaitedTurn {
    let turn = room.hub.await_turn(&room.user, &room.session, input.0, &input.1);
    tokio::time::timeout(Duration::from_secs(10), turn).await.expect("it comes").unwrap()
}

#[tokio::test]
async fn a_turn_is_awaited_whole_or_said_to_be_trimmed() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let first = say(&room, "think").await;
    let AwaitedTurn::Ended(records) = awaited(&room, &first).await else { panic!("it is whole") };
    assert_eq!(records[0].seq, first.0);
    let kinds: Vec<_> = records.iter().map(|record| record.event.kind()).collect();
    assert_eq!((kinds[0], *kinds.last().unwrap()), ("user_message", "turn_ended"));
    // Trimmed before somebody waits.
    for _ in 0..5 {
        awaited(&room, &say(&room, "think").await).await;
    }
    let keep = Retention { days: None, events: Some(1) };
    room.hub.keep(&room.user, &room.session, keep).await.unwrap();
    assert_eq!(room.hub.sweep().await.unwrap(), 1);
    assert_eq!(awaited(&room, &first).await, AwaitedTurn::Trimmed(Vec::new()));
}

#[tokio::test]
async fn a_wait_can_be_dropped_and_ends_with_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let mut room = Room::open(dir.path()).await;
    let main = say(&room, "hang").await;
    let turn = room.hub.await_turn(&room.user, &room.session, main.0, &main.1);
    assert!(tokio::time::timeout(Duration::from_millis(50), turn).await.is_err());
    room.cancel().await.unwrap();
    assert!(matches!(awaited(&room, &main).await, AwaitedTurn::Ended(_)));
    let create =
        thoughtwire_proto::Command::Directory(thoughtwire_proto::DirectoryCommand::CreateSession {
            agent: room.agent.spec.name.clone(),
            title: None,
            instructions: None,
            history: Vec::new(),
        });
    let CommandReply::Directory(DirectoryReply::Session { session: other, .. }) =
        room.ask(None, create).await.unwrap()
    else {
        panic!("no")
    };
    room.session = other.clone();
    let hangs = say(&room, "hang").await;
    let (hub, user) = (room.hub.clone(), room.user.clone());
    let session = other.clone();
    let waiting =
        tokio::spawn(async move { hub.await_turn(&user, &session, hangs.0, &hangs.1).await });
    tokio::task::yield_now().await;
    let delete = thoughtwire_proto::SessionCommand::Delete.on(other);
    room.ask(None, delete).await.unwrap();
    let outcome = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    let refusal = outcome.expect("it ends").unwrap();
    match refusal {
        Err(refusal) => {
            assert!(matches!(refusal.code, RefusalCode::Stopping | RefusalCode::UnknownSession));
        }
        // The turn's end may be read before the session is gone.
        Ok(awaited) => assert!(matches!(awaited, AwaitedTurn::Ended(_))),
    }
}
