//! Agents in PostgreSQL.

use thoughtwire_proto::{AgentId, AgentProfile, SessionId, UserId};
use tokio_postgres::{Client, Row};

use super::changes::ChangeRecorder;
use super::erasing::{hide_notes, hide_sessions};
use super::sql::{Text, args, execute, first_row, get_count, get_i64, get_id, get_json, rows};
use super::{blocks, notes, receipts, sessions};
use crate::opening::SessionRole;
use crate::upkeep::Deleted;
use crate::{Block, BlockEdit, NewAgent, SearchMarks, StoreChange, StoreError};

const SELECT: &str = "SELECT id, spec, main_session FROM agents WHERE";

/// Creates an agent with its blocks, its notes and its sessions.
pub(super) async fn create(
    sql: &Client,
    node: i64,
    new: &NewAgent,
) -> Result<AgentProfile, StoreError> {
    receipts::write(sql, new.receipt.as_ref()).await?;
    let created = execute(
        sql,
        "INSERT INTO agents (id, owner, name, spec, main_session, created_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (owner, name) DO NOTHING",
        args![
            Text(new.id.as_str()),
            Text(new.user.as_str()),
            Text(&new.spec.name),
            Text(&serde_json::to_string(&new.spec)?),
            Text(new.main_session.as_str()),
            new.at.as_millis()
        ],
    )
    .await?;
    if created == 0 {
        return Err(StoreError::NameTaken { name: new.spec.name.clone() });
    }
    for block in Block::first(&new.spec, &new.blocks) {
        let (agent, label) = (new.id.clone(), block.label.clone());
        blocks::write(sql, &BlockEdit { agent, label, to: Some(block) }).await?;
    }
    notes::add(sql, &new.id, &new.notes).await?;
    for (number, session) in new.first_sessions().iter().enumerate() {
        let role = if number == 0 { SessionRole::Main } else { SessionRole::Other };
        sessions::create(sql, node, session, role).await?;
    }
    Ok(AgentProfile {
        id: new.id.clone(),
        spec: new.spec.clone(),
        main_session: new.main_session.clone(),
    })
}

/// Replaces an agent's settings.
pub(super) async fn update(
    sql: &Client,
    recorder: &ChangeRecorder,
    profile: AgentProfile,
) -> Result<AgentProfile, StoreError> {
    let (id, name) = (Text(profile.id.as_str()), Text(&profile.spec.name));
    let taken = first_row(
        sql,
        "SELECT 1 FROM agents WHERE owner = (SELECT owner FROM agents WHERE id = $1)
         AND name = $2 AND id != $1",
        args![id, name],
    )
    .await?;
    if taken.is_some() {
        return Err(StoreError::NameTaken { name: profile.spec.name.clone() });
    }
    let changed = first_row(
        sql,
        "UPDATE agents SET name = $2, spec = $3 WHERE id = $1 RETURNING owner",
        args![id, name, Text(&serde_json::to_string(&profile.spec)?)],
    )
    .await?;
    let Some(row) = changed else { return Err(StoreError::missing_agent(&profile.id)) };
    let change = StoreChange::Agent { user: get_id(&row, 0)?, agent: profile.id.clone() };
    recorder.record(sql, &change).await?;
    Ok(profile)
}

/// Deletes an agent with its sessions and its memory. Gives the deleted sessions.
pub(super) async fn delete(
    sql: &Client,
    recorder: &ChangeRecorder,
    id: &AgentId,
) -> Result<Vec<SessionId>, StoreError> {
    let agent = Text(id.as_str());
    let found = rows(sql, "SELECT id FROM sessions WHERE agent = $1", args![agent]).await?;
    let sessions = found.iter().map(|row| get_id(row, 0)).collect::<Result<Vec<_>, _>>()?;
    hide_sessions(sql, Deleted::Agent, id.as_str()).await?;
    hide_notes(sql, id).await?;
    execute(sql, "DELETE FROM blocks WHERE agent = $1", args![agent]).await?;
    let deleted =
        first_row(sql, "DELETE FROM agents WHERE id = $1 RETURNING owner", args![agent]).await?;
    if let Some(row) = deleted {
        let (user, agent) = (get_id(&row, 0)?, id.clone());
        let change = StoreChange::AgentDeleted { user, agent, sessions: sessions.clone() };
        recorder.record(sql, &change).await?;
    }
    Ok(sessions)
}

/// Finds one of a user's agents, by its id or else by its name.
pub(super) async fn find(
    sql: &Client,
    user: &UserId,
    name_or_id: &str,
) -> Result<Option<AgentProfile>, StoreError> {
    let select =
        format!("{SELECT} owner = $1 AND (id = $2 OR name = $2) ORDER BY id = $2 DESC LIMIT 1");
    let found = first_row(sql, &select, args![Text(user.as_str()), Text(name_or_id)]).await?;
    found.as_ref().map(profile).transpose()
}

/// Finds an agent of any user.
pub(super) async fn read(sql: &Client, id: &AgentId) -> Result<Option<AgentProfile>, StoreError> {
    let select = format!("{SELECT} id = $1");
    let found = first_row(sql, &select, args![Text(id.as_str())]).await?;
    found.as_ref().map(profile).transpose()
}

/// Lists a user's agents, oldest first.
pub(super) async fn list(sql: &Client, user: &UserId) -> Result<Vec<AgentProfile>, StoreError> {
    let select = format!("{SELECT} owner = $1 ORDER BY num");
    rows(sql, &select, args![Text(user.as_str())]).await?.iter().map(profile).collect()
}

fn profile(row: &Row) -> Result<AgentProfile, StoreError> {
    Ok(AgentProfile { id: get_id(row, 0)?, spec: get_json(row, 1)?, main_session: get_id(row, 2)? })
}

/// Reads what tells whether an index over an agent's texts is up to date.
pub(super) async fn marks(sql: &Client, agent: &AgentId) -> Result<SearchMarks, StoreError> {
    let found = first_row(
        sql,
        "SELECT notes,
                (SELECT coalesce(sum(said), 0)::bigint FROM sessions WHERE agent = agents.id),
                erased
         FROM agents WHERE id = $1",
        args![Text(agent.as_str())],
    )
    .await?;
    let Some(row) = found else { return Ok(SearchMarks::default()) };
    let (notes, said) = (get_count(&row, 0)?, get_count(&row, 1)?);
    Ok(SearchMarks { notes, said, erased: get_i64(&row, 2)? })
}
