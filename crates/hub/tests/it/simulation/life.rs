//! A server that runs: its hub, the driver that commits for it, and who is connected.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures::FutureExt as _;
use thoughtwire_hub::{Clock, Hub};
use thoughtwire_store::{CommittedWrites, RamDisk, RamDriver};
use tokio::task::{AbortHandle, JoinHandle};

use super::caller::Caller;
use super::disk::{Disk, Moment};
use super::ledger::Ledger;
use super::reader::Reader;
use super::room::SimRoom;
use super::worker::SimWorker;

pub(crate) struct Life {
    pub(crate) hub: Hub,
    pub(crate) driver: RamDriver,
    /// A write that is on disk, of which nobody was told yet, and the disk before it.
    pub(crate) held: Option<(CommittedWrites, RamDisk)>,
    pub(crate) clock: Clock,
    ledger: Arc<Mutex<Ledger>>,
    pub(crate) readers: BTreeMap<usize, Reader>,
    pub(crate) callers: BTreeMap<usize, Caller>,
    /// The worker that is connected, and one whose name it has taken.
    pub(crate) worker: Option<SimWorker>,
    pub(crate) replaced: Option<SimWorker>,
    /// Commands that were asked, answered or not.
    pub(crate) asking: Vec<AbortHandle>,
    /// A retention job that runs.
    pub(crate) sweep: Option<JoinHandle<()>>,
}

impl Life {
    pub(crate) fn new(
        hub: Hub,
        clock: Clock,
        driver: RamDriver,
        ledger: Arc<Mutex<Ledger>>,
    ) -> Self {
        Self {
            hub,
            driver,
            clock,
            ledger,
            held: None,
            readers: BTreeMap::new(),
            callers: BTreeMap::new(),
            worker: None,
            replaced: None,
            asking: Vec::new(),
            sweep: None,
        }
    }

    /// Writes, and tells who waits. Tells whether there was anything to do.
    pub(crate) fn write(&mut self, most: usize) -> bool {
        let held = self.held.take().map(|(written, _)| written.tell()).is_some();
        let has_written = self.driver.commit(most).map(CommittedWrites::tell).is_some();
        if self.driver.waiting() == 0 {
            let mut ledger = self.ledger.lock().unwrap();
            let Ledger { texts, rooms, .. } = &mut *ledger;
            texts.disk_is_idle(|| {
                let there = rooms.iter().enumerate().filter(|(_, room)| !room.gone);
                let head = |(number, room): (usize, &SimRoom)| {
                    let stored = self.hub.store().directory().session(&room.session);
                    let stored = stored.now_or_never()?.ok()?;
                    Some((number, stored.map_or(0, |stored| stored.state.head().0)))
                };
                there.map(head).collect()
            });
        }
        has_written || held
    }

    /// Writes, and leaves everybody in the dark about it for a while.
    pub(crate) fn hold(&mut self, disk: &Disk, most: usize) {
        if self.held.is_none() {
            let before = disk.image();
            self.held = self.driver.commit(most).map(|written| (written, before));
        }
    }

    /// `kill -9`.
    pub(crate) fn crash(&mut self, disk: &mut Disk, dice: &mut Rng) -> Moment {
        if dice.u8(0..8) > 0 {
            // Nobody is told: the process is gone before it could.
            self.hold(disk, dice.usize(1..20));
        }
        match &self.held {
            Some((_, before)) => disk.crash_at_commit(before, dice),
            None => disk.crash(),
        }
    }
}

/// Virtual time passes when nobody has anything left to do.
pub(crate) async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
