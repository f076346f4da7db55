//! A batch: records for the end of a session's log, with everything that is saved with them.

use thoughtwire_proto::{
    AgentId, CallId, CommandId, ItemId, Record, Seq, SessionId, State, UserId,
};

use crate::{Block, StoreError};

/// Records for the end of a session's log, saved together or not at all.
///
/// Invariant: the records are numbered without a gap from the position behind [`Batch::after`],
/// and [`Batch::state`] is the state at the last of them. A node's fence will be checked here, too.
/// Test: `batch::tests`.
#[derive(Debug, Clone)]
pub struct Batch {
    session: SessionId,
    after: Seq,
    records: Vec<Record>,
    state: State,
    extras: BatchExtras,
}

/// Everything that is saved together with a batch's records.
#[derive(Debug, Default, Clone)]
pub struct BatchExtras {
    /// The receipt of the command that caused the records.
    pub receipt: Option<Receipt>,
    /// A memory block that changes with them.
    pub block: Option<BlockEdit>,
    /// The whole output of a call, where its event has only a part.
    pub output: Option<(CallId, String)>,
    /// Data that the model's provider wants back with the calls that the records begin with, as
    /// JSON. Only the agent reads it.
    pub provider_reply: Option<String>,
    /// Items whose checkpoints are deleted.
    pub closed_items: Vec<ItemId>,
}

/// Why records and a state make no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A record is not the one behind its predecessor.
    #[error("the batch has record {found} where {expected} is next; number the records in order")]
    OutOfOrder {
        /// The position that was due.
        expected: Seq,
        /// The record's position.
        found: Seq,
    },
    /// The state is not the one at the last record.
    #[error("the batch ends at {last}, but its state is the one at {head}; fold the records first")]
    StaleState {
        /// The position of the last record, or the batch's start if it has none.
        last: Seq,
        /// The state's position.
        head: Seq,
    },
}

impl From<BatchError> for StoreError {
    fn from(error: BatchError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl Batch {
    /// Makes a batch of the records behind `after` and the state at the last of them. A batch
    /// without records saves only its extras.
    ///
    /// # Errors
    /// When positions and state do not agree.
    pub fn new(
        session: SessionId,
        after: Seq,
        records: Vec<Record>,
        state: State,
    ) -> Result<Self, BatchError> {
        let mut last = after;
        for record in &records {
            let expected = last.next();
            if record.seq != expected {
                return Err(BatchError::OutOfOrder { expected, found: record.seq });
            }
            last = expected;
        }
        if state.head() != last {
            return Err(BatchError::StaleState { last, head: state.head() });
        }
        Ok(Self { session, after, records, state, extras: BatchExtras::default() })
    }

    /// Sets everything that is saved together with the records.
    #[must_use]
    pub fn with(self, extras: BatchExtras) -> Self {
        Self { extras, ..self }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// The head of the log that the batch follows.
    #[must_use]
    pub fn after(&self) -> Seq {
        self.after
    }

    /// The records, in order.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The state at the last record.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Everything that is saved together with the records.
    #[must_use]
    pub fn extras(&self) -> &BatchExtras {
        &self.extras
    }
}

/// Proof that a command took effect, and its answer. It belongs to the session whose batch saves
/// it, or to none where it is saved with a change of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The user whose command it was.
    pub user: UserId,
    /// The client's id for it.
    pub id: CommandId,
    /// A digest of its content.
    pub digest: String,
    /// The answer, in the caller's own form.
    pub answer: String,
}

/// A change of a memory block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEdit {
    /// The agent.
    pub agent: AgentId,
    /// The block's label.
    pub label: String,
    /// The block from now on; `None` deletes it.
    pub to: Option<Block>,
}

#[cfg(test)]
mod tests {
    use thoughtwire_proto::{Event, SessionEvent, Timestamp};

    use super::*;

    fn renamed(count: u64) -> (Vec<Record>, State) {
        let mut state = State::default();
        let mut records = Vec::new();
        let opened = Event::Session(SessionEvent::Opened {
            agent: "a-1".parse().unwrap(),
            instructions: None,
            history: vec![],
        });
        let renames =
            (1..count).map(|n| Event::Session(SessionEvent::Renamed { title: n.to_string() }));
        for event in std::iter::once(opened).chain(renames) {
            state.apply(None, &event).unwrap();
            let at = Timestamp::from_millis(0);
            records.push(Record { seq: state.head(), at, turn: None, event });
        }
        (records, state)
    }

    fn batch(after: Seq, records: Vec<Record>, state: State) -> Result<Batch, BatchError> {
        Batch::new("s-1".parse().unwrap(), after, records, state)
    }

    #[test]
    fn records_and_state_that_agree_make_a_batch() {
        let (records, state) = renamed(3);
        assert!(batch(Seq::ZERO, records.clone(), state.clone()).is_ok());
        assert!(batch(Seq(2), records[2..].to_vec(), state.clone()).is_ok());
        assert!(batch(Seq(3), vec![], state).is_ok());
    }

    #[test]
    fn a_gap_a_wrong_start_and_a_stale_state_are_refused() {
        let (records, state) = renamed(3);
        let gap = vec![records[0].clone(), records[2].clone()];
        assert_eq!(
            batch(Seq::ZERO, gap, state.clone()).unwrap_err(),
            BatchError::OutOfOrder { expected: Seq(2), found: Seq(3) }
        );
        assert_eq!(
            batch(Seq(1), records.clone(), state.clone()).unwrap_err(),
            BatchError::OutOfOrder { expected: Seq(2), found: Seq(1) }
        );
        assert_eq!(
            batch(Seq::ZERO, records[..2].to_vec(), state.clone()).unwrap_err(),
            BatchError::StaleState { last: Seq(2), head: Seq(3) }
        );
        let (_, before) = renamed(2);
        assert_eq!(
            batch(Seq::ZERO, records, before).unwrap_err(),
            BatchError::StaleState { last: Seq(3), head: Seq(2) }
        );
    }
}
