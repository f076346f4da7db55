//! Agents.

use rusqlite::{Connection, OptionalExtension, Row, params};
use thoughtwire_proto::{AgentId, AgentProfile, SessionId, UserId};

use crate::erasing::{Sessions, hide_notes, hide_sessions};
use crate::known::Touched;
use crate::log::get_id;
use crate::{Commit, NewAgent, NewSession, Store, StoreError, archive, log, memory, receipts};

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
            memory::write_first_blocks(connection, &new.id, &new.spec, &new.blocks)?;
            archive::write_notes(connection, &new.id, &new.notes)?;
            let mut sessions = new.sessions.clone();
            let main = if sessions.is_empty() { None } else { Some(sessions.remove(0)) };
            let fresh = NewSession {
                id: new.main_session.clone(),
                user: new.user.clone(),
                agent: new.id.clone(),
                epoch: new.epoch.clone(),
                title: None,
                instructions: None,
                history: Vec::new(),
                records: Vec::new(),
                at: new.at,
                receipt: None,
            };
            let main = NewSession { id: new.main_session.clone(), ..main.unwrap_or(fresh) };
            log::write_session(connection, &main, true)?;
            for session in &sessions {
                log::write_session(connection, session, false)?;
            }
            Ok(AgentProfile { id: new.id.clone(), spec: new.spec.clone(), main_session: new.main_session.clone() })
        })
    }

    /// Gives an agent other settings, and perhaps another name.
    pub fn update_agent(&self, profile: AgentProfile) -> Commit<AgentProfile> {
        self.writer.write(move |connection| {
            let taken: Option<i64> = connection
                .query_row(
                    "SELECT num FROM agents WHERE user = (SELECT user FROM agents WHERE id = ?1) AND name = ?2 AND id != ?1",
                    [profile.id.as_str(), &profile.spec.name],
                    |row| row.get(0),
                )
                .optional()?;
            if taken.is_some() {
                return Err(StoreError::NameTaken { name: profile.spec.name.clone() });
            }
            let spec = serde_json::to_string(&profile.spec)?;
            let changed = connection
                .execute("UPDATE agents SET name = ?, spec = ? WHERE id = ?", [&profile.spec.name, &spec, profile.id.as_str()])?;
            if changed == 0 {
                return Err(StoreError::Missing(format!("agent {}", profile.id)));
            }
            Ok(profile)
        })
    }

    /// Deletes an agent with its sessions and its memory. Resolves to the sessions that went with it. What
    /// is left of them in the file goes with [`Store::erase_some`].
    pub fn delete_agent(&self, id: &AgentId) -> Commit<Vec<SessionId>> {
        let id = id.clone();
        self.writer.write_known(Touched::Agent(id.clone()), move |connection| {
            let sessions: Vec<SessionId> = {
                let mut select = connection.prepare("SELECT id FROM sessions WHERE agent = ?")?;
                let rows = select.query_map([id.as_str()], |row| get_id(row, 0))?;
                rows.collect::<Result<_, _>>()?
            };
            hide_sessions(connection, Sessions::Agents, id.as_str())?;
            hide_notes(connection, &id)?;
            for statement in
                ["DELETE FROM blocks WHERE agent = ?", "DELETE FROM agents WHERE id = ?"]
            {
                connection.execute(statement, [id.as_str()])?;
            }
            Ok(sessions)
        })
    }

    /// One of a user's agents, by id or else by name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn agent(
        &self,
        user: &UserId,
        name_or_id: &str,
    ) -> Result<Option<AgentProfile>, StoreError> {
        self.readers.read(|connection| {
            let select = format!(
                "{SELECT} user = ?1 AND (id = ?2 OR name = ?2) ORDER BY id = ?2 DESC LIMIT 1"
            );
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
            let mut select =
                connection.prepare_cached(&format!("{SELECT} user = ? ORDER BY num"))?;
            let mut rows = select.query([user.as_str()])?;
            let mut agents = Vec::new();
            while let Some(row) = rows.next()? {
                agents.push(profile(row)?);
            }
            Ok(agents)
        })
    }
}

fn one(
    connection: &Connection,
    select: &str,
    arguments: &[&str],
) -> Result<Option<AgentProfile>, StoreError> {
    let mut select = connection.prepare_cached(select)?;
    let mut rows = select.query(rusqlite::params_from_iter(arguments))?;
    rows.next()?.map(profile).transpose()
}

fn profile(row: &Row<'_>) -> Result<AgentProfile, StoreError> {
    let spec: String = row.get(1)?;
    Ok(AgentProfile {
        id: get_id(row, 0)?,
        spec: serde_json::from_str(&spec)?,
        main_session: get_id(row, 2)?,
    })
}
