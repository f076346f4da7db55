//! Pages of logs in SQLite.

use rusqlite::{Connection, params};
use thoughtwire_proto::{Record, Seq, SessionId};

use super::row::{RECORD, body, get_seq, record, row_of, to_i64};
use crate::{LogPage, StoreError};

/// Reads at most `limit` records behind a position, in order.
pub(super) fn after(
    connection: &Connection,
    session: &SessionId,
    after: Seq,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let select =
        format!("SELECT {RECORD} FROM events WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?");
    records(connection, &select, session, after, limit)
}

/// Reads the newest `limit` records before a position, in order.
pub(super) fn before(
    connection: &Connection,
    session: &SessionId,
    before: Seq,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let select = format!(
        "SELECT {RECORD} FROM events WHERE session = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
    );
    let mut records = records(connection, &select, session, before, limit)?;
    records.reverse();
    Ok(records)
}

fn records(
    connection: &Connection,
    select: &str,
    session: &SessionId,
    bound: Seq,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let Some(row) = row_of(connection, session)? else { return Ok(Vec::new()) };
    let mut select = connection.prepare_cached(select)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    select.query_and_then(params![row, to_i64(bound.0), limit], record)?.collect()
}

/// Reads the page that contains the record behind a position: see
/// [`LogStore::page`](crate::LogStore::page).
pub(super) fn page(
    connection: &Connection,
    session: &SessionId,
    after: Seq,
    limit: u64,
    bytes: usize,
) -> Result<LogPage, StoreError> {
    let empty = LogPage { records: Vec::new(), is_whole: false };
    let Some(row) = row_of(connection, session)? else { return Ok(empty) };
    let window = Seq(after.0 / limit * limit);
    let end = Seq(window.0.saturating_add(limit));
    let start = if after == window {
        window
    } else {
        page_start(connection, row, (window, end), after, bytes)?
    };
    let mut select = connection.prepare_cached(&format!(
        "SELECT {RECORD} FROM events WHERE session = ? AND seq > ? AND seq <= ? ORDER BY seq"
    ))?;
    let mut rows = select.query(params![row, to_i64(start.0), to_i64(end.0)])?;
    let (mut records, mut size) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let length = body(row)?.len();
        if size > 0 && size + length > bytes {
            return Ok(LogPage { is_whole: true, records });
        }
        size += length;
        records.push(record(row)?);
    }
    let is_whole = records.last().is_some_and(|last| last.seq == end);
    Ok(LogPage { is_whole, records })
}

/// Position before the page that contains the record behind `after`, within a window of a log.
fn page_start(
    connection: &Connection,
    row: i64,
    (window, end): (Seq, Seq),
    after: Seq,
    bytes: usize,
) -> Result<Seq, StoreError> {
    // The length alone is in the row's header: no text is read for it.
    let mut select = connection.prepare_cached(
        "SELECT seq, octet_length(body) FROM events
         WHERE session = ? AND seq > ? AND seq <= ? ORDER BY seq",
    )?;
    let mut rows = select.query(params![row, to_i64(window.0), to_i64(end.0)])?;
    let (mut start, mut last, mut size) = (window, window, 0);
    while let Some(row) = rows.next()? {
        let length: usize = row.get(1)?;
        if size > 0 && size + length > bytes {
            (start, size) = (last, 0);
        }
        (last, size) = (get_seq(row, 0)?, size + length);
        if last > after {
            break;
        }
    }
    Ok(start)
}
