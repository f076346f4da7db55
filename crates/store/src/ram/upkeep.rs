//! Upkeep in memory. What is deleted is gone at once, so that erasing it finds nothing.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_proto::{Seq, SessionId, Timestamp, UserId};

use super::RamHandle;
use super::faults::{BrokenTable, WriteUse};
use super::tables::{SessionRow, Tables};
use crate::logs::returned_call;
use crate::{Commit, Overlong, Retention, StoreError, StoreRead, UpkeepStore};

const DAY_MS: i64 = 86_400_000;

/// [`UpkeepStore`] in memory.
pub(super) struct RamUpkeep(pub(super) RamHandle);

impl UpkeepStore for RamUpkeep {
    fn set_retention(&self, session: &SessionId, keep: Retention) -> Commit<()> {
        let session = session.clone();
        self.0.write(WriteUse::of(&[BrokenTable::Sessions]), move |tables| {
            tables.session_mut(&session)?.keep = keep;
            Ok(())
        })
    }

    fn retention(&self, session: &SessionId) -> StoreRead<Retention> {
        let session = session.clone();
        self.0.read(&[BrokenTable::Sessions], move |tables| {
            Ok(tables.session(&session).map(|row| row.keep).unwrap_or_default())
        })
    }

    fn overlong(&self, now: Timestamp) -> StoreRead<Vec<Overlong>> {
        let own = self.0.node();
        self.0.read(&[BrokenTable::Records, BrokenTable::Sessions], move |tables| {
            let rows = tables.sessions.values();
            Ok(rows.filter_map(|row| overlong(tables, row, own, now)).collect())
        })
    }

    fn idle(&self, now: Timestamp) -> StoreRead<Vec<(UserId, SessionId)>> {
        self.0.read(&[BrokenTable::Sessions], move |tables| {
            let is_idle = |row: &&Arc<SessionRow>| {
                let has_work = row.state.turn().is_some() || !row.state.queue().is_empty();
                let is_due = |keep| row.updated_at.as_millis() <= now.as_millis() - keep;
                !has_work && row.keep_idle.is_some_and(is_due)
            };
            let rows = tables.sessions.values().filter(is_idle);
            Ok(rows.map(|row| (row.user.clone(), row.id.clone())).collect())
        })
    }

    fn trim(&self, session: &SessionId, first: Seq) -> Commit<()> {
        let session = session.clone();
        self.0.write(WriteUse::of(&[BrokenTable::Sessions]), move |tables| {
            if let Ok(row) = tables.session_mut(&session) {
                row.first = row.first.max(first);
            }
            Ok(())
        })
    }

    fn erase_trimmed(&self, session: &SessionId) -> Commit<bool> {
        let session = session.clone();
        let uses = WriteUse::of(&[BrokenTable::Records, BrokenTable::Sessions]);
        self.0.write(uses, move |tables| {
            let Ok(row) = tables.session_mut(&session) else { return Ok(false) };
            let first = row.first;
            let is_gone = |seq: Seq| seq < first;
            for (_, record) in row.records.iter().filter(|(_, record)| is_gone(record.seq)) {
                if let Some(call) = returned_call(&record.event) {
                    row.outputs.remove(call);
                }
            }
            row.records.retain(|(_, record)| !is_gone(record.seq));
            row.provider_replies.retain(|seq, _| !is_gone(*seq));
            tables.erased += 1;
            Ok(false)
        })
    }

    fn erase_deleted(&self) -> Commit<bool> {
        self.0.write(WriteUse::nothing(), |_| Ok(false))
    }

    fn clock(&self, name: &'static str) -> StoreRead<Option<Timestamp>> {
        self.0.read(&[], move |tables| Ok(tables.clocks.get(name).copied()))
    }

    fn set_clocks(&self, clocks: Vec<(&'static str, Timestamp)>) -> Commit<()> {
        self.0.write(WriteUse::nothing(), move |tables| {
            tables.clocks.extend(clocks);
            Ok::<_, StoreError>(())
        })
    }

    fn claim(&self, work: &'static str, every: Duration) -> Commit<bool> {
        self.0.write(WriteUse::nothing(), move |tables| Ok(claim(tables, work, every)))
    }

    fn newest_record_at(&self) -> StoreRead<Option<Timestamp>> {
        self.0.read(&[BrokenTable::Sessions], |tables| {
            Ok(tables.sessions.values().map(|row| row.updated_at).max())
        })
    }
}

/// Claims regular work for the node that writes, unless another one has it.
fn claim(tables: &mut Tables, work: &'static str, every: Duration) -> bool {
    let Some(own) = tables.writer else { return true };
    let is_free = tables.claims.get(work).is_none_or(|(node, until)| {
        *until <= tables.time || *node == own || !tables.is_live(*node)
    });
    if is_free {
        tables.claims.insert(work, (own, tables.time + every));
    }
    is_free
}

fn overlong(
    tables: &Tables,
    row: &SessionRow,
    own: Option<u64>,
    now: Timestamp,
) -> Option<Overlong> {
    let spec = &tables.agent(&row.agent)?.profile.spec;
    let days = row.keep.days.or(spec.settings.keep_days);
    let events = row.keep.events.or(spec.settings.keep_events);
    let head = row.state.head().0;
    let by_number = events.map_or(0, |events| head.saturating_sub(events));
    let by_age = days.map_or(0, |days| {
        let before = now.as_millis().saturating_sub(i64::from(days) * DAY_MS);
        // By the order of the log, since a clock may have jumped.
        let kept = row.records.iter().map(|(_, record)| record);
        let young = kept
            .filter(|record| record.seq >= row.first)
            .find(|record| record.at.as_millis() >= before);
        young.map_or(head, |young| young.seq.0.saturating_sub(1))
    });
    let through = Seq(by_number.max(by_age));
    let has_remains = row.records.first().is_some_and(|(_, record)| record.seq < row.first);
    let session = row.id.clone();
    let is_overlong = through >= row.first || has_remains;
    let is_elsewhere = row.node.is_some_and(|node| Some(node) != own && tables.is_live(node));
    is_overlong.then_some(Overlong { session, through, is_elsewhere })
}
