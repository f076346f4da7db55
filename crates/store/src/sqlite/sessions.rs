//! Sessions in SQLite: creating and reading their rows.

use rusqlite::{Connection, params};
use thoughtwire_proto::{Seq, SessionId, Timestamp};

use super::logs;
use super::receipts::{self, NO_SESSION};
use super::row::{RowCache, get_id, get_seq};
use crate::opening::{SessionRole, first_batch};
use crate::{NewSession, StoreError, StoredSession};

/// Creates a session with its first records.
pub(super) fn create(
    connection: &Connection,
    new: &NewSession,
    role: SessionRole,
) -> Result<StoredSession, StoreError> {
    receipts::write(connection, new.receipt.as_ref(), NO_SESSION)?;
    let batch = first_batch(new)?;
    connection.execute(
        "INSERT INTO sessions (id, user, agent, epoch, first, head, state, running, queued,
                               created_at, updated_at, keep_idle)
         VALUES (?, ?, ?, ?, 1, 0, '', 0, 0, ?, ?, ?)",
        params![
            new.id.as_str(),
            new.user.as_str(),
            new.agent.as_str(),
            new.epoch.as_str(),
            new.at.as_millis(),
            new.at.as_millis(),
            new.keep_idle_ms()
        ],
    )?;
    // Not the store's cache: this transaction may still be rolled back.
    logs::append(connection, &RowCache::default(), &batch)?;
    Ok(StoredSession {
        taken_from: None,
        id: new.id.clone(),
        user: new.user.clone(),
        agent: new.agent.clone(),
        epoch: new.epoch.clone(),
        first: Seq(1),
        state: batch.state().clone(),
        is_main: role == SessionRole::Main,
        created_at: new.at,
    })
}

/// Reads a session.
pub(super) fn read(
    connection: &Connection,
    id: &SessionId,
) -> Result<Option<StoredSession>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT id, user, agent, epoch, first, state, created_at,
                id = (SELECT main_session FROM agents WHERE agents.id = sessions.agent)
         FROM sessions WHERE id = ?",
    )?;
    let mut rows = select.query([id.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let state: String = row.get(5)?;
    Ok(Some(StoredSession {
        taken_from: None,
        id: get_id(row, 0)?,
        user: get_id(row, 1)?,
        agent: get_id(row, 2)?,
        epoch: get_id(row, 3)?,
        first: get_seq(row, 4)?,
        state: serde_json::from_str(&state)?,
        created_at: Timestamp::from_millis(row.get(6)?),
        is_main: row.get::<_, Option<bool>>(7)?.unwrap_or(false),
    }))
}
