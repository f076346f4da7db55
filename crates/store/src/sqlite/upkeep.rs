//! Upkeep in SQLite: retention of logs, erasing, and clocks.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use thoughtwire_proto::{Seq, SessionId, Timestamp, UserId};

use super::row::{get_id, get_u64, to_i64};
use super::summary::Invalidates;
use super::{Handle, clock, erasing};
use crate::{Commit, Overlong, Retention, StoreError, StoreRead, UpkeepStore};

const DAY_MS: i64 = 86_400_000;

/// [`UpkeepStore`] in SQLite.
pub(super) struct SqliteUpkeep(pub(super) Handle);

impl UpkeepStore for SqliteUpkeep {
    fn set_retention(&self, session: &SessionId, keep: Retention) -> Commit<()> {
        let session = session.clone();
        self.0.writer().write(move |connection| {
            let changed = connection.execute(
                "UPDATE sessions SET keep_days = ?, keep_events = ? WHERE id = ?",
                params![keep.days, keep.events.map(to_i64), session.as_str()],
            )?;
            if changed == 0 { Err(StoreError::missing_session(&session)) } else { Ok(()) }
        })
    }

    fn retention(&self, session: &SessionId) -> StoreRead<Retention> {
        let session = session.clone();
        self.0.read(move |connection| {
            let mut select = connection
                .prepare_cached("SELECT keep_days, keep_events FROM sessions WHERE id = ?")?;
            let found = select.query_row([session.as_str()], |row| {
                Ok(Retention { days: row.get(0)?, events: row.get(1)? })
            });
            Ok(found.optional()?.unwrap_or_default())
        })
    }

    fn overlong(&self, now: Timestamp) -> StoreRead<Vec<Overlong>> {
        self.0.read_unlimited(move |connection| overlong(connection, now))
    }

    fn idle(&self, now: Timestamp) -> StoreRead<Vec<(UserId, SessionId)>> {
        self.0.read_unlimited(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT user, id FROM sessions
                 WHERE keep_idle IS NOT NULL AND NOT running AND queued = 0
                   AND updated_at <= ? - keep_idle",
            )?;
            let mut rows = select.query([now.as_millis()])?;
            let mut idle = Vec::new();
            while let Some(row) = rows.next()? {
                idle.push((get_id(row, 0)?, get_id(row, 1)?));
            }
            Ok(idle)
        })
    }

    fn trim(&self, session: &SessionId, first: Seq) -> Commit<()> {
        let session = session.clone();
        self.0.writer().write(move |connection| {
            connection.execute(
                "UPDATE sessions SET first = max(first, ?) WHERE id = ?",
                params![to_i64(first.0), session.as_str()],
            )?;
            Ok(())
        })
    }

    fn erase_trimmed(&self, session: &SessionId) -> Commit<bool> {
        let session = session.clone();
        self.0.writer().write_memory(Invalidates::AllAgents, move |connection| {
            erasing::erase_trimmed(connection, &session)
        })
    }

    fn erase_deleted(&self) -> Commit<bool> {
        self.0.writer().write(erasing::erase_deleted)
    }

    fn clock(&self, name: &'static str) -> StoreRead<Option<Timestamp>> {
        self.0.read(move |connection| clock::read(connection, name))
    }

    fn set_clocks(&self, clocks: Vec<(&'static str, Timestamp)>) -> Commit<()> {
        self.0.writer().write_soon(move |connection| clock::set(connection, &clocks))
    }

    fn claim(&self, _: &'static str, _: Duration) -> Commit<bool> {
        Commit::done(true)
    }

    fn newest_record_at(&self) -> StoreRead<Option<Timestamp>> {
        self.0.read_unlimited(clock::newest_record)
    }
}

fn overlong(connection: &Connection, now: Timestamp) -> Result<Vec<Overlong>, StoreError> {
    let mut select = connection.prepare(
        "SELECT sessions.id, sessions.num, first, head, coalesce(keep_days, spec ->> '$.keep_days'),
                coalesce(keep_events, spec ->> '$.keep_events')
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
            Some(days) => {
                let before = now.as_millis().saturating_sub(i64::from(days) * DAY_MS);
                last_older(connection, num, first, head, before)?
            }
            None => 0,
        };
        let through = by_number.max(by_age);
        if through >= first || has_remains(connection, num, first)? {
            let session = get_id(row, 0)?;
            overlong.push(Overlong { session, through: Seq(through), is_elsewhere: false });
        }
    }
    Ok(overlong)
}

/// Position of the last event older than an instant. Goes by the order of the log, since a clock
/// may have jumped.
fn last_older(
    connection: &Connection,
    num: i64,
    first: u64,
    head: u64,
    before: i64,
) -> Result<u64, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT seq FROM events WHERE session = ? AND seq >= ? AND at >= ? ORDER BY seq LIMIT 1",
    )?;
    let young = select.query_row(params![num, to_i64(first), before], |row| get_u64(row, 0));
    Ok(young.optional()?.map_or(head, |seq| seq.saturating_sub(1)))
}

/// Whether records before a log's beginning are not erased yet.
fn has_remains(connection: &Connection, num: i64, first: u64) -> Result<bool, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM events WHERE session = ? AND seq < ?)")?;
    Ok(select.query_row(params![num, to_i64(first)], |row| row.get(0))?)
}
