//! Waiting for the end of an input's turn, for callers that want it in one reply.

use std::sync::Arc;

use thoughtwire_proto::{
    Cursor, Emission, Event, InputEvent, ItemId, Record, Refusal, RefusalCode, Seq, SessionId,
    Start, TurnEvent, TurnId, UserId,
};
use tokio::sync::Notify;

use crate::subscription::Read;
use crate::{Hub, Presence};

/// How an input's turn ended for a caller that waited for it.
#[derive(Debug, Clone, PartialEq)]
pub enum AwaitedTurn {
    /// The turn ended, or the input was withdrawn. The input's and its turn's records.
    Ended(Vec<Record>),
    /// The turn ended and retention deleted at least one of its records. Those that were read
    /// before; none if the input itself was deleted before the wait began.
    Trimmed(Vec<Record>),
}

impl Hub {
    /// Waits for the end of the turn of an input that was acknowledged at `seq`. Has no time limit
    /// of its own; it can be dropped at any time.
    ///
    /// # Errors
    /// When there is no such session of this user, it is deleted meanwhile, or its log cannot be
    /// read.
    pub async fn await_turn(
        &self,
        user: &UserId,
        session: &SessionId,
        seq: Seq,
        input: &ItemId,
    ) -> Result<AwaitedTurn, Refusal> {
        let wake = Arc::new(Notify::new());
        let start = Start::After(Cursor { epoch: None, seq: seq.previous() });
        let (attached, mut subscription) =
            self.attach(user, session, start, Arc::clone(&wake), Presence::Unseen).await?;
        // Retention keeps what a running turn or a queued input needs, so this turn has ended.
        if attached.after >= seq {
            return Ok(AwaitedTurn::Trimmed(Vec::new()));
        }
        let mut collected = Collected::new(input);
        loop {
            if !subscription.has_news() {
                wake.notified().await;
                continue;
            }
            let entries = match subscription.next().await? {
                Read::Entries { entries, .. } => entries,
                Read::CaughtUp(_) => continue,
                Read::Trimmed => return Ok(AwaitedTurn::Trimmed(collected.records)),
                Read::Closed(reason) => return Err(Refusal::new(RefusalCode::Stopping, reason)),
            };
            for entry in entries {
                if let Emission::Record(record) = &entry.emitted().emission
                    && collected.take(record)
                {
                    return Ok(AwaitedTurn::Ended(collected.records));
                }
            }
        }
    }
}

/// The records of one input and its turn, as they are read.
struct Collected<'a> {
    input: &'a ItemId,
    turn: Option<TurnId>,
    records: Vec<Record>,
}

impl<'a> Collected<'a> {
    fn new(input: &'a ItemId) -> Self {
        Self { input, turn: None, records: Vec::new() }
    }

    /// Takes the next record of the log, if it belongs to the input. Returns true at the end of its
    /// turn.
    fn take(&mut self, record: &Record) -> bool {
        let is_input = matches!(
            &record.event,
            Event::Input(InputEvent::UserMessage { item, .. }) if item == self.input
        );
        let is_start = matches!(
            &record.event,
            Event::Turn(TurnEvent::Started { input }) if input == self.input
        );
        // A steering input is in its turn already.
        if is_start || (is_input && record.turn.is_some()) {
            self.turn.clone_from(&record.turn);
        }
        let is_in_turn = self.turn.is_some() && record.turn == self.turn;
        let is_withdrawn = matches!(
            &record.event,
            Event::Input(InputEvent::Withdrawn { input }) if input == self.input
        );
        if is_in_turn || is_input || is_withdrawn {
            self.records.push(record.clone());
        }
        is_withdrawn || (is_in_turn && matches!(record.event, Event::Turn(TurnEvent::Ended { .. })))
    }
}
