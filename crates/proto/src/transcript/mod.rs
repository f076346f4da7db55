//! The transcript: the view of a session that a client builds from the frames it receives.
//!
//! Replayed and live events go through the same [`Transcript::apply`]. So the view does not depend
//! on when the client attached, how often it lost the connection, or which deltas it saw.

mod entry;

use std::collections::{HashMap, HashSet};

pub use entry::{Approval, CallResult, EntryBody, InputStatus, ToolCallEntry, TranscriptEntry};

use crate::{
    ApprovalAbout, Attached, CallId, Cursor, Delta, Emission, Epoch, Event, InputEvent, ItemId,
    Outcome, Partial, Record, Seq, SessionEvent, SessionId, StreamKind, TurnEvent, TurnId,
};

/// The part of a session that this client has seen.
///
/// ```
/// use thoughtwire_proto::transcript::{TranscriptChange, Transcript};
/// use thoughtwire_proto::{Emission, Record, Seq, SessionEvent};
///
/// let mut transcript = Transcript::default();
/// let opened =
///     SessionEvent::Opened { agent: "a-1".parse()?, instructions: None, history: vec![] };
/// let opened = Emission::Record(Record {
///     seq: Seq(1),
///     at: Default::default(),
///     turn: None,
///     event: opened.into(),
/// });
/// assert_eq!(transcript.apply(&opened), TranscriptChange::Entry(0));
/// // The same again, as after a reconnect, changes nothing.
/// assert_eq!(transcript.apply(&opened), TranscriptChange::Nothing);
/// # Ok::<(), thoughtwire_proto::BadId>(())
/// ```
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Transcript {
    session: Option<SessionId>,
    epoch: Option<Epoch>,
    seq: Seq,
    entries: Vec<TranscriptEntry>,
    open: Vec<Partial>,
    turn: Option<TurnId>,
    title: Option<String>,
    /// Indices of inputs whose turn has not ended.
    inputs: HashMap<ItemId, usize>,
    /// Indices of calls that have not returned.
    calls: HashMap<CallId, usize>,
    /// Items and calls of the running turn whose event came. Later deltas of them are ignored.
    closed: HashSet<String>,
    /// Indices of the entries with the cut texts of the running turn, by item.
    cut_texts: HashMap<ItemId, usize>,
}

/// Effect of an emission on a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum TranscriptChange {
    /// None: the emission is old, late or not part of the transcript.
    Nothing,
    /// The entry at this index is new, or changed.
    Entry(usize),
    /// The open item of this id is new, or changed.
    Open(ItemId),
    /// Events are missing before this one, which was not applied. Attach again at
    /// [`Transcript::cursor`].
    Gap {
        /// Position of the first missing event.
        expected: Seq,
        /// Position of the event that came.
        found: Seq,
    },
}

impl Transcript {
    /// Starts or continues an attachment. Entries are kept if the attachment continues them. They
    /// are dropped for another session, another epoch, or a cursor that could not be used.
    pub fn attach(&mut self, attached: &Attached) {
        let same_log = self.session.as_ref() == Some(&attached.session)
            && self.epoch.as_ref() == Some(&attached.epoch);
        if !same_log || attached.after != self.seq {
            *self = Self { seq: attached.after, ..Self::default() };
        }
        self.session = Some(attached.session.clone());
        self.epoch = Some(attached.epoch.clone());
        self.turn.clone_from(&attached.turn);
    }

    /// The last position seen, from which to attach again.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch.clone(), seq: self.seq }
    }

    /// The entries, in the order of the log.
    #[must_use]
    pub fn entries(&self) -> &[TranscriptEntry] {
        &self.entries
    }

    /// Open items, in the order in which they began. They come after all entries.
    #[must_use]
    pub fn open(&self) -> &[Partial] {
        &self.open
    }

    /// Index of the entry whose text an open item continues. The item's event decides: its kind may
    /// be another.
    #[must_use]
    pub fn continued(&self, open: &Partial) -> Option<usize> {
        let at = *self.cut_texts.get(open.continues.as_ref()?)?;
        self.entries.get(at).filter(|entry| entry.body.is_text_of(open.kind)).map(|_| at)
    }

    /// The running turn.
    #[must_use]
    pub fn turn(&self) -> Option<&TurnId> {
        self.turn.as_ref()
    }

    /// The session's title, if a title event was seen.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// Applies the next emission. One that was seen before changes nothing.
    pub fn apply(&mut self, emission: &Emission) -> TranscriptChange {
        match emission {
            Emission::Record(record) => self.record(record),
            Emission::Delta(delta) => self.delta(delta),
            Emission::Partial(partial) => self.partial(partial),
            Emission::Status { .. } | Emission::Presence { .. } => TranscriptChange::Nothing,
        }
    }

    fn record(&mut self, record: &Record) -> TranscriptChange {
        let Record { seq, at, turn, event } = record;
        if *seq <= self.seq {
            return TranscriptChange::Nothing;
        }
        let expected = self.seq.next();
        if *seq != expected {
            return TranscriptChange::Gap { expected, found: *seq };
        }
        self.seq = *seq;
        let body = match event {
            Event::Input(InputEvent::UserMessage { item, text, attachments, from }) => {
                let status = if turn.is_some() { InputStatus::Runs } else { InputStatus::Waits };
                self.inputs.insert(item.clone(), self.entries.len());
                EntryBody::Input {
                    item: item.clone(),
                    text: text.clone(),
                    attachments: attachments.clone(),
                    from: from.clone(),
                    status,
                }
            }
            Event::Input(InputEvent::Withdrawn { input }) => {
                return self.settle(input, None, InputStatus::Withdrawn, record);
            }
            Event::Turn(TurnEvent::Started { input }) => {
                self.turn.clone_from(turn);
                self.forget_items();
                return self.settle(input, turn.as_ref(), InputStatus::Runs, record);
            }
            Event::Turn(TurnEvent::Thought { item, text, complete, continues }) => {
                match self.join(StreamKind::Thought, item, text, *complete, continues.as_ref()) {
                    Ok(at) => return TranscriptChange::Entry(at),
                    Err(seams) => EntryBody::Thought {
                        item: item.clone(),
                        text: text.clone(),
                        complete: *complete,
                        seams,
                    },
                }
            }
            Event::Turn(TurnEvent::Message { item, text, complete, continues }) => {
                match self.join(StreamKind::Message, item, text, *complete, continues.as_ref()) {
                    Ok(at) => return TranscriptChange::Entry(at),
                    Err(seams) => EntryBody::Message {
                        item: item.clone(),
                        text: text.clone(),
                        complete: *complete,
                        seams,
                    },
                }
            }
            Event::Turn(TurnEvent::Resumed { .. }) => {
                // Items without an event were lost in the interruption.
                self.open.clear();
                EntryBody::Fact(event.clone())
            }
            Event::Turn(TurnEvent::ToolCalled { call, name, args }) => {
                // Streamed arguments carry the call's id as their item.
                self.close(call.as_str());
                self.calls.insert(call.clone(), self.entries.len());
                EntryBody::Call(ToolCallEntry {
                    call: call.clone(),
                    name: name.clone(),
                    args: Some(args.clone()),
                    approval: None,
                    about: ApprovalAbout::Run,
                    retries: 0,
                    awaited: None,
                    returned: None,
                })
            }
            Event::Turn(TurnEvent::ApprovalAsked { call, about, expires_at, .. }) => {
                let (about, asked) = (*about, Approval::Asked(*expires_at));
                return self.change(call, record, |open| {
                    (open.about, open.approval) = (about, Some(asked));
                });
            }
            Event::Turn(TurnEvent::ApprovalSettled { call, decision, .. }) => {
                let settled = Approval::Settled(*decision);
                return self.change(call, record, |open| open.approval = Some(settled));
            }
            Event::Turn(TurnEvent::ToolAwaited { call, expires_at }) => {
                return self.change(call, record, |open| open.awaited = Some(*expires_at));
            }
            Event::Turn(TurnEvent::ToolRetried { call, attempt, .. }) => {
                return self.change(call, record, |open| open.retries = *attempt);
            }
            Event::Turn(TurnEvent::ToolReturned { call, name, status, text, content }) => {
                let returned = Some(CallResult {
                    status: *status,
                    text: text.clone(),
                    content: content.clone(),
                });
                if let Some((at, open)) = self.call(call) {
                    open.returned = returned;
                    self.calls.remove(call);
                    return TranscriptChange::Entry(at);
                }
                EntryBody::Call(ToolCallEntry {
                    call: call.clone(),
                    name: name.clone(),
                    args: None,
                    approval: None,
                    about: ApprovalAbout::Run,
                    retries: 0,
                    awaited: None,
                    returned,
                })
            }
            Event::Turn(TurnEvent::Ended { input, outcome, code, reason }) => {
                self.end(turn.as_ref(), input, *outcome);
                EntryBody::Ended {
                    input: input.clone(),
                    outcome: *outcome,
                    code: code.clone(),
                    reason: reason.clone(),
                }
            }
            Event::Session(SessionEvent::Renamed { title }) => {
                self.title = Some(title.clone());
                EntryBody::Fact(event.clone())
            }
            Event::Session(
                SessionEvent::Opened { .. }
                | SessionEvent::InstructionsChanged { .. }
                | SessionEvent::MemoryEdited { .. }
                | SessionEvent::Compacted { .. },
            )
            | Event::Turn(TurnEvent::Usage(_))
            | Event::Other(_) => EntryBody::Fact(event.clone()),
        };
        self.push(TranscriptEntry { seq: *seq, at: *at, turn: turn.clone(), body })
    }

    fn push(&mut self, entry: TranscriptEntry) -> TranscriptChange {
        self.entries.push(entry);
        TranscriptChange::Entry(self.entries.len() - 1)
    }

    fn push_fact(&mut self, record: &Record) -> TranscriptChange {
        let Record { seq, at, turn, event } = record.clone();
        self.push(TranscriptEntry { seq, at, turn, body: EntryBody::Fact(event) })
    }

    /// Sets an input's progress. If the input is not in the transcript, the event becomes an entry
    /// of its own.
    fn settle(
        &mut self,
        input: &ItemId,
        turn: Option<&TurnId>,
        became: InputStatus,
        record: &Record,
    ) -> TranscriptChange {
        let at = self.inputs.get(input).copied();
        if let Some(at) = at
            && let Some(TranscriptEntry { turn: of, body: EntryBody::Input { status, .. }, .. }) =
                self.entries.get_mut(at)
        {
            *status = became;
            *of = turn.cloned();
            if became == InputStatus::Withdrawn {
                self.inputs.remove(input);
            }
            return TranscriptChange::Entry(at);
        }
        self.push_fact(record)
    }

    fn end(&mut self, ended: Option<&TurnId>, input: &ItemId, outcome: Outcome) {
        let entries = &mut self.entries;
        // Inputs that joined the turn end with it.
        self.inputs.retain(|item, at| match entries.get_mut(*at) {
            Some(TranscriptEntry { turn, body: EntryBody::Input { status, .. }, .. })
                if item == input || (turn.is_some() && turn.as_ref() == ended) =>
            {
                *status = InputStatus::Ended(outcome);
                false
            }
            Some(_) | None => true,
        });
        self.turn = None;
        self.calls.clear();
        self.forget_items();
    }

    /// Forgets what only concerns the items of one turn.
    fn forget_items(&mut self) {
        self.open.clear();
        self.closed.clear();
        self.cut_texts.clear();
    }

    /// Closes an item and appends its text to the one that it continues. Returns the index of
    /// that entry; otherwise the item gets an entry of its own, with the seams in it.
    fn join(
        &mut self,
        kind: StreamKind,
        item: &ItemId,
        text: &str,
        complete: bool,
        continues: Option<&ItemId>,
    ) -> Result<usize, Vec<usize>> {
        self.close(item.as_str());
        let at = continues.and_then(|cut| self.cut_texts.get(cut).copied()).filter(|at| {
            let entry = self.entries.get_mut(*at);
            entry.is_some_and(|entry| entry.body.go_on(kind, text, complete))
        });
        if !complete {
            self.cut_texts.insert(item.clone(), at.unwrap_or(self.entries.len()));
        }
        at.ok_or_else(|| continues.map(|_| 0).into_iter().collect())
    }

    /// Changes an open call. If it is not in the transcript, the event becomes an entry of its own.
    fn change(
        &mut self,
        call: &CallId,
        record: &Record,
        change: impl FnOnce(&mut ToolCallEntry),
    ) -> TranscriptChange {
        if let Some((at, open)) = self.call(call) {
            change(open);
            return TranscriptChange::Entry(at);
        }
        self.push_fact(record)
    }

    fn call(&mut self, call: &CallId) -> Option<(usize, &mut ToolCallEntry)> {
        let at = *self.calls.get(call)?;
        match self.entries.get_mut(at) {
            Some(TranscriptEntry { body: EntryBody::Call(open), .. }) => Some((at, open)),
            Some(_) | None => None,
        }
    }

    /// Removes an open item, because its event replaces all streamed text.
    fn close(&mut self, item: &str) {
        self.open.retain(|open| open.item.as_str() != item);
        self.closed.insert(item.to_owned());
    }

    fn delta(&mut self, delta: &Delta) -> TranscriptChange {
        let Delta { turn, item, n, kind, text, continues } = delta;
        if self.is_late(turn, item) {
            return TranscriptChange::Nothing;
        }
        match self.open.iter_mut().find(|open| open.item == *item) {
            Some(open) if open.n == *n => {
                open.text.push_str(text);
                open.n += 1;
            }
            // Seen before, or a delta is missing. Then a partial or the event will bring the whole
            // text.
            Some(_) => return TranscriptChange::Nothing,
            None if *n == 0 => {
                self.open.push(Partial {
                    turn: turn.clone(),
                    item: item.clone(),
                    n: 1,
                    kind: *kind,
                    text: text.clone(),
                    continues: continues.clone(),
                });
            }
            None => return TranscriptChange::Nothing,
        }
        TranscriptChange::Open(item.clone())
    }

    fn partial(&mut self, partial: &Partial) -> TranscriptChange {
        if self.is_late(&partial.turn, &partial.item) {
            return TranscriptChange::Nothing;
        }
        match self.open.iter_mut().find(|open| open.item == partial.item) {
            Some(open) => open.clone_from(partial),
            None => self.open.push(partial.clone()),
        }
        TranscriptChange::Open(partial.item.clone())
    }

    /// Whether a delta or partial is late: its item's event has come, or its turn does not run.
    fn is_late(&self, turn: &TurnId, item: &ItemId) -> bool {
        self.closed.contains(item.as_str()) || self.turn.as_ref() != Some(turn)
    }
}
