//! Lists of sessions in SQLite.

use rusqlite::{Connection, Row, params};
use thoughtwire_proto::{Id, SessionListing, Timestamp, UserId};

use super::row::{get_id, get_seq, get_u64};
use crate::{SessionFilter, StoreError};

const SELECT: &str = "
    SELECT sessions.id, sessions.agent, agents.name, title, head, running, queued,
           sessions.id = agents.main_session, sessions.created_at, updated_at, state ->> '$.usage',
           running AND EXISTS (SELECT 1 FROM json_each(state, '$.turn.calls')
                               WHERE value ->> '$.approval' IS NOT NULL)
    FROM sessions JOIN agents ON agents.id = sessions.agent
    WHERE sessions.user = ?1 AND (?2 IS NULL OR sessions.id = ?2)
      AND (?3 IS NULL OR sessions.agent = ?3)
    ORDER BY updated_at DESC, sessions.num DESC LIMIT ?4";

/// Lists a user's sessions, the newest activity first.
pub(super) fn list(
    connection: &Connection,
    user: &UserId,
    filter: &SessionFilter,
) -> Result<Vec<SessionListing>, StoreError> {
    let mut select = connection.prepare_cached(SELECT)?;
    let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let id = filter.id.as_ref().map(Id::as_str);
    let agent = filter.agent.as_ref().map(Id::as_str);
    let rows = select.query_map(params![user.as_str(), id, agent, limit], listing)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn listing(row: &Row<'_>) -> rusqlite::Result<SessionListing> {
    let usage: Option<String> = row.get(10)?;
    Ok(SessionListing {
        id: get_id(row, 0)?,
        agent: get_id(row, 1)?,
        agent_name: row.get(2)?,
        title: row.get(3)?,
        head: get_seq(row, 4)?,
        running: row.get(5)?,
        queued: get_u64(row, 6)?,
        main: row.get(7)?,
        created_at: Timestamp::from_millis(row.get(8)?),
        updated_at: Timestamp::from_millis(row.get(9)?),
        usage: usage.and_then(|usage| serde_json::from_str(&usage).ok()).unwrap_or_default(),
        needs_you: row.get(11)?,
    })
}
