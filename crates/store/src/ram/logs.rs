//! Logs in memory.

use std::sync::Arc;

use thoughtwire_proto::{
    CallId, CommandId, Event, Record, Seq, SessionId, Timestamp, TurnEvent, UserId,
};

use super::RamHandle;
use super::faults::{BrokenTable, WriteUse};
use super::tables::{SessionRow, Tables};
use crate::logs::returned_call;
use crate::{
    Batch, Commit, LogPage, LogStore, OpenItem, Receipt, StoreError, StoreRead, StoredSession,
    recovery,
};

/// Tables that the recovery of a session uses.
const RECOVERED: [BrokenTable; 2] = [BrokenTable::Records, BrokenTable::Sessions];

/// [`LogStore`] in memory.
pub(super) struct RamLogs(pub(super) RamHandle);

impl RamLogs {
    /// Reads something of a session's log; the default where there is no such session.
    fn of_session<T: Default + Send + 'static>(
        &self,
        session: &SessionId,
        read: impl FnOnce(&SessionRow) -> T + Send + 'static,
    ) -> StoreRead<T> {
        let session = session.clone();
        self.0.read(&[BrokenTable::Records, BrokenTable::Sessions], move |tables| {
            Ok(tables.session(&session).map(read).unwrap_or_default())
        })
    }
}

impl LogStore for RamLogs {
    fn append(&self, batch: Batch) -> Commit<()> {
        let uses = WriteUse::appending(batch.records(), batch.extras().receipt.is_some());
        self.0.write(uses, move |tables| tables.append(&batch))
    }

    fn checkpoint(&self, session: &SessionId, item: OpenItem) -> Commit<()> {
        let session = session.clone();
        self.0.write(WriteUse::of(&[BrokenTable::Sessions]), move |tables| {
            let writer = tables.writer;
            if let Ok(row) = tables.session_mut(&session)
                && (row.node.is_none() || row.node == writer)
            {
                row.open_items.insert(item.item.clone(), item);
            }
            Ok(())
        })
    }

    fn load(&self, session: &SessionId, now: Timestamp) -> StoreRead<Option<StoredSession>> {
        let (handle, id) = (self.0.clone(), session.clone());
        if self.0.node().is_some() {
            let (uses, database) = (WriteUse::of(&RECOVERED), Arc::clone(&handle.0));
            return Box::pin(handle.write(uses, move |tables| {
                let taken_from = match &database.node {
                    Some(node) => node.take(tables, &id)?,
                    None => None,
                };
                let is_open = tables.session(&id).is_some_and(|row| row.state.turn().is_some());
                let found = if is_open { recover(tables, &id, now)? } else { tables.stored(&id) };
                Ok(found.map(|stored| StoredSession { taken_from, ..stored }))
            }));
        }
        Box::pin(async move {
            let wanted = id.clone();
            let read = handle
                .read(&[BrokenTable::Sessions], move |tables| Ok(tables.stored(&wanted)))
                .await?;
            match read {
                Some(stored) if stored.state.turn().is_some() => {
                    let uses = WriteUse::of(&RECOVERED);
                    handle.write(uses, move |tables| recover(tables, &id, now)).await
                }
                stored => Ok(stored),
            }
        })
    }

    fn sessions_with_work(&self) -> StoreRead<Vec<SessionId>> {
        self.0.read(&[BrokenTable::Sessions], |tables| {
            let has_work = |state: &thoughtwire_proto::State| {
                state.turn().is_some() || !state.queue().is_empty()
            };
            let rows = tables.sessions.values().filter(|row| has_work(&row.state));
            Ok(rows.map(|row| row.id.clone()).collect())
        })
    }

    fn orphans(&self, limit: usize) -> StoreRead<Vec<SessionId>> {
        let database = Arc::clone(&self.0.0);
        Box::pin(self.0.write(WriteUse::of(&[BrokenTable::Sessions]), move |tables| {
            let node = database.node.as_ref();
            Ok(node.map(|node| node.orphans(tables, limit)).unwrap_or_default())
        }))
    }

    fn records_after(
        &self,
        session: &SessionId,
        after: Seq,
        limit: usize,
    ) -> StoreRead<Vec<Record>> {
        self.of_session(session, move |row| {
            let records = row.records.iter().map(|(_, record)| record);
            records.filter(|record| record.seq > after).take(limit).map(owned).collect()
        })
    }

    fn records_before(
        &self,
        session: &SessionId,
        before: Seq,
        limit: usize,
    ) -> StoreRead<Vec<Record>> {
        self.of_session(session, move |row| {
            let newest = row.records.iter().rev().map(|(_, record)| record);
            let mut records: Vec<_> =
                newest.filter(|record| record.seq < before).take(limit).map(owned).collect();
            records.reverse();
            records
        })
    }

    fn page(
        &self,
        session: &SessionId,
        after: Seq,
        limit: u64,
        bytes: usize,
    ) -> StoreRead<LogPage> {
        let session = session.clone();
        self.0.read(&[BrokenTable::Records, BrokenTable::Sessions], move |tables| {
            match tables.session(&session) {
                Some(row) => page(row, after, limit, bytes),
                None => Ok(LogPage { records: Vec::new(), is_whole: false }),
            }
        })
    }

    fn tool_output(&self, session: &SessionId, call: &CallId) -> StoreRead<Option<String>> {
        let call = call.clone();
        self.of_session(session, move |row| {
            let whole = row.outputs.get(&call).cloned();
            whole.or_else(|| row.records.iter().find_map(|(_, record)| returned(record, &call)))
        })
    }

    fn provider_replies(
        &self,
        session: &SessionId,
        after: Seq,
        through: Seq,
    ) -> StoreRead<Vec<(Seq, String)>> {
        self.of_session(session, move |row| {
            let replies = row.provider_replies.iter();
            replies
                .filter(|(seq, _)| **seq > after && **seq <= through)
                .map(|(seq, reply)| (*seq, reply.clone()))
                .collect()
        })
    }

    fn receipt(
        &self,
        user: &UserId,
        session: &SessionId,
        id: &CommandId,
    ) -> StoreRead<Option<Receipt>> {
        let (key, session) = ((user.clone(), id.clone()), session.clone());
        self.0.read(&[BrokenTable::Receipts, BrokenTable::Sessions], move |tables| {
            Ok(tables.session(&session).and_then(|row| row.receipts.get(&key).cloned()))
        })
    }

    fn receipt_ids(
        &self,
        user: &UserId,
        session: &SessionId,
        most: usize,
    ) -> StoreRead<Option<Vec<String>>> {
        let (user, session) = (user.clone(), session.clone());
        self.0.read(&[BrokenTable::Receipts, BrokenTable::Sessions], move |tables| {
            let row = tables.session(&session);
            let keys = row.into_iter().flat_map(|row| row.receipts.keys());
            let ids: Vec<String> =
                keys.filter(|(owner, _)| *owner == user).map(|(_, id)| id.to_string()).collect();
            Ok((ids.len() <= most).then_some(ids))
        })
    }

    fn last_turn_end(&self, session: &SessionId, at_most: Seq) -> StoreRead<Option<Seq>> {
        self.of_session(session, move |row| {
            let ends = row.records.iter().rev().map(|(_, record)| record);
            ends.filter(|record| matches!(record.event, Event::Turn(TurnEvent::Ended { .. })))
                .map(|record| record.seq)
                .find(|seq| *seq <= at_most)
        })
    }
}

fn owned(record: &Arc<Record>) -> Record {
    Record::clone(record)
}

/// The text with which a call returned, if the record says so.
fn returned(record: &Record, call: &CallId) -> Option<String> {
    match &record.event {
        Event::Turn(TurnEvent::ToolReturned { text, .. })
            if returned_call(&record.event) == Some(call) =>
        {
            Some(text.clone())
        }
        Event::Session(_) | Event::Input(_) | Event::Turn(_) | Event::Other(_) => None,
    }
}

fn recover(
    tables: &mut Tables,
    id: &SessionId,
    now: Timestamp,
) -> Result<Option<StoredSession>, StoreError> {
    let Ok(row) = tables.session_mut(id) else { return Ok(None) };
    let open = std::mem::take(&mut row.open_items).into_values();
    let turn = row.state.turn().map(|turn| turn.id.clone());
    let open = open.filter(|item| Some(&item.turn) == turn.as_ref()).collect();
    let after = row.state.head();
    let (records, state) = recovery::recover(&row.state, open, now)?;
    tables.append(&Batch::new(id.clone(), after, records, state)?)?;
    Ok(tables.stored(id))
}

/// The page with the record behind a position: see [`LogStore::page`].
fn page(row: &SessionRow, after: Seq, limit: u64, bytes: usize) -> Result<LogPage, StoreError> {
    let window = after.0 / limit * limit;
    let end = window.saturating_add(limit);
    let (mut records, mut size): (Vec<Record>, usize) = (Vec::new(), 0);
    let in_window = row.records.iter().map(|(_, record)| record);
    for record in in_window.filter(|record| record.seq.0 > window && record.seq.0 <= end) {
        let length = serde_json::to_string(&record.event)?.len();
        if size > 0 && size + length > bytes {
            if records.last().is_some_and(|last| last.seq > after) {
                return Ok(LogPage { records, is_whole: true });
            }
            records.clear();
            size = 0;
        }
        size += length;
        records.push(owned(record));
    }
    let is_whole = records.last().is_some_and(|last| last.seq.0 == end);
    Ok(LogPage { records, is_whole })
}
