//! Recall in SQLite: what was said in all sessions of an agent.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};
use thoughtwire_proto::{AgentId, Event, Role, Seq, SessionId, Timestamp};

use super::row::{get_id, get_seq, to_i64};
use crate::{Page, Recalled, StoreError};

/// Events indexed per transaction: so few that a write that arrives meanwhile hardly waits.
const STEP: i64 = 500;

const COLUMNS: &str = "sessions.id, seq, said.at, role, said.text, said.id";

/// Lists the messages behind a number.
pub(super) fn after(
    connection: &Connection,
    agent: &AgentId,
    after: i64,
    limit: usize,
) -> Result<Vec<Recalled>, StoreError> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM said JOIN sessions ON sessions.num = said.session
         WHERE said.agent = ? AND said.id > ? ORDER BY said.id LIMIT ?"
    ))?;
    let rows = select.query_map(params![agent.as_str(), after, limit], found)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Reads messages by their numbers.
pub(super) fn by_id(
    connection: &Connection,
    agent: &AgentId,
    ids: &[i64],
) -> Result<Vec<Recalled>, StoreError> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM said JOIN sessions ON sessions.num = said.session
         WHERE said.id = ? AND said.agent = ?"
    ))?;
    let rows = ids.iter().map(|id| select.query_row(params![id, agent.as_str()], found).optional());
    Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
}

/// Lists what was said from one instant to another, both included, oldest first, without one
/// message.
pub(super) fn by_date(
    connection: &Connection,
    agent: &AgentId,
    (from, to): (Timestamp, Timestamp),
    without: Option<&(SessionId, Seq)>,
    (offset, limit): (usize, usize),
) -> Result<Page<Recalled>, StoreError> {
    const FROM: &str = "FROM said JOIN sessions ON sessions.num = said.session
                        WHERE said.agent = ?1 AND said.at >= ?2 AND said.at <= ?3
                          AND NOT (?4 IS NOT NULL AND sessions.id = ?4 AND seq = ?5)";
    let agent = agent.as_str();
    let (from, to) = (from.as_millis(), to.as_millis());
    let session = without.map(|(session, _)| session.as_str());
    let seq = without.map_or(0, |(_, seq)| to_i64(seq.0));
    let total = connection
        .prepare_cached(&format!("SELECT count(*) {FROM}"))?
        .query_row(params![agent, from, to, session, seq], |row| row.get(0))?;
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} {FROM} ORDER BY said.at, said.id LIMIT ?6 OFFSET ?7"
    ))?;
    let rows = select.query_map(params![agent, from, to, session, seq, limit, offset], found)?;
    Ok(Page { items: rows.collect::<Result<_, _>>()?, total })
}

/// Result of a step of indexing.
pub(super) struct Indexed {
    /// Whether there may be more.
    pub(super) more: bool,
    /// Number of messages that were indexed, by agent.
    pub(super) said: HashMap<AgentId, usize>,
}

/// Indexes some messages in a transaction of its own.
pub(super) fn index_some(connection: &mut Connection) -> Result<Indexed, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let indexed = index_step(&transaction)?;
    transaction.commit()?;
    Ok(indexed)
}

pub(super) fn index_step(connection: &Connection) -> Result<Indexed, StoreError> {
    let from: i64 =
        connection.prepare_cached("SELECT id FROM indexed")?.query_row([], |row| row.get(0))?;
    let mut select = connection.prepare_cached(
        "SELECT events.id, session, seq, at, body, agent
         FROM events JOIN sessions ON sessions.num = session
         WHERE events.id > ? ORDER BY events.id LIMIT ?",
    )?;
    let mut rows = select.query([from, STEP])?;
    let mut last = from;
    let mut count = 0;
    let mut said: HashMap<AgentId, usize> = HashMap::new();
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        count += 1;
        let body: String = row.get(4)?;
        let event = serde_json::from_str::<Event>(&body)?;
        let Some((role, text)) = event.said() else { continue };
        let role = match role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let (session, seq, at): (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let agent: AgentId = get_id(row, 5)?;
        connection
            .prepare_cached(
                "INSERT INTO said (id, agent, session, seq, at, role, text)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![last, agent.as_str(), session, seq, at, role, text])?;
        *said.entry(agent).or_default() += 1;
    }
    for (agent, more) in &said {
        connection
            .prepare_cached("UPDATE agents SET said = said + ? WHERE id = ?")?
            .execute(params![more, agent.as_str()])?;
    }
    if count > 0 {
        connection.prepare_cached("UPDATE indexed SET id = ?")?.execute([last])?;
    }
    Ok(Indexed { more: count == STEP, said })
}

fn found(row: &Row<'_>) -> rusqlite::Result<Recalled> {
    Ok(Recalled {
        id: row.get(5)?,
        session: get_id(row, 0)?,
        seq: get_seq(row, 1)?,
        at: Timestamp::from_millis(row.get(2)?),
        role: row.get(3)?,
        text: row.get(4)?,
    })
}
