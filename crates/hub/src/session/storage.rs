//! A session's storage: everything that its driver asks of the store.

use std::collections::HashMap;
use std::sync::Arc;

use thoughtwire_proto::{
    AgentId, AgentProfile, Epoch, Event, Input, InputEvent, ItemId, PeerRef, QueuedInput, Refusal,
    Seq, SessionId, SessionReply, State, Timestamp, UserId,
};
use thoughtwire_session::{
    Batch, IdempotencyKey, MAX_KEYS, OpenItemText, SeenKeys, StoredState, unknown_session,
};
use thoughtwire_store::{
    Append, Commit, OpenItem, Receipt, SessionNum, Store, StoreError, StoredSession,
};

use super::host::DriverHost;
use crate::receipts;
use crate::turn_message::AgentExtras;

/// One session's part of the store.
#[derive(Clone)]
pub(crate) struct SessionStorage {
    store: Arc<Store>,
    pub(crate) num: SessionNum,
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
        let through = needed.map(|seq| Seq(seq.0.saturating_sub(1))).fold(through, Seq::min);
        let is_whole = state.turn().is_none() && is_settled && through == state.head();
        if is_whole { Self::At(through) } else { Self::Within(through) }
    }
}

impl SessionStorage {
    /// Reads a session.
    ///
    /// # Errors
    /// If there is no such session, or the store cannot be read.
    pub(crate) async fn load(store: &Arc<Store>, id: &SessionId) -> Result<ReadSession, Refusal> {
        let wanted = id.clone();
        let read = move |store: &Store| {
            let Some(stored) = store.session(&wanted)? else { return Ok(None) };
            let Some(profile) = store.agent_by_id(&stored.agent)? else { return Ok(None) };
            let inputs = read_inputs(store, &stored)?;
            let ids = store.receipt_ids(&stored.user, stored.num, MAX_KEYS)?;
            Ok(Some((stored, profile, inputs, ids)))
        };
        let found = store.reading(read).await.map_err(|error| Refusal::from(&error))?;
        let (stored, profile, inputs, ids) = found.ok_or_else(|| unknown_session(id))?;
        let StoredSession { num, id, user, agent, epoch, first, state, .. } = stored;
        let storage = Self { store: Arc::clone(store), num, id, user, agent, epoch };
        let stored = StoredState { state, inputs };
        Ok(ReadSession { storage, first, profile, stored, seen_keys: SeenKeys::new(ids) })
    }

    /// Reads the session's state again; `None` if the session is gone.
    pub(crate) async fn reload(&self) -> Result<Option<StoredState>, Refusal> {
        let id = self.id.clone();
        let read = move |store: &Store| {
            let Some(stored) = store.session(&id)? else { return Ok(None) };
            // Inputs whose turns were not saved wait again, with their contents.
            let inputs = read_inputs(store, &stored)?;
            Ok(Some(StoredState { state: stored.state, inputs }))
        };
        self.store.reading(read).await.map_err(|error| Refusal::from(&error))
    }

    /// Hands a batch to the store.
    pub(crate) fn append(&self, batch: Batch<DriverHost>) -> Commit<()> {
        let Batch { after, records, state, receipt, extras, closed_items } = batch;
        let AgentExtras { block, output, kept } = extras;
        let receipt = receipt.map(|draft| Receipt {
            user: self.user.clone(),
            session: Some(self.num),
            id: draft.key.id,
            digest: draft.key.digest,
            answer: receipts::to_json(&draft.answer),
        });
        let session = self.num;
        self.store.append(Append {
            session,
            after,
            records,
            state,
            receipt,
            block,
            output,
            kept,
            closed_items,
        })
    }

    /// Saves the text of open items; resolves with the last of them.
    pub(crate) fn checkpoint(&self, texts: Vec<OpenItemText>) -> Option<Commit<()>> {
        let save = |OpenItemText { item, turn, kind, text }| {
            self.store.checkpoint(self.num, OpenItem { item, turn, kind, text })
        };
        texts.into_iter().map(save).last()
    }

    /// Looks a command's receipt up. Returns the answer for a repetition.
    pub(crate) async fn receipt(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<SessionReply>, Refusal> {
        let (user, num, id) = (self.user.clone(), self.num, key.id.clone());
        let found = self.store.reading(move |store| store.receipt(&user, Some(num), &id)).await;
        let found = found.map_err(|error| Refusal::from(&error))?;
        found.map(|receipt| receipts::answer_again(&receipt, key)).transpose()
    }

    /// Deletes the session, with the receipt of the command that asked for it.
    pub(crate) async fn delete(&self, key: Option<IdempotencyKey>) -> Result<(), Refusal> {
        let receipt = key.map(|key| receipts::done(&self.user, None, key, None));
        let deleted = self.store.delete_session(&self.id, receipt).await;
        deleted.map_err(|error| Refusal::from(&error))
    }

    /// The newest position that a peer's connections have proven to have read since a time.
    pub(crate) async fn proven(
        &self,
        peer: PeerRef,
        since: Timestamp,
    ) -> Result<Option<Seq>, Refusal> {
        let (user, id) = (self.user.clone(), self.id.clone());
        let read = move |store: &Store| store.proven(&user, &peer, &id, since);
        self.store.reading(read).await.map_err(|error| Refusal::from(&error))
    }

    /// Lets the log begin behind a cut, if that makes it shorter than it is with `first`. Returns
    /// where it begins then.
    pub(crate) async fn shorten(&self, cut: Cut, first: Seq) -> Result<Option<Seq>, Refusal> {
        let num = self.num;
        let end = match cut {
            Cut::At(end) => Some(end),
            Cut::Within(most) => self
                .store
                .reading(move |store| store.turn_end(num, most))
                .await
                .map_err(|error| Refusal::from(&error))?,
        };
        let Some(begin) = end.map(Seq::next).filter(|begin| *begin > first) else {
            return Ok(None);
        };
        self.store.begin_at(num, begin).await.map_err(|error| Refusal::from(&error))?;
        Ok(Some(begin))
    }
}

/// Contents of the queued inputs, and of a parked turn's input: it is run again like a queued one.
fn read_inputs(
    store: &Store,
    stored: &StoredSession,
) -> Result<HashMap<ItemId, Input>, StoreError> {
    let mut inputs = HashMap::new();
    let parked =
        stored.state.turn().map(|turn| QueuedInput { input: turn.input.clone(), seq: turn.asked });
    for queued in stored.state.queue().iter().chain(&parked) {
        let before = Seq(queued.seq.0.saturating_sub(1));
        for record in store.events(stored.num, before, 1)? {
            if let Event::Input(InputEvent::UserMessage { item, text, attachments, .. }) =
                record.event
            {
                inputs.insert(item.clone(), Input { item, text, attachments });
            }
        }
    }
    Ok(inputs)
}
