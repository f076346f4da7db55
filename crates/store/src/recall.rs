//! Recall memory: what was said in all of an agent's sessions, found by words or by date.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};
use thoughtwire_proto::{AgentId, Event, Role, Seq, Timestamp};

use crate::known::Touched;
use crate::log::{get_id, get_u64};
use crate::{Commit, Page, Recalled, Store, StoreError, script};

/// Events indexed per transaction: few enough that a write that comes meanwhile hardly waits.
const STEP: i64 = 500;

const COLUMNS: &str = "sessions.id, seq, said.at, role, said.text";

impl Store {
    /// Indexes everything that is on disk. A search that follows misses nothing that was said before.
    pub fn catch_up_recall(&self) -> Commit<()> {
        self.writer.write_known(Touched::Anybody, |connection| {
            while index_step(connection)?.more {}
            Ok(())
        })
    }

    /// Searches what was said by words, best first; what is not indexed yet is not found (see
    /// [`Store::catch_up_recall`]). An empty query finds nothing.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn recall_search(
        &self,
        agent: &AgentId,
        query: &str,
        offset: usize,
        limit: usize,
    ) -> Result<Page<Recalled>, StoreError> {
        let Some(query) = script::query(query) else {
            return Ok(Page { items: Vec::new(), total: 0 });
        };
        const FROM: &str = "FROM said_words JOIN said ON said.id = said_words.rowid JOIN sessions ON sessions.num = said.session
                            WHERE said_words MATCH ?1 AND said.agent = ?2";
        self.readers.read(|connection| {
            let mut count = connection.prepare_cached(&format!("SELECT count(*) {FROM}"))?;
            let (words, total) = query.matching(|words| {
                count.query_row(params![words, agent.as_str()], |row| row.get(0))
            })?;
            let mut select = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} {FROM} ORDER BY rank, said.id DESC LIMIT ?3 OFFSET ?4"
            ))?;
            let rows = select.query_map(params![words, agent.as_str(), limit, offset], recalled)?;
            Ok(Page { items: rows.collect::<Result<_, _>>()?, total })
        })
    }

    /// What was said from one instant to another, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn recall_by_date(
        &self,
        agent: &AgentId,
        from: Timestamp,
        to: Timestamp,
        offset: usize,
        limit: usize,
    ) -> Result<Page<Recalled>, StoreError> {
        const FROM: &str = "FROM said JOIN sessions ON sessions.num = said.session
                            WHERE said.agent = ?1 AND said.at >= ?2 AND said.at <= ?3";
        self.readers.read(|connection| {
            let total: i64 = connection
                .prepare_cached(&format!("SELECT count(*) {FROM}"))?
                .query_row(params![agent.as_str(), from.as_millis(), to.as_millis()], |row| {
                    row.get(0)
                })?;
            let mut select = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} {FROM} ORDER BY said.at, said.id LIMIT ?4 OFFSET ?5"
            ))?;
            let rows = select.query_map(
                params![agent.as_str(), from.as_millis(), to.as_millis(), limit, offset],
                recalled,
            )?;
            Ok(Page {
                items: rows.collect::<Result<_, _>>()?,
                total: usize::try_from(total).unwrap_or(0),
            })
        })
    }

    /// How many things were said in all of an agent's sessions, as far as they are indexed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn recall_count(&self, agent: &AgentId) -> Result<usize, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection.prepare_cached("SELECT said FROM agents WHERE id = ?")?;
            Ok(select.query_row([agent.as_str()], |row| row.get(0)).optional()?.unwrap_or(0))
        })
    }
}

/// What a step of the index came to.
pub(crate) struct Indexed {
    /// There may be more.
    pub(crate) more: bool,
    /// How many things were indexed of each agent's.
    pub(crate) said: HashMap<AgentId, usize>,
}

/// Indexes some more in a transaction of its own.
pub(crate) fn index_some(connection: &mut Connection) -> Result<Indexed, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let indexed = index_step(&transaction)?;
    transaction.commit()?;
    Ok(indexed)
}

fn index_step(connection: &Connection) -> Result<Indexed, StoreError> {
    let from: i64 =
        connection.prepare_cached("SELECT id FROM indexed")?.query_row([], |row| row.get(0))?;
    let mut select = connection.prepare_cached(
        "SELECT events.id, session, seq, at, body, agent FROM events JOIN sessions ON sessions.num = session
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
        let words = script::indexed(text);
        let (session, seq, at): (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let agent: AgentId = get_id(row, 5)?;
        connection
            .prepare_cached(
                "INSERT INTO said (id, agent, session, seq, at, role, text, words)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![last, agent.as_str(), session, seq, at, role, text, words])?;
        *said.entry(agent).or_default() += 1;
        connection
            .prepare_cached("INSERT INTO said_words (rowid, text) VALUES (?, ?)")?
            .execute(params![last, words.as_deref().unwrap_or(text)])?;
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

fn recalled(row: &Row<'_>) -> rusqlite::Result<Recalled> {
    Ok(Recalled {
        session: get_id(row, 0)?,
        seq: Seq(get_u64(row, 1)?),
        at: Timestamp::from_millis(row.get(2)?),
        role: row.get(3)?,
        text: row.get(4)?,
    })
}
