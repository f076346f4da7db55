//! Helpers of the tests: agents, sessions, batches and events.

use thoughtwire_proto::{
    AgentId, AgentProfile, AgentSpec, Event, InputEvent, Outcome, Record, Seq, SessionId,
    Timestamp, TurnEvent, TurnId, UserId,
};
use thoughtwire_store::{
    Batch, MemoryQuery, NewAgent, NewNote, NewSession, NodeIdentity, Note, Page, Recalled, Store,
    StoredSession,
};

pub const NOW: Timestamp = Timestamp::from_millis(1_000_000);

pub fn user() -> UserId {
    "local".parse().unwrap()
}

/// So many milliseconds after the tests' start.
pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + millis)
}

pub fn open(dir: &std::path::Path) -> Store {
    Store::open(dir, NOW).unwrap()
}

pub fn new_agent(name: &str) -> NewAgent {
    NewAgent {
        id: format!("a-{name}").parse().unwrap(),
        user: user(),
        spec: AgentSpec { name: name.into(), ..AgentSpec::default() },
        main_session: format!("s-{name}").parse().unwrap(),
        epoch: "e-1".parse().unwrap(),
        blocks: vec![],
        notes: vec![],
        sessions: vec![],
        at: NOW,
        receipt: None,
    }
}

pub fn new_session(agent: &AgentProfile, id: &str) -> NewSession {
    NewSession {
        id: id.parse().unwrap(),
        user: user(),
        agent: agent.id.clone(),
        epoch: "e-2".parse().unwrap(),
        title: None,
        instructions: None,
        history: vec![],
        records: vec![],
        keep_idle: None,
        at: NOW,
        receipt: None,
    }
}

pub fn note(text: &str) -> NewNote {
    NewNote { text: text.into(), at: NOW, source: None, vector: None }
}

pub async fn agent(store: &Store, name: &str) -> AgentProfile {
    store.directory().create_agent(new_agent(name)).await.unwrap()
}

pub async fn stored(store: &Store, session: &SessionId) -> Option<StoredSession> {
    store.directory().session(session).await.unwrap()
}

pub async fn session(store: &Store, agent: &AgentProfile) -> StoredSession {
    stored(store, &agent.main_session).await.unwrap()
}

/// A batch of events that follows what a session has, by the fold.
pub fn batch(session: &mut StoredSession, events: Vec<(Option<&TurnId>, Event)>) -> Batch {
    batch_at(session, events, NOW)
}

pub fn batch_at(
    session: &mut StoredSession,
    events: Vec<(Option<&TurnId>, Event)>,
    at: Timestamp,
) -> Batch {
    let after = session.state.head();
    let mut records = Vec::new();
    for (turn, event) in events {
        session.state.apply(turn, &event).unwrap();
        records.push(Record { seq: session.state.head(), at, turn: turn.cloned(), event });
    }
    Batch::new(session.id.clone(), after, records, session.state.clone()).unwrap()
}

pub async fn append(
    store: &Store,
    session: &mut StoredSession,
    events: Vec<(Option<&TurnId>, Event)>,
) {
    store.logs().append(batch(session, events)).await.unwrap();
}

/// Appends a turn of four events: an input with these words, and an answer to it.
pub async fn turn(store: &Store, session: &mut StoredSession, words: &str, at: Timestamp) {
    let id: TurnId = format!("t-{words}").parse().unwrap();
    let item = format!("i-{words}");
    let message = TurnEvent::Message {
        item: format!("m-{words}").parse().unwrap(),
        text: format!("{words}, yes"),
        complete: true,
        continues: None,
    };
    let ended = TurnEvent::Ended {
        input: item.parse().unwrap(),
        outcome: Outcome::Completed,
        code: None,
        reason: None,
    };
    let events = vec![
        (None, says(&item, words)),
        (Some(&id), started(&item)),
        (Some(&id), Event::Turn(message)),
        (Some(&id), Event::Turn(ended)),
    ];
    store.logs().append(batch_at(session, events, at)).await.unwrap();
}

pub fn says(item: &str, text: &str) -> Event {
    Event::Input(InputEvent::UserMessage {
        item: item.parse().unwrap(),
        text: text.into(),
        attachments: vec![],
        from: None,
    })
}

pub fn started(input: &str) -> Event {
    Event::Turn(TurnEvent::Started { input: input.parse().unwrap() })
}

pub fn called(call: &str, name: &str) -> Event {
    Event::Turn(TurnEvent::ToolCalled {
        call: call.parse().unwrap(),
        name: name.into(),
        args: Default::default(),
    })
}

pub async fn log(store: &Store, session: &SessionId) -> Vec<Event> {
    let records = store.logs().records_after(session, Seq::ZERO, 10_000).await.unwrap();
    records.into_iter().map(|record| record.event).collect()
}

pub async fn erase_deleted(store: &Store) {
    while store.upkeep().erase_deleted().await.unwrap() {}
}

/// An empty PostgreSQL database, deleted when this is dropped.
pub struct TestDatabase {
    pub url: String,
}

impl TestDatabase {
    pub fn create() -> Self {
        Self { url: postgres_tool(&["create"]) }
    }

    /// Its address through a pooler in transaction mode.
    pub fn pooled_url(&self) -> String {
        postgres_tool(&["pooler", &self.url])
    }

    /// Opens a store in it as a node.
    pub async fn open(&self, node: &str, now: Timestamp) -> Store {
        Store::connect(&self.url, NodeIdentity::new(node, None), now).await.unwrap()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        postgres_tool(&["drop", &self.url]);
    }
}

/// Runs `tools/postgres`. Gives its output.
pub fn postgres_tool(arguments: &[&str]) -> String {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/postgres");
    let output = std::process::Command::new(tool).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn query(text: &str, offset: usize, limit: usize) -> MemoryQuery {
    MemoryQuery { text: text.to_owned(), offset, limit, ..MemoryQuery::default() }
}

/// Searches notes by words.
pub async fn search_notes(
    store: &Store,
    agent: &AgentId,
    text: &str,
    offset: usize,
    limit: usize,
) -> Page<Note> {
    let found = store.search().notes(agent, &query(text, offset, limit)).await.unwrap();
    let items = found.items.into_iter().map(|hit| hit.item).collect();
    Page { items, total: found.total }
}

/// Searches messages by words.
pub async fn search_said(
    store: &Store,
    agent: &AgentId,
    text: &str,
    offset: usize,
    limit: usize,
) -> Page<Recalled> {
    let found = store.search().said(agent, &query(text, offset, limit)).await.unwrap();
    let items = found.items.into_iter().map(|hit| hit.item).collect();
    Page { items, total: found.total }
}
