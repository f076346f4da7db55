//! Recall in PostgreSQL: what was said in all sessions of an agent.

use thoughtwire_proto::{AgentId, Seq, SessionId, Timestamp};
use tokio_postgres::{Client, Row};

use super::sql::{
    Text, args, count_to_i64, get_count, get_i64, get_id, get_seq, get_text, get_time, only_row,
    rows, to_i64,
};
use crate::{Page, Recalled, StoreError};

const COLUMNS: &str = "sessions.id, seq, said.at, role, said.text, said.id";

/// Lists the messages behind a number.
pub(super) async fn after(
    sql: &Client,
    agent: &AgentId,
    after: i64,
    limit: usize,
) -> Result<Vec<Recalled>, StoreError> {
    let select = format!(
        "SELECT {COLUMNS} FROM said JOIN sessions ON num = session
         WHERE said.agent = $1 AND said.id > $2 ORDER BY said.id LIMIT $3"
    );
    let (agent, limit) = (Text(agent.as_str()), count_to_i64(limit));
    rows(sql, &select, args![agent, after, limit]).await?.iter().map(found).collect()
}

/// Reads messages by their numbers.
pub(super) async fn by_id(
    sql: &Client,
    agent: &AgentId,
    ids: Vec<i64>,
) -> Result<Vec<Recalled>, StoreError> {
    let select = format!(
        "SELECT {COLUMNS} FROM said JOIN sessions ON num = session
         WHERE said.id = ANY ($1) AND said.agent = $2"
    );
    rows(sql, &select, args![ids, Text(agent.as_str())]).await?.iter().map(found).collect()
}

/// Lists what was said from one instant to another, both included, oldest first, without one
/// message.
pub(super) async fn by_date(
    sql: &Client,
    agent: &AgentId,
    (from, to): (Timestamp, Timestamp),
    without: Option<&(SessionId, Seq)>,
    (offset, limit): (usize, usize),
) -> Result<Page<Recalled>, StoreError> {
    const FROM: &str = "FROM said JOIN sessions ON num = session
                        WHERE said.agent = $1 AND said.at >= $2 AND said.at <= $3
                          AND NOT ($4 IS NOT NULL AND sessions.id = $4 AND seq = $5)";
    let agent = Text(agent.as_str());
    let (from, to) = (from.as_millis(), to.as_millis());
    let session = without.map(|(session, _)| Text(session.as_str()));
    let seq = without.map_or(0, |(_, seq)| to_i64(seq.0));
    let count = format!("SELECT count(*) {FROM}");
    let total = only_row(sql, &count, args![agent, from, to, session, seq]).await?;
    let select =
        format!("SELECT {COLUMNS} {FROM} ORDER BY said.at, session, seq LIMIT $6 OFFSET $7");
    let (limit, offset) = (count_to_i64(limit), count_to_i64(offset));
    let items = rows(sql, &select, args![agent, from, to, session, seq, limit, offset]).await?;
    Ok(Page {
        items: items.iter().map(found).collect::<Result<_, _>>()?,
        total: get_count(&total, 0)?,
    })
}

fn found(row: &Row) -> Result<Recalled, StoreError> {
    Ok(Recalled {
        id: get_i64(row, 5)?,
        session: get_id(row, 0)?,
        seq: get_seq(row, 1)?,
        at: get_time(row, 2)?,
        role: get_text(row, 3)?,
        text: get_text(row, 4)?,
    })
}
