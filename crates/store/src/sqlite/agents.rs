//! Agents in SQLite.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use thoughtwire_proto::{AgentId, AgentProfile, SessionId, UserId};

use super::erasing::{hide_notes, hide_sessions};
use super::receipts::{self, NO_SESSION};
use super::row::get_id;
use super::sessions;
use super::{blocks, notes};
use crate::opening::SessionRole;
use crate::upkeep::Deleted;
use crate::{Block, BlockEdit, NewAgent, SearchMarks, StoreError};

const SELECT: &str = "SELECT id, spec, main_session FROM agents WHERE";

/// Creates an agent with its blocks, its notes and its sessions.
pub(super) fn create(connection: &Connection, new: &NewAgent) -> Result<AgentProfile, StoreError> {
    receipts::write(connection, new.receipt.as_ref(), NO_SESSION)?;
    let taken = connection
        .prepare("SELECT 1 FROM agents WHERE user = ? AND name = ?")?
        .exists([new.user.as_str(), &new.spec.name])?;
    if taken {
        return Err(StoreError::NameTaken { name: new.spec.name.clone() });
    }
    connection.execute(
        "INSERT INTO agents (id, user, name, spec, main_session, created_at)
         VALUES (?, ?, ?, ?, ?, ?)",
        params![
            new.id.as_str(),
            new.user.as_str(),
            new.spec.name,
            serde_json::to_string(&new.spec)?,
            new.main_session.as_str(),
            new.at.as_millis()
        ],
    )?;
    for block in Block::first(&new.spec, &new.blocks) {
        let (agent, label) = (new.id.clone(), block.label.clone());
        blocks::write(connection, &BlockEdit { agent, label, to: Some(block) })?;
    }
    notes::add(connection, &new.id, &new.notes)?;
    for (number, session) in new.first_sessions().iter().enumerate() {
        let role = if number == 0 { SessionRole::Main } else { SessionRole::Other };
        sessions::create(connection, session, role)?;
    }
    Ok(AgentProfile {
        id: new.id.clone(),
        spec: new.spec.clone(),
        main_session: new.main_session.clone(),
    })
}

/// Replaces an agent's settings.
pub(super) fn update(
    connection: &Connection,
    profile: AgentProfile,
) -> Result<AgentProfile, StoreError> {
    let (id, name) = (profile.id.as_str(), profile.spec.name.as_str());
    let taken = connection
        .prepare(
            "SELECT 1 FROM agents WHERE user = (SELECT user FROM agents WHERE id = ?1)
             AND name = ?2 AND id != ?1",
        )?
        .exists([id, name])?;
    if taken {
        return Err(StoreError::NameTaken { name: name.to_owned() });
    }
    let spec = serde_json::to_string(&profile.spec)?;
    let changed = connection
        .execute("UPDATE agents SET name = ?, spec = ? WHERE id = ?", [name, &spec, id])?;
    if changed == 0 {
        return Err(StoreError::missing_agent(&profile.id));
    }
    Ok(profile)
}

/// Deletes an agent with its sessions and its memory. Gives the deleted sessions.
pub(super) fn delete(connection: &Connection, id: &AgentId) -> Result<Vec<SessionId>, StoreError> {
    let sessions: Vec<SessionId> = {
        let mut select = connection.prepare("SELECT id FROM sessions WHERE agent = ?")?;
        let rows = select.query_map([id.as_str()], |row| get_id(row, 0))?;
        rows.collect::<Result<_, _>>()?
    };
    hide_sessions(connection, Deleted::Agent, id.as_str())?;
    hide_notes(connection, id)?;
    for statement in ["DELETE FROM blocks WHERE agent = ?", "DELETE FROM agents WHERE id = ?"] {
        connection.execute(statement, [id.as_str()])?;
    }
    Ok(sessions)
}

/// Finds one of a user's agents, by its id or else by its name.
pub(super) fn find(
    connection: &Connection,
    user: &UserId,
    name_or_id: &str,
) -> Result<Option<AgentProfile>, StoreError> {
    let select =
        format!("{SELECT} user = ?1 AND (id = ?2 OR name = ?2) ORDER BY id = ?2 DESC LIMIT 1");
    one(connection, &select, &[user.as_str(), name_or_id])
}

/// Finds an agent of any user.
pub(super) fn read(
    connection: &Connection,
    id: &AgentId,
) -> Result<Option<AgentProfile>, StoreError> {
    one(connection, &format!("{SELECT} id = ?"), &[id.as_str()])
}

/// Lists a user's agents, oldest first.
pub(super) fn list(
    connection: &Connection,
    user: &UserId,
) -> Result<Vec<AgentProfile>, StoreError> {
    let mut select = connection.prepare_cached(&format!("{SELECT} user = ? ORDER BY num"))?;
    let rows = select.query_and_then([user.as_str()], profile)?;
    rows.collect()
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

/// Reads a count that is kept in an agent's row; 0 where there is no such agent.
pub(super) fn count(
    connection: &Connection,
    column: &'static str,
    agent: &AgentId,
) -> Result<usize, StoreError> {
    let mut select =
        connection.prepare_cached(&format!("SELECT {column} FROM agents WHERE id = ?"))?;
    Ok(select.query_row([agent.as_str()], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Reads what tells whether an index over an agent's texts is up to date.
pub(super) fn marks(connection: &Connection, agent: &AgentId) -> Result<SearchMarks, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT notes, said, erased FROM agents WHERE id = ?")?;
    let marks = select.query_row([agent.as_str()], |row| {
        Ok(SearchMarks { notes: row.get(0)?, said: row.get(1)?, erased: row.get(2)? })
    });
    Ok(marks.optional()?.unwrap_or_default())
}
