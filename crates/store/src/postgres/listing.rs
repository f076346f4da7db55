//! Lists of sessions in PostgreSQL.

use thoughtwire_proto::{Id, SessionListing, State, UserId};
use tokio_postgres::{Client, Row};

use super::sql::{
    Text, args, count_to_i64, find_text, get_id, get_json, get_seq, get_text, get_time, get_u64,
    rows,
};
use crate::{SessionFilter, StoreError};

const SELECT: &str = "
    SELECT sessions.id, agent, agents.name, title, head, running, queued,
           sessions.id = agents.main_session, sessions.created_at, updated_at, state
    FROM sessions JOIN agents ON agents.id = agent
    WHERE sessions.owner = $1 AND ($2 IS NULL OR sessions.id = $2) AND ($3 IS NULL OR agent = $3)
    ORDER BY updated_at DESC, sessions.num DESC LIMIT $4";

/// Lists a user's sessions, the newest activity first.
pub(super) async fn list(
    sql: &Client,
    user: &UserId,
    filter: &SessionFilter,
) -> Result<Vec<SessionListing>, StoreError> {
    let id = filter.id.as_ref().map(Id::as_str).map(Text);
    let agent = filter.agent.as_ref().map(Id::as_str).map(Text);
    let limit = filter.limit.map(count_to_i64);
    let found = rows(sql, SELECT, args![Text(user.as_str()), id, agent, limit]).await?;
    found.iter().map(listing).collect()
}

fn listing(row: &Row) -> Result<SessionListing, StoreError> {
    let state: State = get_json(row, 10)?;
    let waits =
        state.turn().is_some_and(|turn| turn.calls.iter().any(|call| call.approval.is_some()));
    Ok(SessionListing {
        id: get_id(row, 0)?,
        agent: get_id(row, 1)?,
        agent_name: get_text(row, 2)?,
        title: find_text(row, 3)?,
        head: get_seq(row, 4)?,
        running: row.try_get(5)?,
        queued: get_u64(row, 6)?,
        main: row.try_get(7)?,
        created_at: get_time(row, 8)?,
        updated_at: get_time(row, 9)?,
        usage: state.usage(),
        needs_you: waits,
    })
}
