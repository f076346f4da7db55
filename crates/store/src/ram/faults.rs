//! Injected faults.

use std::time::Duration;

use thoughtwire_proto::Record;

use crate::StoreError;

/// A part of the data that cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenTable {
    /// Records of logs.
    Records,
    /// Sessions.
    Sessions,
    /// Receipts.
    Receipts,
}

/// How writes fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFault {
    /// Writes that append a record at a multiple of the number fail. Other writes of the same
    /// transaction succeed.
    Records {
        /// The number.
        every: u64,
    },
    /// Transactions that append a record at a multiple of the number fail before their commit.
    Transactions {
        /// The number; 1 for all that append records.
        every: u64,
    },
    /// Writes with a receipt fail.
    Receipts,
    /// There is no room: nothing is saved.
    Full,
    /// Nothing is saved, and the callers are told that the outcome is unknown.
    UnknownUnsaved,
    /// Everything is saved, and the callers are told that the outcome is unknown.
    UnknownSaved,
}

/// The faults of a store.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) write: Option<WriteFault>,
    pub(super) broken: Option<BrokenTable>,
    pub(super) read_delay: Option<Duration>,
    /// Whether the disk cannot be reached.
    pub(super) is_away: bool,
}

/// Parts of the data that a write uses, for deciding whether a fault hits it.
#[derive(Debug, Default, Clone)]
pub(super) struct WriteUse {
    pub(super) tables: Vec<BrokenTable>,
    /// Positions of the appended records.
    pub(super) seqs: Vec<u64>,
}

impl WriteUse {
    /// A write that uses none of the parts that faults name.
    pub(super) fn nothing() -> Self {
        Self::default()
    }

    pub(super) fn of(tables: &[BrokenTable]) -> Self {
        Self { tables: tables.to_vec(), seqs: Vec::new() }
    }

    /// A write that appends records, with a receipt or without.
    pub(super) fn appending(records: &[Record], has_receipt: bool) -> Self {
        let mut tables = vec![BrokenTable::Records, BrokenTable::Sessions];
        tables.extend(has_receipt.then_some(BrokenTable::Receipts));
        Self { tables, seqs: records.iter().map(|record| record.seq.0).collect() }
    }

    fn hits(&self, every: u64) -> bool {
        self.seqs.iter().any(|seq| seq.checked_rem(every) == Some(0))
    }
}

impl Faults {
    /// Fails while the disk cannot be reached.
    pub(super) fn check_reach(&self) -> Result<(), StoreError> {
        if self.is_away { Err(StoreError::Away("an injected fault".to_owned())) } else { Ok(()) }
    }

    /// Fails where one of the tables is broken.
    pub(super) fn check_tables(&self, tables: &[BrokenTable]) -> Result<(), StoreError> {
        match self.broken {
            Some(broken) if tables.contains(&broken) => Err(injected()),
            Some(_) | None => Ok(()),
        }
    }

    /// The failure of a single write, if it fails.
    pub(super) fn check_write(&self, uses: &WriteUse) -> Result<(), StoreError> {
        self.check_tables(&uses.tables)?;
        let fails = match self.write {
            Some(WriteFault::Records { every }) => uses.hits(every),
            Some(WriteFault::Receipts) => uses.tables.contains(&BrokenTable::Receipts),
            Some(
                WriteFault::Transactions { .. }
                | WriteFault::Full
                | WriteFault::UnknownUnsaved
                | WriteFault::UnknownSaved,
            )
            | None => false,
        };
        if fails { Err(injected()) } else { Ok(()) }
    }

    /// The outcome of a transaction: whether it is saved, and what its callers are told.
    pub(super) fn commit<'a>(
        &self,
        mut writes: impl Iterator<Item = &'a WriteUse>,
    ) -> (bool, Result<(), StoreError>) {
        let unknown = || StoreError::Unknown("an injected fault".to_owned());
        match self.write {
            Some(WriteFault::Transactions { every }) if writes.any(|uses| uses.hits(every)) => {
                (false, Err(injected()))
            }
            Some(WriteFault::Full) => (false, Err(StoreError::Full)),
            Some(WriteFault::UnknownUnsaved) => (false, Err(unknown())),
            Some(WriteFault::UnknownSaved) => (true, Err(unknown())),
            Some(
                WriteFault::Transactions { .. } | WriteFault::Records { .. } | WriteFault::Receipts,
            )
            | None => (true, Ok(())),
        }
    }
}

fn injected() -> StoreError {
    StoreError::Failed("an injected fault".to_owned())
}
