//! Pages of logs in PostgreSQL.

use thoughtwire_proto::{Record, Seq, SessionId};
use tokio_postgres::Client;

use super::sql::{
    RECORD, Text, args, count_to_i64, first_row, get_count, get_i64, get_seq, record, rows, to_i64,
};
use crate::{LogPage, StoreError};

/// Reads at most `limit` records behind a position, in order.
pub(super) async fn after(
    sql: &Client,
    session: &SessionId,
    after: Seq,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let select = format!(
        "SELECT {RECORD} FROM events
         WHERE session = (SELECT num FROM sessions WHERE id = $1) AND seq > $2
         ORDER BY seq LIMIT $3"
    );
    records(sql, &select, session, after, limit).await
}

/// Reads the newest `limit` records before a position, in order.
pub(super) async fn before(
    sql: &Client,
    session: &SessionId,
    before: Seq,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let select = format!(
        "SELECT {RECORD} FROM events
         WHERE session = (SELECT num FROM sessions WHERE id = $1) AND seq < $2
         ORDER BY seq DESC LIMIT $3"
    );
    let mut records = records(sql, &select, session, before, limit).await?;
    records.reverse();
    Ok(records)
}

async fn records(
    sql: &Client,
    select: &str,
    session: &SessionId,
    bound: Seq,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let (bound, limit) = (to_i64(bound.0), count_to_i64(limit));
    let found = rows(sql, select, args![Text(session.as_str()), bound, limit]).await?;
    found.iter().map(record).collect()
}

/// Reads the page that contains the record behind a position: see
/// [`LogStore::page`](crate::LogStore::page).
pub(super) async fn page(
    sql: &Client,
    session: &SessionId,
    after: Seq,
    limit: u64,
    bytes: usize,
) -> Result<LogPage, StoreError> {
    let row =
        first_row(sql, "SELECT num FROM sessions WHERE id = $1", args![Text(session.as_str())])
            .await?;
    let Some(row) = row else {
        return Ok(LogPage { records: Vec::new(), is_whole: false });
    };
    let num = get_i64(&row, 0)?;
    let window = Seq(after.0 / limit * limit);
    let end = Seq(window.0.saturating_add(limit));
    let (start, through) = page_bounds(sql, num, (window, end), after, bytes).await?;
    let select = format!(
        "SELECT {RECORD} FROM events WHERE session = $1 AND seq > $2 AND seq <= $3 ORDER BY seq"
    );
    let found =
        rows(sql, &select, args![num, to_i64(start.0), to_i64(through.unwrap_or(end).0)]).await?;
    let records: Vec<Record> = found.iter().map(record).collect::<Result<_, _>>()?;
    let is_whole = through.is_some() || records.last().is_some_and(|last| last.seq == end);
    Ok(LogPage { records, is_whole })
}

/// Position before the page that contains the record behind `after`, within a window of a log, and
/// its last position where it is full of bytes.
async fn page_bounds(
    sql: &Client,
    num: i64,
    (window, end): (Seq, Seq),
    after: Seq,
    bytes: usize,
) -> Result<(Seq, Option<Seq>), StoreError> {
    let lengths = rows(
        sql,
        "SELECT seq, octet_length(body)::bigint FROM events
         WHERE session = $1 AND seq > $2 AND seq <= $3 ORDER BY seq",
        args![num, to_i64(window.0), to_i64(end.0)],
    )
    .await?;
    let (mut start, mut last, mut size) = (window, window, 0);
    for row in lengths {
        let length = get_count(&row, 1)?;
        if size > 0 && size + length > bytes {
            if last > after {
                return Ok((start, Some(last)));
            }
            (start, size) = (last, 0);
        }
        (last, size) = (get_seq(&row, 0)?, size + length);
    }
    Ok((start, None))
}
