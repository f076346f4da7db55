//! Upkeep in PostgreSQL: retention of logs, erasing, and clocks.

use std::time::Duration;

use thoughtwire_proto::{Seq, SessionId, Timestamp, UserId};
use tokio_postgres::{Client, Row};

use super::sql::{
    Text, args, execute, find_time, first_row, get_i64, get_id, get_time, get_u64, only_row, rows,
    to_i64,
};
use super::{PostgresHandle, erasing};
use crate::{Commit, Overlong, Retention, StoreError, StoreRead, UpkeepStore};

const DAY_MS: i64 = 86_400_000;

/// [`UpkeepStore`] in PostgreSQL.
pub(super) struct PostgresUpkeep(pub(super) PostgresHandle);

impl UpkeepStore for PostgresUpkeep {
    fn set_retention(&self, session: &SessionId, keep: Retention) -> Commit<()> {
        let session = session.clone();
        self.0.write(move |sql| {
            Box::pin(async move {
                let changed = execute(
                    sql,
                    "UPDATE sessions SET keep_days = $2, keep_events = $3 WHERE id = $1",
                    args![
                        Text(session.as_str()),
                        keep.days.map(i64::from),
                        keep.events.map(to_i64)
                    ],
                )
                .await?;
                let missing = || StoreError::missing_session(&session);
                if changed == 0 { Err(missing()) } else { Ok(()) }
            })
        })
    }

    fn retention(&self, session: &SessionId) -> StoreRead<Retention> {
        let session = session.clone();
        self.0.read(move |sql| {
            Box::pin(async move {
                let select = "SELECT keep_days, keep_events FROM sessions WHERE id = $1";
                let found = first_row(sql, select, args![Text(session.as_str())]).await?;
                found.map_or(Ok(Retention::default()), |row| retention(&row, 0))
            })
        })
    }

    fn overlong(&self, now: Timestamp) -> StoreRead<Vec<Overlong>> {
        let node = self.0.node();
        self.0.read_unlimited(move |sql| Box::pin(async move { overlong(sql, node, now).await }))
    }

    fn idle(&self, now: Timestamp) -> StoreRead<Vec<(UserId, SessionId)>> {
        self.0.read_unlimited(move |sql| {
            Box::pin(async move {
                let select = "SELECT owner, id FROM sessions
                     WHERE keep_idle IS NOT NULL AND NOT running AND queued = 0
                       AND updated_at <= $1 - keep_idle";
                let found = rows(sql, select, args![now.as_millis()]).await?;
                found.iter().map(|row| Ok((get_id(row, 0)?, get_id(row, 1)?))).collect()
            })
        })
    }

    fn trim(&self, session: &SessionId, first: Seq) -> Commit<()> {
        let session = session.clone();
        self.0.write(move |sql| {
            Box::pin(async move {
                let update = "UPDATE sessions SET first = greatest(first, $2) WHERE id = $1";
                execute(sql, update, args![Text(session.as_str()), to_i64(first.0)]).await?;
                Ok(())
            })
        })
    }

    fn erase_trimmed(&self, session: &SessionId) -> Commit<bool> {
        let session = session.clone();
        self.0
            .write(move |sql| Box::pin(async move { erasing::erase_trimmed(sql, &session).await }))
    }

    fn erase_deleted(&self) -> Commit<bool> {
        self.0.write(|sql| Box::pin(erasing::erase_deleted(sql)))
    }

    fn clock(&self, name: &'static str) -> StoreRead<Option<Timestamp>> {
        self.0.read(move |sql| {
            Box::pin(async move {
                let select = "SELECT millis FROM clock WHERE name = $1";
                let found = first_row(sql, select, args![Text(name)]).await?;
                found.map(|row| get_time(&row, 0)).transpose()
            })
        })
    }

    fn set_clocks(&self, clocks: Vec<(&'static str, Timestamp)>) -> Commit<()> {
        self.0.writer().write_soon(move |sql| {
            Box::pin(async move {
                for (name, at) in clocks {
                    execute(
                        sql,
                        "INSERT INTO clock VALUES ($1, $2)
                         ON CONFLICT (name) DO UPDATE SET millis = excluded.millis",
                        args![Text(name), at.as_millis()],
                    )
                    .await?;
                }
                Ok(())
            })
        })
    }

    fn claim(&self, work: &'static str, every: Duration) -> Commit<bool> {
        let (node, seconds) = (self.0.node(), to_i64(every.as_secs()));
        self.0.write(move |sql| {
            Box::pin(async move {
                let claimed = first_row(
                    sql,
                    "INSERT INTO claims (work, node, until)
                     VALUES ($1, $2, clock_timestamp() + $3 * interval '1 second')
                     ON CONFLICT (work) DO UPDATE SET node = excluded.node, until = excluded.until
                     WHERE claims.until <= clock_timestamp() OR claims.node = excluded.node
                        OR claims.node NOT IN (SELECT incarnation FROM nodes WHERE state = 'live')
                     RETURNING 1",
                    args![Text(work), node, seconds],
                )
                .await?;
                Ok(claimed.is_some())
            })
        })
    }

    fn newest_record_at(&self) -> StoreRead<Option<Timestamp>> {
        self.0.read_unlimited(|sql| {
            Box::pin(async move {
                let newest = only_row(sql, "SELECT max(updated_at) FROM sessions", args![]).await?;
                find_time(&newest, 0)
            })
        })
    }
}

fn retention(row: &Row, at: usize) -> Result<Retention, StoreError> {
    let days: Option<i64> = row.try_get(at)?;
    let events: Option<i64> = row.try_get(at + 1)?;
    Ok(Retention {
        days: days.and_then(|days| u32::try_from(days).ok()),
        events: events.and_then(|events| u64::try_from(events).ok()),
    })
}

async fn overlong(sql: &Client, node: i64, now: Timestamp) -> Result<Vec<Overlong>, StoreError> {
    let found = rows(
        sql,
        "SELECT * FROM (
            SELECT sessions.id, sessions.num, first, head,
                   coalesce(keep_days, (spec::json ->> 'keep_days')::bigint) AS days,
                   coalesce(keep_events, (spec::json ->> 'keep_events')::bigint) AS events,
                   sessions.node <> $1 AND EXISTS (
                       SELECT FROM nodes WHERE incarnation = sessions.node AND state = 'live'
                   ) AS is_elsewhere
            FROM sessions JOIN agents ON agents.id = agent
         ) AS kept WHERE days IS NOT NULL OR events IS NOT NULL OR first > 1",
        args![node],
    )
    .await?;
    let mut overlong = Vec::new();
    for row in found {
        let (num, first, head) = (get_i64(&row, 1)?, get_u64(&row, 2)?, get_u64(&row, 3)?);
        let keep = retention(&row, 4)?;
        let by_number = keep.events.map_or(0, |events| head.saturating_sub(events));
        let by_age = match keep.days {
            Some(days) => {
                let before = now.as_millis().saturating_sub(i64::from(days) * DAY_MS);
                last_older(sql, num, (first, head), before).await?
            }
            None => 0,
        };
        let through = by_number.max(by_age);
        if through >= first || has_remains(sql, num, first).await? {
            let is_elsewhere = row.try_get::<_, Option<bool>>(6)?.unwrap_or(false);
            overlong.push(Overlong {
                session: get_id(&row, 0)?,
                through: Seq(through),
                is_elsewhere,
            });
        }
    }
    Ok(overlong)
}

/// Position of the last event older than an instant. Goes by the order of the log, since a clock
/// may have jumped.
async fn last_older(
    sql: &Client,
    num: i64,
    (first, head): (u64, u64),
    before: i64,
) -> Result<u64, StoreError> {
    let young = first_row(
        sql,
        "SELECT seq FROM events WHERE session = $1 AND seq >= $2 AND at >= $3
         ORDER BY seq LIMIT 1",
        args![num, to_i64(first), before],
    )
    .await?;
    let young = young.map(|row| get_u64(&row, 0)).transpose()?;
    Ok(young.map_or(head, |seq| seq.saturating_sub(1)))
}

/// Whether records before a log's beginning are not erased yet.
async fn has_remains(sql: &Client, num: i64, first: u64) -> Result<bool, StoreError> {
    let select = "SELECT 1 FROM events WHERE session = $1 AND seq < $2 LIMIT 1";
    Ok(first_row(sql, select, args![num, to_i64(first)]).await?.is_some())
}
