//! The data: as a crash leaves it, and with faults in it.

use std::time::Duration;

use fastrand::Rng;
use thoughtwire_proto::Timestamp;
use thoughtwire_store::{BrokenTable, RamDisk, RamDriver, Store, WriteFault};

/// A disk, and the ones that follow it after each crash.
pub(crate) struct Disk {
    disk: RamDisk,
    broken: bool,
    /// Writes fail.
    failing: bool,
}

/// At which moment of a write the crash came. A write that is cut inside is the SQLite store's own
/// test: it is there whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Nothing was being written.
    Between,
    /// A write was due, and nothing was written.
    Before,
    /// All of it was, and nobody had been told.
    After,
}

impl Disk {
    pub(crate) fn new(disk: &RamDisk) -> Self {
        Self { disk: disk.copy(), broken: false, failing: false }
    }

    pub(crate) fn open(&self, now: Timestamp) -> (Store, RamDriver) {
        self.disk.open_driven(now)
    }

    /// The same disk, for nodes.
    pub(crate) fn shared(&self) -> RamDisk {
        self.disk.clone()
    }

    pub(crate) fn image(&self) -> RamDisk {
        self.disk.copy()
    }

    /// `kill -9`: what is committed now is all there is from here on.
    pub(crate) fn crash(&mut self) -> Moment {
        self.disk = self.disk.copy();
        Moment::Between
    }

    /// `kill -9` before or after the commit between an earlier image and now.
    pub(crate) fn crash_at_commit(&mut self, before: &RamDisk, dice: &mut Rng) -> Moment {
        let (disk, moment) = match dice.u8(0..5) {
            0 | 1 => (before, Moment::Before),
            _ => (&self.disk, Moment::After),
        };
        self.disk = disk.copy();
        moment
    }

    /// Lets some writes, or all that concerns some table, fail from now on.
    pub(crate) fn break_something(&mut self, driver: &RamDriver, dice: &mut Rng) -> &'static str {
        self.heal(driver);
        (self.broken, self.failing) = (true, true);
        let every = u64::from(dice.u32(2..5));
        let write = |fault| driver.set_write_fault(Some(fault));
        let table = |table| driver.set_broken(Some(table));
        match dice.u8(0..11) {
            0 => {
                write(WriteFault::Records { every });
                "some events fail"
            }
            1 => {
                write(WriteFault::Transactions { every });
                "some transactions fail"
            }
            2 => {
                write(WriteFault::Transactions { every: 1 });
                "every transaction with events fails"
            }
            3 => {
                write(WriteFault::Receipts);
                "receipts fail"
            }
            4 => {
                table(BrokenTable::Records);
                "the log cannot be used"
            }
            5 => {
                table(BrokenTable::Sessions);
                "sessions cannot be used"
            }
            6 => {
                table(BrokenTable::Receipts);
                "receipts cannot be used"
            }
            7 => {
                write(WriteFault::Full);
                "the disk is full"
            }
            8 => {
                write(WriteFault::UnknownUnsaved);
                "nothing is saved, and nobody knows"
            }
            9 => {
                write(WriteFault::UnknownSaved);
                "everything is saved, and nobody knows"
            }
            _ => {
                self.failing = false;
                driver.set_read_delay(Some(Duration::from_millis(dice.u64(1..50))));
                "reads are slow"
            }
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether some or all writes fail.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing
    }

    pub(crate) fn heal(&mut self, driver: &RamDriver) {
        (self.broken, self.failing) = (false, false);
        driver.set_write_fault(None);
        driver.set_broken(None);
        driver.set_read_delay(None);
    }
}
