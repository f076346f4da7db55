//! What the tests share: a store in a directory of its own, with one agent.

use thoughtwire_proto::{AgentProfile, AgentSpec, Event, Record, Seq, Timestamp, TurnId, UserId};
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
    Event::UserMessage {
        item: item.parse().unwrap(),
        text: text.into(),
        attachments: vec![],
        from: None,
    }
}

pub fn log(store: &Store, session: &StoredSession) -> Vec<Event> {
    store
        .events(session.num, Seq::ZERO, 1000)
        .unwrap()
        .into_iter()
        .map(|record| record.event)
        .collect()
}
