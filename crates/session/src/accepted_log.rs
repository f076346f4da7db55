//! The accepted log: ahead of the disk by the appends under way.

use thoughtwire_proto::{
    Emission, Event, IllegalEvent, ItemId, Record, Refusal, Seq, State, TurnEvent, TurnId,
};

use crate::host::Extras;
use crate::pipeline::{PendingAppend, Pipeline, Settlement, Waiter};
use crate::{
    CoreReply, Effect, EventBatch, IdempotencyKey, Now, ReceiptDraft, SeenKeys, SessionHost,
    key_reused, repeated,
};

/// An event with the turn that it belongs to.
pub(crate) type UnnumberedEvent = (Option<TurnId>, Event);

/// The accepted state, the appends under way, and the effects to return.
pub(crate) struct AcceptedLog<H: SessionHost> {
    state: State,
    pipeline: Pipeline<H>,
    seen_keys: SeenKeys,
    /// The running turn as subscribers know it: from committed records.
    shown_turn: Option<TurnId>,
    effects: Vec<Effect<H>>,
}

/// The parts of one append beside its events.
pub(crate) struct Entry<H: SessionHost> {
    /// Key of the command that caused the events.
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) extras: Extras<H>,
    /// Sender of the reply once the events are on disk.
    pub(crate) waiter: Option<Waiter<H>>,
    pub(crate) settles: Option<Settlement>,
}

impl<H: SessionHost> Default for Entry<H> {
    fn default() -> Self {
        Self { key: None, extras: Extras::<H>::default(), waiter: None, settles: None }
    }
}

/// Events that the state allows, numbered and not appended yet.
pub(crate) struct Numbered {
    after: Seq,
    records: Vec<Record>,
    state: State,
}

impl Numbered {
    /// Items that the events close.
    pub(crate) fn closed_items(&self) -> Vec<ItemId> {
        self.records.iter().filter_map(|record| whole_item(&record.event).cloned()).collect()
    }
}

impl<H: SessionHost> AcceptedLog<H> {
    pub(crate) fn new(state: State, seen_keys: SeenKeys) -> Self {
        let shown_turn = state.turn().map(|turn| turn.id.clone());
        let (pipeline, effects) = (Pipeline::default(), Vec::new());
        Self { state, pipeline, seen_keys, shown_turn, effects }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn head(&self) -> Seq {
        self.state.head()
    }

    pub(crate) fn shown_turn(&self) -> Option<&TurnId> {
        self.shown_turn.as_ref()
    }

    /// Whether another append or emission may be accepted.
    pub(crate) fn has_room(&self) -> bool {
        self.pipeline.has_room()
    }

    /// Whether everything that was accepted is on disk and shown.
    pub(crate) fn is_settled(&self) -> bool {
        self.pipeline.is_empty()
    }

    /// Adds a reply to the effects.
    pub(crate) fn reply(&mut self, reply: CoreReply<H>) {
        self.emit(Effect::Reply(reply));
    }

    pub(crate) fn emit(&mut self, effect: Effect<H>) {
        self.effects.push(effect);
    }

    pub(crate) fn take_effects(&mut self) -> Vec<Effect<H>> {
        std::mem::take(&mut self.effects)
    }

    /// Shows something transient, behind the appends under way.
    pub(crate) fn show(&mut self, emission: Emission) {
        if let Some(emission) = self.pipeline.show(emission) {
            self.effects.push(Effect::Show(emission));
        }
    }

    /// Numbers events against the accepted state, all or none.
    pub(crate) fn number(
        &self,
        now: Now,
        events: Vec<UnnumberedEvent>,
    ) -> Result<Numbered, IllegalEvent> {
        let mut state = self.state.clone();
        let mut records = Vec::with_capacity(events.len());
        for (turn, event) in events {
            state.apply(turn.as_ref(), &event)?;
            records.push(Record { seq: state.head(), at: now.wall, turn, event });
        }
        Ok(Numbered { after: self.state.head(), records, state })
    }

    /// Accepts numbered events and hands them to the store. Returns the new head.
    pub(crate) fn append(
        &mut self,
        numbered: Numbered,
        closed_items: Vec<ItemId>,
        entry: Entry<H>,
    ) -> Seq {
        let Numbered { after, records, state } = numbered;
        let Entry { key, extras, waiter, settles } = entry;
        let append = PendingAppend { records, key, waiters: waiter.into_iter().collect(), settles };
        let receipt = append.key.clone().zip(append.answer().cloned());
        if let Some(key) = &append.key {
            self.seen_keys.add(&key.id);
        }
        let batch = EventBatch {
            after,
            records: append.records.clone(),
            state: state.clone(),
            receipt: receipt.map(|(key, answer)| ReceiptDraft { key, answer }),
            extras,
            closed_items,
        };
        self.state = state;
        self.pipeline.push(append);
        self.effects.push(Effect::Append(Box::new(batch)));
        self.state.head()
    }

    /// Joins a repeated command to the append that carries its key. Returns the sender if there is
    /// none.
    pub(crate) fn join(
        &mut self,
        key: &IdempotencyKey,
        reply: H::CommandSender,
    ) -> Option<H::CommandSender> {
        let Some(append) = self.pipeline.with_key(&key.id) else { return Some(reply) };
        let is_same = append.key.as_ref().is_some_and(|known| known.digest == key.digest);
        match append.answer().cloned() {
            Some(answer) if is_same => {
                append.waiters.push(Waiter::Command(reply, Box::new(repeated(answer))));
            }
            Some(_) | None => {
                self.effects
                    .push(Effect::Reply(CoreReply::Command(reply, Err(key_reused(&key.id)))));
            }
        }
        None
    }

    /// Whether a key certainly did not take effect before.
    pub(crate) fn is_new(&self, key: &IdempotencyKey) -> bool {
        self.seen_keys.is_new(&key.id)
    }

    /// The oldest append is on disk: takes it, and the emissions behind it.
    pub(crate) fn confirm(&mut self) -> Option<(PendingAppend<H>, Vec<Emission>)> {
        let (append, shown) = self.pipeline.confirm()?;
        self.shows(&append.records);
        Some((append, shown))
    }

    /// Takes note of records that subscribers are going to see.
    fn shows(&mut self, records: &[Record]) {
        for record in records {
            match &record.event {
                Event::Turn(TurnEvent::Started { .. }) => self.shown_turn.clone_from(&record.turn),
                Event::Turn(TurnEvent::Ended { .. }) => self.shown_turn = None,
                Event::Session(_)
                | Event::Input(_)
                | Event::Turn(
                    TurnEvent::Resumed { .. }
                    | TurnEvent::Thought { .. }
                    | TurnEvent::ToolCalled { .. }
                    | TurnEvent::ToolRetried { .. }
                    | TurnEvent::ApprovalAsked { .. }
                    | TurnEvent::ApprovalSettled { .. }
                    | TurnEvent::ToolAwaited { .. }
                    | TurnEvent::ToolReturned { .. }
                    | TurnEvent::Message { .. }
                    | TurnEvent::Usage(_),
                )
                | Event::Other(_) => {}
            }
        }
    }

    /// An append failed: refuses everything under way. The accepted state stays as it is until
    /// [`AcceptedLog::restore`].
    pub(crate) fn discard(&mut self, refusal: &Refusal) {
        for append in self.pipeline.discard() {
            for waiter in append.waiters {
                self.reply(waiter.failed(refusal));
            }
        }
        self.effects.push(Effect::DiscardAppends);
    }

    /// Goes back to the state that is on disk. `unseen` are records there that subscribers were not
    /// shown: they are published.
    pub(crate) fn restore(&mut self, state: State, unseen: Vec<Record>) {
        self.state = state;
        if !unseen.is_empty() {
            self.shows(&unseen);
            self.effects.push(Effect::Publish { records: unseen, then: Vec::new() });
        }
    }
}

/// The item that an event closes: the thought or message that the event is the whole of.
#[must_use]
pub fn whole_item(event: &Event) -> Option<&ItemId> {
    match event {
        Event::Turn(TurnEvent::Thought { item, .. } | TurnEvent::Message { item, .. }) => {
            Some(item)
        }
        Event::Session(_)
        | Event::Input(_)
        | Event::Turn(
            TurnEvent::Started { .. }
            | TurnEvent::Resumed { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ToolCalled { .. }
            | TurnEvent::ApprovalAsked { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::ToolReturned { .. }
            | TurnEvent::Usage(_)
            | TurnEvent::Ended { .. },
        )
        | Event::Other(_) => None,
    }
}
