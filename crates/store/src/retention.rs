//! Retention: how long logs are kept, and how what is older goes.

use rusqlite::{Connection, OptionalExtension, params};
use thoughtwire_proto::{Seq, SessionId, Timestamp};

use crate::known::Touched;
use crate::log::{get_id, get_u64, to_i64};
use crate::{Commit, SessionNum, Store, StoreError, erasing};

const DAY_MS: i64 = 86_400_000;

/// How much of a log is kept, where that is limited.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Turns that ended so many days ago go.
    pub days: Option<u32>,
    /// Turns go while more than so many events stay.
    pub events: Option<u64>,
}

/// A log that is longer than it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlong {
    /// Its session.
    pub session: SessionId,
    /// Its session's number.
    pub num: SessionNum,
    /// The last event that may go.
    pub through: Seq,
}

impl Store {
    /// Says how much of a session's log is kept; where that says nothing, its agent's setting counts.
    pub fn set_retention(&self, session: SessionNum, keep: Retention) -> Commit<()> {
        self.writer.write(move |connection| {
            let changed = connection.execute(
                "UPDATE sessions SET keep_days = ?, keep_events = ? WHERE num = ?",
                params![keep.days, keep.events.map(to_i64), session.0],
            )?;
            if changed == 0 {
                Err(StoreError::Missing("session any more".to_owned()))
            } else {
                Ok(())
            }
        })
    }

    /// How much of a session's log is kept by its own setting.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn retention(&self, session: SessionNum) -> Result<Retention, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection
                .prepare_cached("SELECT keep_days, keep_events FROM sessions WHERE num = ?")?;
            let found = select
                .query_row([session.0], |row| {
                    Ok(Retention { days: row.get(0)?, events: row.get(1)? })
                })
                .optional()?;
            Ok(found.unwrap_or_default())
        })
    }

    /// The logs that are longer than they are to be, and those of which not everything that was to go has gone.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn overlong(&self, now: Timestamp) -> Result<Vec<Overlong>, StoreError> {
        self.readers.read_at_length(|connection| {
            let mut select = connection.prepare(
                "SELECT sessions.id, sessions.num, first, head,
                        coalesce(keep_days, spec ->> '$.keep_days'), coalesce(keep_events, spec ->> '$.keep_events')
                 FROM sessions JOIN agents ON agents.id = agent
                 WHERE keep_days IS NOT NULL OR keep_events IS NOT NULL OR first > 1
                    OR spec ->> '$.keep_days' IS NOT NULL OR spec ->> '$.keep_events' IS NOT NULL",
            )?;
            let mut rows = select.query([])?;
            let mut overlong = Vec::new();
            while let Some(row) = rows.next()? {
                let (num, first, head): (i64, _, _) = (row.get(1)?, get_u64(row, 2)?, get_u64(row, 3)?);
                let keep = Retention { days: row.get(4)?, events: row.get(5)? };
                let by_number = keep.events.map_or(0, |events| head.saturating_sub(events));
                let by_age = match keep.days {
                    Some(days) => old(connection, num, first, head, now.as_millis().saturating_sub(i64::from(days) * DAY_MS))?,
                    None => 0,
                };
                let through = by_number.max(by_age);
                if through >= first || has_remains(connection, num, first)? {
                    overlong.push(Overlong { session: get_id(row, 0)?, num: SessionNum(num), through: Seq(through) });
                }
            }
            Ok(overlong)
        })
    }

    /// The end of the last turn that has ended at a position or before.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn turn_end(&self, session: SessionNum, at_most: Seq) -> Result<Option<Seq>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT seq FROM events WHERE session = ? AND seq <= ? AND body ->> '$.kind' = 'turn_ended' ORDER BY seq DESC LIMIT 1",
            )?;
            Ok(select.query_row(params![session.0, to_i64(at_most.0)], |row| get_u64(row, 0)).optional()?.map(Seq))
        })
    }

    /// Has a log begin at a position from now on. What lies before goes with [`Store::forget_some`].
    pub fn begin_at(&self, session: SessionNum, first: Seq) -> Commit<()> {
        self.writer.write(move |connection| {
            connection.execute(
                "UPDATE sessions SET first = max(first, ?) WHERE num = ?",
                params![to_i64(first.0), session.0],
            )?;
            Ok(())
        })
    }

    /// Deletes some of what lies before a log's beginning, also from what searches find; true when there may be more.
    pub fn forget_some(&self, session: SessionNum) -> Commit<bool> {
        self.writer.write_known(Touched::Anybody, move |connection| {
            erasing::erase_before(connection, session)
        })
    }
}

/// The last of a log's events before an instant, going by the order of the log: a clock may have jumped.
fn old(
    connection: &Connection,
    num: i64,
    first: u64,
    head: u64,
    before: i64,
) -> Result<u64, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT seq FROM events WHERE session = ? AND seq >= ? AND at >= ? ORDER BY seq LIMIT 1",
    )?;
    let young =
        select.query_row(params![num, to_i64(first), before], |row| get_u64(row, 0)).optional()?;
    Ok(young.map_or(head, |seq| seq.saturating_sub(1)))
}

fn has_remains(connection: &Connection, num: i64, first: u64) -> Result<bool, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM events WHERE session = ? AND seq < ?)")?;
    Ok(select.query_row(params![num, to_i64(first)], |row| row.get(0))?)
}
