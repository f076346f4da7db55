//! A session's storage: everything that its driver asks of the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use thoughtwire_proto::{
    AgentId, AgentProfile, Epoch, Event, Input, InputEvent, ItemId, PeerRef, QueuedInput, Record,
    Refusal, Seq, SessionId, SessionReply, State, Timestamp, UserId,
};
use thoughtwire_session::{
    EventBatch, IdempotencyKey, MAX_KEYS, OpenItemText, SeenKeys, StoredState, unknown_session,
};
use thoughtwire_store::{
    BatchExtras, Commit, OpenItem, PreviousOwner, Receipt, Store, StoreError, StoredSession,
};

use super::host::DriverHost;
use crate::read_back::read_back;
use crate::receipts;
use crate::turn_message::AgentExtras;

/// Records of an open turn that are read at once.
const RECORDS_AT_ONCE: usize = 500;

/// One session's part of the store.
#[derive(Clone)]
pub(crate) struct SessionStorage {
    store: Arc<Store>,
    pub(crate) id: SessionId,
    pub(crate) user: UserId,
    pub(crate) agent: AgentId,
    pub(crate) epoch: Epoch,
}

/// A session as it was read.
pub(crate) struct ReadSession {
    pub(crate) storage: SessionStorage,
    pub(crate) first: Seq,
    pub(crate) profile: AgentProfile,
    pub(crate) stored: StoredState,
    pub(crate) seen_keys: SeenKeys,
    /// How long the open turn has run.
    pub(crate) time_spent: Duration,
    /// The owner before, where several nodes share the data.
    pub(crate) taken_from: Option<PreviousOwner>,
}

/// Where a log may be cut.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// Behind this position, at which a turn ends.
    At(Seq),
    /// Behind the last turn that ends at or before this position.
    Within(Seq),
}

impl Cut {
    /// The cut behind the turns up to `through`, and not within what the open turn and the queued
    /// inputs need. `is_settled` says that everything accepted is on disk.
    pub(crate) fn new(state: &State, is_settled: bool, through: Seq) -> Self {
        let turn = state.turn().into_iter().flat_map(|turn| [turn.asked, turn.started]);
        let needed = turn.chain(state.queue().iter().map(|queued| queued.seq));
        let through = needed.map(Seq::previous).fold(through, Seq::min);
        let is_whole = state.turn().is_none() && is_settled && through == state.head();
        if is_whole { Self::At(through) } else { Self::Within(through) }
    }
}

/// Why a session was not loaded.
pub(crate) enum NotLoaded {
    /// Another node has it, at this URL if it says one.
    Elsewhere(Option<String>),
    /// The store cannot be used at present.
    StoreLost(Refusal),
    Refused(Refusal),
}

impl From<StoreError> for NotLoaded {
    fn from(error: StoreError) -> Self {
        if let StoreError::Elsewhere { url, .. } = error {
            return Self::Elsewhere(url);
        }
        if error.is_lost_store() {
            return Self::StoreLost(error.into());
        }
        Self::Refused(error.into())
    }
}

impl From<Refusal> for NotLoaded {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl SessionStorage {
    /// The part of the store that belongs to a session.
    pub(crate) fn new(store: &Arc<Store>, stored: &StoredSession) -> Self {
        Self {
            store: Arc::clone(store),
            id: stored.id.clone(),
            user: stored.user.clone(),
            agent: stored.agent.clone(),
            epoch: stored.epoch.clone(),
        }
    }

    /// Recovers a session, if a crash cut its turn, and reads it. A turn may take `turn_within`.
    ///
    /// # Errors
    /// If there is no such session, or the store cannot be read or written.
    pub(crate) async fn load(
        store: &Arc<Store>,
        id: &SessionId,
        now: Timestamp,
        turn_within: Duration,
    ) -> Result<ReadSession, NotLoaded> {
        let Some(stored) = store.logs().load(id, now).await? else {
            return Err(unknown_session(id).into());
        };
        let (profile, ids, inputs, time_spent) = tokio::try_join!(
            store.directory().agent_by_id(&stored.agent),
            store.logs().receipt_ids(&stored.user, id, MAX_KEYS),
            read_inputs(store, &stored),
            read_time_spent(store, &stored, turn_within),
        )?;
        let profile = profile.ok_or_else(|| unknown_session(id))?;
        let storage = Self::new(store, &stored);
        let StoredSession { first, state, taken_from, .. } = stored;
        let stored = StoredState { state, inputs, unseen: Vec::new() };
        let seen_keys = SeenKeys::new(ids);
        Ok(ReadSession { storage, first, profile, stored, seen_keys, time_spent, taken_from })
    }

    /// Reads the session's state; `None` if the session is gone.
    pub(crate) async fn state(&self) -> Result<Option<State>, Refusal> {
        let stored = self.store.directory().session(&self.id).await?;
        Ok(stored.map(|stored| stored.state))
    }

    /// Reads the session's state again, with the records behind `shown`; `None` if the session is
    /// gone.
    pub(crate) async fn reload(&self, shown: Seq) -> Result<Option<StoredState>, Refusal> {
        let stored = self.store.directory().session(&self.id).await?;
        let Some(stored) = stored else { return Ok(None) };
        // Inputs whose turns were not saved wait again, with their contents.
        let inputs = read_inputs(&self.store, &stored).await?;
        let (state, mut after, mut unseen) = (stored.state, shown, Vec::new());
        while after < state.head() {
            let page = self.records_after(after, RECORDS_AT_ONCE).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            unseen.extend(page.into_iter().filter(|record| record.seq <= state.head()));
        }
        Ok(Some(StoredState { state, inputs, unseen }))
    }

    /// Hands a batch to the store.
    pub(crate) fn append(&self, batch: EventBatch<DriverHost>) -> Commit<()> {
        let EventBatch { after, records, state, receipt, extras, closed_items } = batch;
        let AgentExtras { block, output, kept } = extras;
        let receipt = receipt.map(|draft| Receipt {
            user: self.user.clone(),
            id: draft.key.id,
            digest: draft.key.digest,
            answer: receipts::to_json(&draft.answer),
        });
        let extras = BatchExtras { receipt, block, output, provider_reply: kept, closed_items };
        let batch = thoughtwire_store::Batch::new(self.id.clone(), after, records, state);
        match batch {
            Ok(batch) => self.store.logs().append(batch.with(extras)),
            // The core's fold numbered the records.
            Err(error) => Commit::failed(error.into()),
        }
    }

    /// Saves the text of open items, each with a write of its own.
    pub(crate) fn checkpoint(&self, texts: Vec<OpenItemText>) -> Vec<Commit<()>> {
        let save = |OpenItemText { item, turn, kind, text, continues }| {
            let open = OpenItem { item, turn, kind, text, continues };
            self.store.logs().checkpoint(&self.id, open)
        };
        texts.into_iter().map(save).collect()
    }

    /// Looks a command's receipt up. Returns the answer for a repetition.
    pub(crate) async fn receipt(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<SessionReply>, Refusal> {
        let found = self.store.logs().receipt(&self.user, &self.id, &key.id).await?;
        found.map(|receipt| receipts::answer_again(&receipt, key)).transpose()
    }

    /// Deletes the session, with the receipt of the command that asked for it.
    pub(crate) async fn delete(&self, key: Option<IdempotencyKey>) -> Result<(), Refusal> {
        let receipt = key.map(|key| receipts::done(&self.user, key, None));
        let directory = self.store.directory();
        let deleted = directory.delete_session(&self.id, receipt).await;
        let is_gone = async {
            Ok(if directory.session(&self.id).await?.is_none() { Some(()) } else { None })
        };
        Ok(read_back(deleted, is_gone).await?)
    }

    /// The newest position that a peer's connections have proven to have read since a time.
    pub(crate) async fn proven(
        &self,
        peer: PeerRef,
        since: Timestamp,
    ) -> Result<Option<Seq>, Refusal> {
        Ok(self.store.peers().proven(&self.user, &peer, &self.id, since).await?)
    }

    /// Reads at most `limit` records behind a position, in order.
    pub(crate) async fn records_after(
        &self,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, Refusal> {
        Ok(self.store.logs().records_after(&self.id, after, limit).await?)
    }

    /// Reads the newest `limit` records before a position, in order.
    pub(crate) async fn records_before(
        &self,
        before: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, Refusal> {
        Ok(self.store.logs().records_before(&self.id, before, limit).await?)
    }

    /// Lets the log begin behind a cut, if that makes it shorter than it is with `first`. Returns
    /// where it begins then.
    pub(crate) async fn shorten(&self, cut: Cut, first: Seq) -> Result<Option<Seq>, Refusal> {
        let end = match cut {
            Cut::At(end) => Some(end),
            Cut::Within(most) => self.store.logs().last_turn_end(&self.id, most).await?,
        };
        let Some(begin) = end.map(Seq::next).filter(|begin| *begin > first) else {
            return Ok(None);
        };
        self.store.upkeep().trim(&self.id, begin).await?;
        Ok(Some(begin))
    }
}

/// How long the open turn has run.
async fn read_time_spent(
    store: &Store,
    stored: &StoredSession,
    turn_within: Duration,
) -> Result<Duration, StoreError> {
    let Some(turn) = stored.state.turn() else { return Ok(Duration::ZERO) };
    let (mut after, mut records) = (turn.started.previous(), Vec::new());
    loop {
        let page = store.logs().records_after(&stored.id, after, RECORDS_AT_ONCE).await?;
        let Some(last) = page.last() else {
            return Ok(thoughtwire_session::time_spent(&records, turn_within));
        };
        after = last.seq;
        records.extend(page.into_iter().filter(|record| record.turn.as_ref() == Some(&turn.id)));
    }
}

/// Contents of the queued inputs, and of the open turn's input: it is run again like a queued one.
async fn read_inputs(
    store: &Store,
    stored: &StoredSession,
) -> Result<HashMap<ItemId, Input>, StoreError> {
    let mut inputs = HashMap::new();
    let open =
        stored.state.turn().map(|turn| QueuedInput { input: turn.input.clone(), seq: turn.asked });
    for queued in stored.state.queue().iter().chain(&open) {
        let before = queued.seq.previous();
        for record in store.logs().records_after(&stored.id, before, 1).await? {
            if let Event::Input(InputEvent::UserMessage { item, text, attachments, .. }) =
                record.event
            {
                inputs.insert(item.clone(), Input { item, text, attachments });
            }
        }
    }
    Ok(inputs)
}
