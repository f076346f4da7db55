//! Agents that workers run: programs outside the server.

mod assigning;
mod briefing;
mod handover;
mod resuming;
mod saying;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;
use tempfile::TempDir;
use thoughtwire_hub::{HubOptions, WorkerConnection};
use thoughtwire_proto::{
    Command, CommandReply, ConnectionReply, Directive, DirectoryCommand, DirectoryReply,
    Disposition, Emission, Event, Offer, Outcome, Policy, Refusal, RefusalCode, Run,
    SessionCommand, SessionId, SessionReply, StreamKind, TurnEvent, TurnId, Verb,
};

use crate::support::{Listener, Puppet, Room, events};

pub(crate) fn offer(worker: &str) -> Offer {
    Offer {
        agent: "bob".to_owned(),
        worker: Some(worker.parse().unwrap()),
        turns: None,
        history: None,
        memory: None,
        tools: Vec::new(),
        cursors: None,
        resumable: None,
    }
}

/// A worker over one connection.
pub(crate) struct TestWorker(pub(crate) WorkerConnection);

impl TestWorker {
    /// Connects and offers. Returns the turns that are or may become its own.
    pub(crate) async fn connect(room: &Room, offer: Offer) -> (Self, Vec<TurnId>) {
        let mut connection = room.hub.worker_connection(&room.user);
        let answer = connection.offer(offer, true).await.unwrap();
        let ConnectionReply::Offered { turns, .. } = answer else { panic!("{answer:?}") };
        (Self(connection), turns)
    }

    /// The next directive. A test that gets none within ten seconds fails.
    pub(crate) async fn told(&mut self) -> Directive {
        tokio::time::timeout(Duration::from_secs(10), self.0.next())
            .await
            .expect("no directive comes")
    }

    /// The next directive, which must be a turn.
    pub(crate) async fn run(&mut self) -> Run {
        match self.told().await {
            Directive::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    /// Uses a verb; without an id if that is empty. Returns its answer.
    pub(crate) async fn say(
        &mut self,
        turn: &TurnId,
        id: &str,
        verb: Verb,
    ) -> Result<ConnectionReply, Refusal> {
        let id = (!id.is_empty()).then(|| id.parse().unwrap());
        self.0.say(turn, id, verb).await.await
    }

    /// Uses a verb, which must take effect.
    pub(crate) async fn said(&mut self, turn: &TurnId, id: &str, verb: Verb) {
        let answer = self.say(turn, id, verb).await;
        assert!(matches!(answer, Ok(ConnectionReply::Said { duplicate: false, .. })), "{answer:?}");
    }

    pub(crate) async fn finish(
        &mut self,
        turn: &TurnId,
        id: &str,
    ) -> Result<ConnectionReply, Refusal> {
        self.say(turn, id, Verb::Finish { text: Some("Done.".to_owned()) }).await
    }
}

/// A room with an agent that workers run.
pub(crate) async fn open(dir: &Path) -> Room {
    with(dir, HubOptions::default()).await
}

/// [`open`] with options.
async fn with(dir: &Path, options: HubOptions) -> Room {
    let mut room = Room::with(dir, Arc::new(Puppet), options).await;
    room.take_offered(offer("first")).await;
    room
}

impl Room {
    /// Makes the agent of an offer the room's.
    async fn take_offered(&mut self, offer: Offer) {
        let mut connection = self.hub.worker_connection(&self.user);
        let ConnectionReply::Offered { agent, .. } = connection.offer(offer, true).await.unwrap()
        else {
            panic!("no agent")
        };
        self.session = agent.main_session.clone();
        self.agent = *agent;
    }
}

/// The room under the next hub, after a planned stop. `guest` is dropped between the two.
pub(crate) async fn started_again<T>(room: Room, dir: &Path, guest: T) -> Room {
    room.hub.stop(Duration::ZERO).await;
    let store = Arc::clone(room.hub.store());
    let session = room.session.clone();
    drop((guest, room));
    store.close().await;
    Room { session, ..Room::open(dir).await }
}

/// A room, a listener from the log's start, and one connected worker, with the room's directory.
pub(crate) async fn connected() -> (TempDir, Room, Listener, TestWorker) {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let (_, listener) = room.after(0).await;
    let (worker, _) = TestWorker::connect(&room, offer("w")).await;
    (dir, room, listener, worker)
}

/// [`connected`], and a turn on an input that the worker runs.
pub(crate) async fn started(text: &str) -> (TempDir, Room, Listener, TestWorker, TurnId) {
    let (dir, room, listener, mut worker) = connected().await;
    room.send(text).await.unwrap();
    let turn = worker.run().await.turn;
    (dir, room, listener, worker, turn)
}

/// Makes another session of the agent.
async fn another(room: &Room) -> SessionId {
    let command = Command::Directory(DirectoryCommand::CreateSession {
        agent: "bob".into(),
        title: None,
        instructions: None,
        history: vec![],
    });
    match room.ask(None, command).await.unwrap() {
        CommandReply::Directory(DirectoryReply::Session { session, .. }) => session,
        other => panic!("{other:?}"),
    }
}

/// Sends an input to a session.
async fn send_to(room: &Room, session: &SessionId) -> Disposition {
    let command =
        SessionCommand::Send { text: "hi".into(), attachments: vec![], policy: Policy::Queue }
            .on(session.clone());
    match room.ask(None, command).await.unwrap() {
        CommandReply::Session(SessionReply::Input { disposition, .. }) => disposition,
        other => panic!("{other:?}"),
    }
}

/// Outcome and code of the turn that ended.
pub(crate) fn ended(seen: &[Emission]) -> (Outcome, Option<String>) {
    let end = events(seen).into_iter().find_map(|event| match event {
        Event::Turn(TurnEvent::Ended { outcome, code, .. }) => Some((outcome, code)),
        _ => None,
    });
    end.expect("no turn ended")
}

fn thought(text: &str) -> Verb {
    Verb::InternalMonologue { text: text.to_owned(), continues: None }
}

fn delta(item: &str, n: u64, text: &str) -> Verb {
    Verb::Delta {
        item: item.parse().unwrap(),
        n,
        kind: StreamKind::Message,
        text: text.to_owned(),
        continues: None,
    }
}

pub(crate) fn called(name: &str) -> Verb {
    Verb::ToolCalled { name: name.to_owned(), args: Map::new() }
}

/// Code of a refused verb.
pub(crate) fn code<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> RefusalCode {
    answer.expect_err("the verb took effect").code
}
