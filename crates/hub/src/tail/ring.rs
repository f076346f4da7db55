//! The recent emissions of a session, and the text of its open items.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use thoughtwire_proto::{
    CallId, Delta, Emission, Event, Partial, Record, Seq, SessionId, TurnEvent, TurnId,
};
use tokio::time::Instant;

use super::TailEntry;

/// Bytes of emissions that a ring keeps. Enough for a burst between two wakes of a busy reader; a
/// reader that falls further behind reads the log.
const RING_BYTES: usize = 1 << 20;
/// Time for which a ring keeps emissions. A reader that has not read them by then reads the log,
/// and a thousand sessions that say a little now and then do not fill the memory.
const RING_KEEPS: Duration = Duration::from_secs(5);

/// The ring of recent entries, and the state that new readers are given.
#[derive(Default)]
pub(super) struct Ring {
    entries: VecDeque<Arc<TailEntry>>,
    /// The position of the first entry that is kept.
    base: u64,
    bytes: usize,
    /// The text so far of each open item.
    open: Vec<Partial>,
    /// Calls that have not returned, with their tool and turn; the newest last.
    calls: Vec<(CallId, String, TurnId)>,
    /// The reason why the tail was closed.
    pub(super) closed: Option<String>,
    /// A status that readers are told when they come, for as long as it is set.
    pub(super) standing: Option<String>,
}

/// The result of reading the ring at a position.
pub(crate) enum TailRead {
    /// Entries, and the position behind them.
    Entries(Vec<Arc<TailEntry>>, u64),
    /// The ring has moved on: the log has to be read.
    Behind,
    /// The tail was closed; the reason.
    Closed(String),
}

impl Ring {
    /// The position behind the last entry.
    pub(super) fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    pub(super) fn push(&mut self, entry: Arc<TailEntry>) {
        self.fold(&entry.emitted().emission);
        self.bytes += entry.weight();
        self.entries.push_back(entry);
    }

    /// Drops entries that are too many or too old, but never the last one.
    pub(super) fn trim(&mut self) {
        let now = Instant::now();
        let is_old = |entry: &Arc<TailEntry>| now.duration_since(entry.at()) > RING_KEEPS;
        while self.entries.len() > 1
            && (self.bytes > RING_BYTES || self.entries.front().is_some_and(is_old))
        {
            if let Some(old) = self.entries.pop_front() {
                self.bytes -= old.weight();
                self.base += 1;
            }
        }
    }

    /// Drops all entries up to the last record before a position.
    pub(super) fn forget(&mut self, first: Seq) {
        let gone = self
            .entries
            .iter()
            .rposition(|entry| entry.seq().is_some_and(|seq| seq < first))
            .map_or(0, |last| last + 1);
        let weight: usize = self.entries.drain(..gone).map(|entry| entry.weight()).sum();
        self.bytes -= weight;
        self.base += gone as u64;
    }

    /// At most `most` entries from a position on.
    pub(super) fn read(&self, position: u64, most: usize) -> TailRead {
        if position < self.base {
            return TailRead::Behind;
        }
        let skip = usize::try_from(position - self.base).unwrap_or(usize::MAX);
        let entries: Vec<_> = self.entries.iter().skip(skip).take(most).cloned().collect();
        match &self.closed {
            Some(reason) if entries.is_empty() => TailRead::Closed(reason.clone()),
            Some(_) | None => {
                let position = position + entries.len() as u64;
                TailRead::Entries(entries, position)
            }
        }
    }

    /// The entries of all records behind `after` up to `head`; `None` when they are not all kept.
    pub(super) fn records_up_to(&self, after: Seq, head: Seq) -> Option<Vec<Arc<TailEntry>>> {
        let mut entries = Vec::new();
        if after < head {
            let mut expected = after.next();
            for entry in &self.entries {
                match entry.seq() {
                    Some(seq) if seq == expected => {
                        entries.push(Arc::clone(entry));
                        expected = expected.next();
                    }
                    Some(seq) if seq > expected => return None,
                    Some(_) | None => {}
                }
            }
            if expected <= head {
                return None;
            }
        }
        Some(entries)
    }

    /// The records behind one position and before another; `None` when they are not all kept.
    pub(super) fn records_between(&self, after: Seq, before: Seq) -> Option<Vec<Record>> {
        let mut records = Vec::new();
        for entry in self.entries.iter().rev() {
            if let Emission::Record(record) = &entry.emitted().emission {
                if record.seq <= after {
                    break;
                }
                if record.seq < before {
                    records.push(record.clone());
                }
            }
        }
        records.reverse();
        (records.len() as u64 == before.0.saturating_sub(after.0 + 1)).then_some(records)
    }

    /// Entries for a reader that joins: the open items' text so far, and the standing status.
    pub(super) fn partials(&self, session: &SessionId) -> Vec<Arc<TailEntry>> {
        let partials = self.open.iter().cloned().map(Emission::Partial);
        let standing = self.standing.clone().map(|text| Emission::Status { turn: None, text });
        partials.chain(standing).map(|emission| TailEntry::new(session, emission)).collect()
    }

    /// The calls of a turn that have not returned, with their tools; the newest last.
    pub(super) fn open_calls(&self, turn: &TurnId) -> Vec<(CallId, String)> {
        self.calls
            .iter()
            .filter(|(_, _, of)| of == turn)
            .map(|(call, name, _)| (call.clone(), name.clone()))
            .collect()
    }

    /// Keeps `open` and `calls` in step with what was published.
    fn fold(&mut self, emission: &Emission) {
        match emission {
            Emission::Delta(delta) => self.extend(delta),
            Emission::Record(record) => match &record.event {
                Event::Turn(TurnEvent::Thought { item, .. } | TurnEvent::Message { item, .. }) => {
                    self.open.retain(|partial| partial.item != *item);
                }
                Event::Turn(TurnEvent::ToolCalled { call, name, .. }) => {
                    self.open.retain(|partial| partial.item.as_str() != call.as_str());
                    if let Some(turn) = &record.turn {
                        self.calls.push((call.clone(), name.clone(), turn.clone()));
                    }
                }
                Event::Turn(TurnEvent::ToolReturned { call, .. }) => {
                    self.calls.retain(|(open, _, _)| open != call);
                }
                // Items without an event were lost in the interruption.
                Event::Turn(TurnEvent::Resumed { .. }) => self.open.clear(),
                Event::Turn(TurnEvent::Ended { .. }) => {
                    self.open.clear();
                    self.calls.clear();
                }
                Event::Session(_)
                | Event::Input(_)
                | Event::Turn(
                    TurnEvent::Started { .. }
                    | TurnEvent::ToolRetried { .. }
                    | TurnEvent::ToolAwaited { .. }
                    | TurnEvent::ApprovalAsked { .. }
                    | TurnEvent::ApprovalSettled { .. }
                    | TurnEvent::Usage(_),
                )
                | Event::Other(_) => {}
            },
            // Comes from another node that has the session.
            Emission::Partial(partial) => {
                self.open.retain(|open| open.item != partial.item);
                self.open.push(partial.clone());
            }
            Emission::Status { .. } | Emission::Presence { .. } => {}
        }
    }

    fn extend(&mut self, delta: &Delta) {
        match self.open.iter_mut().find(|partial| partial.item == delta.item) {
            Some(partial) => {
                partial.text.push_str(&delta.text);
                partial.n = delta.n + 1;
            }
            None => self.open.push(Partial {
                turn: delta.turn.clone(),
                item: delta.item.clone(),
                n: delta.n + 1,
                kind: delta.kind,
                text: delta.text.clone(),
                continues: delta.continues.clone(),
            }),
        }
    }
}
