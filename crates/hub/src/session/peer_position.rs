//! The position from which a recognised client of an older wire reads, and which of its inputs are
//! under way there.

use std::collections::HashSet;

use thoughtwire_proto::{
    Event, InputEvent, ItemId, PeerRef, QueuedInput, Record, Refusal, Seq, Timestamp, TurnEvent,
};

use super::storage::SessionStorage;

/// Records that are read at once.
const PAGE: usize = 256;

/// The last position that a peer has proven to have read, and its inputs that were sent before it
/// and whose turns had not ended there.
pub(crate) struct PeerPosition {
    pub(crate) proven: Option<Seq>,
    pub(crate) unended: Vec<ItemId>,
}

impl PeerPosition {
    /// Reads what a peer's connections have proven since a time.
    pub(crate) async fn read(
        storage: &SessionStorage,
        peer: PeerRef,
        since: Timestamp,
    ) -> Result<Self, Refusal> {
        let sender = peer.sender();
        let proven = storage.proven(peer, since).await?;
        let unended = match proven.zip(sender) {
            Some((after, sender)) => SentInputs { storage, after, sender }.unended().await?,
            None => Vec::new(),
        };
        Ok(Self { proven, unended })
    }
}

/// The inputs that a client sent at a position or before it.
struct SentInputs<'a> {
    storage: &'a SessionStorage,
    after: Seq,
    sender: String,
}

impl SentInputs<'_> {
    /// Those whose turns had not ended at the position.
    async fn unended(&self) -> Result<Vec<ItemId>, Refusal> {
        // The state comes first: a turn that ends after this read is open in it.
        let Some(state) = self.storage.state().await? else { return Ok(Vec::new()) };
        let running = state.turn().map(|turn| (turn.asked, turn.input.clone()));
        let queued = state.queue().iter();
        let queued = queued.map(|QueuedInput { input, seq }| (*seq, input.clone()));
        let mut unended = Vec::new();
        for (seq, input) in running.into_iter().chain(queued).filter(|(seq, _)| *seq <= self.after)
        {
            let before = seq.previous();
            let asked = self.storage.records_after(before, 1).await?;
            if asked.iter().any(|record| self.sent(record) == Some((&input, true))) {
                unended.push(input);
            }
        }
        unended.extend(self.ended_later().await?);
        Ok(unended)
    }

    /// Those whose turns ended behind the position.
    async fn ended_later(&self) -> Result<Vec<ItemId>, Refusal> {
        let (mut ended, mut after) = (HashSet::new(), self.after);
        let mut sent_later = HashSet::new();
        loop {
            let page = self.storage.records_after(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for record in &page {
                if let Event::Turn(TurnEvent::Ended { input, .. }) = &record.event
                    && !sent_later.contains(input)
                {
                    ended.insert(input.clone());
                }
                sent_later.extend(self.sent(record).map(|(input, _)| input.clone()));
            }
        }
        let (mut own, mut before) = (Vec::new(), self.after.next());
        while !ended.is_empty() {
            let page = self.storage.records_before(before, PAGE).await?;
            // Retention may have deleted the input.
            let Some(first) = page.first() else { break };
            before = first.seq;
            for (input, is_own) in page.iter().filter_map(|record| self.sent(record)) {
                if ended.remove(input) && is_own {
                    own.push(input.clone());
                }
            }
        }
        Ok(own)
    }

    /// The input that a record brings, and whether this client sent it.
    fn sent<'r>(&self, record: &'r Record) -> Option<(&'r ItemId, bool)> {
        if let Event::Input(InputEvent::UserMessage { item, from, .. }) = &record.event {
            Some((item, from.as_deref() == Some(self.sender.as_str())))
        } else {
            None
        }
    }
}
