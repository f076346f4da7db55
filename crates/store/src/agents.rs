//! Agents.

use rusqlite::{Connection, OptionalExtension, Row, params};
use thoughtwire_proto::{AgentId, AgentProfile, UserId};

use crate::log::get_id;
use crate::{Commit, NewAgent, NewSession, Store, StoreError, log, memory, receipts};

const SELECT: &str = "SELECT id, spec, main_session FROM agents WHERE";

impl Store {
    /// Makes an agent, its blocks and its main session.
    pub fn create_agent(&self, new: NewAgent) -> Commit<AgentProfile> {
        self.writer.write(move |connection| {
            receipts::write(connection, new.receipt.as_ref())?;
            let taken: Option<i64> = connection
                .query_row("SELECT num FROM agents WHERE user = ? AND name = ?", [new.user.as_str(), &new.spec.name], |row| row.get(0))
                .optional()?;
            if taken.is_some() {
                return Err(StoreError::NameTaken { name: new.spec.name.clone() });
            }
            let spec = serde_json::to_string(&new.spec)?;
            connection.execute(
                "INSERT INTO agents (id, user, name, spec, main_session, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                params![new.id.as_str(), new.user.as_str(), new.spec.name, spec, new.main_session.as_str(), new.at.as_millis()],
            )?;
            memory::write_first_blocks(connection, &new.id, &new.spec)?;
            let session = NewSession {
                id: new.main_session.clone(),
                user: new.user.clone(),
                agent: new.id.clone(),
                epoch: new.epoch.clone(),
                title: None,
                instructions: None,
                history: Vec::new(),
                at: new.at,
                receipt: None,
            };
            log::write_session(connection, &session, true)?;
            Ok(AgentProfile { id: new.id.clone(), spec: new.spec.clone(), main_session: new.main_session.clone() })
        })
    }

    /// One of a user's agents, by id or else by name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn agent(&self, user: &UserId, name_or_id: &str) -> Result<Option<AgentProfile>, StoreError> {
        self.readers.read(|connection| {
            let select = format!("{SELECT} user = ?1 AND (id = ?2 OR name = ?2) ORDER BY id = ?2 DESC LIMIT 1");
            one(connection, &select, &[user.as_str(), name_or_id])
        })
    }

    /// An agent by its id, whoever's it is.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn agent_by_id(&self, id: &AgentId) -> Result<Option<AgentProfile>, StoreError> {
        self.readers.read(|connection| one(connection, &format!("{SELECT} id = ?"), &[id.as_str()]))
    }

    /// A user's agents, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn agents(&self, user: &UserId) -> Result<Vec<AgentProfile>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection.prepare_cached(&format!("{SELECT} user = ? ORDER BY num"))?;
            let mut rows = select.query([user.as_str()])?;
            let mut agents = Vec::new();
            while let Some(row) = rows.next()? {
                agents.push(profile(row)?);
            }
            Ok(agents)
        })
    }
}

fn one(connection: &Connection, select: &str, arguments: &[&str]) -> Result<Option<AgentProfile>, StoreError> {
    let mut select = connection.prepare_cached(select)?;
    let mut rows = select.query(rusqlite::params_from_iter(arguments))?;
    rows.next()?.map(profile).transpose()
}

fn profile(row: &Row<'_>) -> Result<AgentProfile, StoreError> {
    let spec: String = row.get(1)?;
    Ok(AgentProfile { id: get_id(row, 0)?, spec: serde_json::from_str(&spec)?, main_session: get_id(row, 2)? })
}
