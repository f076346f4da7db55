//! What is on a line and not proven to be read, as the server's own `proof.rs` has it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use thoughtwire_hub::Hub;
use thoughtwire_proto::{Event, Seq, SessionId, Timestamp};
use thoughtwire_store::Proven;
use tokio::time::Instant;

use super::ledger::Ledger;

/// How often frames are followed by a ping.
const PROVE_EVERY: Duration = Duration::from_secs(1);

type Cursors = Vec<(SessionId, Seq)>;

#[derive(Default)]
pub(crate) struct Proof {
    serial: u64,
    waiting: Vec<(u64, Cursors)>,
    due: Option<Instant>,
    last: Option<Instant>,
}

impl Proof {
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// An event was written: proof of it is wanted, at the end of a turn at once.
    pub(crate) fn wants(&mut self, event: &Event) {
        let now = Instant::now();
        let is_end = matches!(event, Event::TurnEnded { .. });
        let due = if is_end { now } else { self.last.map_or(now, |last| (last + PROVE_EVERY).max(now)) };
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    /// The serial of a ping that, answered, proves these cursors.
    pub(crate) fn ask(&mut self, cursors: Cursors) -> u64 {
        (self.due, self.last) = (None, Some(Instant::now()));
        self.serial += 1;
        self.waiting.push((self.serial, cursors));
        self.serial
    }

    pub(crate) fn proven(&mut self, serial: u64) -> Cursors {
        self.waiting.extract_if(.., |(waiting, _)| *waiting <= serial).flat_map(|(_, cursors)| cursors).collect()
    }
}

/// Keeps a proof, and notes that it is kept.
pub(crate) async fn keep(hub: Hub, ledger: Arc<Mutex<Ledger>>, whose: (usize, u32), rows: Vec<Proven>, closed_at: Option<Timestamp>) {
    if rows.is_empty() {
        return;
    }
    hub.prove(rows.clone(), closed_at).await;
    ledger.lock().unwrap().proved(whose, &rows);
}
