//! What the tests share: a store in a directory of its own, with one agent.

use std::path::Path;

use thoughtwire_proto::{
    AgentProfile, AgentSpec, Event, InputEvent, Record, Seq, Timestamp, TurnId, UserId,
};
use thoughtwire_store::{Append, NewAgent, Store, StoredSession};

pub const NOW: Timestamp = Timestamp::from_millis(1_000_000);

pub fn user() -> UserId {
    "local".parse().unwrap()
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

pub fn agent(store: &Store, name: &str) -> AgentProfile {
    store.create_agent(new_agent(name)).wait().unwrap()
}

pub fn session(store: &Store, agent: &AgentProfile) -> StoredSession {
    store.session(&agent.main_session).unwrap().unwrap()
}

/// An append of events that follows what a session has, by the fold.
pub fn append(session: &mut StoredSession, events: Vec<(Option<&TurnId>, Event)>) -> Append {
    let after = session.state.head();
    let mut records = Vec::new();
    for (turn, event) in events {
        session.state.apply(turn, &event).unwrap();
        records.push(Record { seq: session.state.head(), at: NOW, turn: turn.cloned(), event });
    }
    Append {
        session: session.num,
        after,
        records,
        state: session.state.clone(),
        receipt: None,
        block: None,
        output: None,
        kept: None,
        closed_items: vec![],
    }
}

pub fn says(item: &str, text: &str) -> Event {
    Event::Input(InputEvent::UserMessage {
        item: item.parse().unwrap(),
        text: text.into(),
        attachments: vec![],
        from: None,
    })
}

pub fn log(store: &Store, session: &StoredSession) -> Vec<Event> {
    store
        .events(session.num, Seq::ZERO, 1000)
        .unwrap()
        .into_iter()
        .map(|record| record.event)
        .collect()
}

/// Takes a file back to schema version 5, to open it as one of an earlier release.
pub(crate) fn as_version_5(dir: &Path) {
    let file = rusqlite::Connection::open(Store::file(dir)).unwrap();
    file.execute_batch(
        "ALTER TABLE peers DROP COLUMN selected_at; ALTER TABLE chats DROP COLUMN archived_at;
         DROP INDEX events_by_call; ALTER TABLE events DROP COLUMN call; DROP TABLE clock;
         DROP TABLE kept_replies;
         DROP TABLE said_words; DROP TABLE notes_words; DROP VIEW said_texts; DROP VIEW notes_texts;
         ALTER TABLE said DROP COLUMN words; ALTER TABLE notes DROP COLUMN words;
         CREATE VIRTUAL TABLE notes_words USING fts5 (
             text, content = 'notes', content_rowid = 'id', tokenize = 'porter unicode61'
         );
         CREATE VIRTUAL TABLE said_words USING fts5 (
             text, content = 'said', content_rowid = 'id', tokenize = 'porter unicode61'
         );
         INSERT INTO notes_words (notes_words) VALUES ('rebuild');
         INSERT INTO said_words (said_words) VALUES ('rebuild');
         PRAGMA user_version = 5;",
    )
    .unwrap();
}
