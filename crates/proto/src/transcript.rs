//! The transcript: the view of a session that a client builds from the frames it receives.
//!
//! Replayed and live events go through the same [`Transcript::apply`]. So the view does not depend
//! on when the client attached, how often it lost the connection, or which deltas it saw.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::{
    Attached, CallId, Cursor, Decision, Delta, Emission, Epoch, Event, InputEvent, ItemId, Outcome,
    Partial, Record, Seq, SessionEvent, SessionId, Timestamp, ToolStatus, TurnEvent, TurnId,
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
}

/// One item in a transcript, in the order of the log. Its index never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct TranscriptEntry {
    /// Position of the event that created it.
    pub seq: Seq,
    /// Time of that event.
    pub at: Timestamp,
    /// Its turn; an input has one once it runs.
    pub turn: Option<TurnId>,
    /// The content.
    pub body: EntryBody,
}

/// Content of an [`TranscriptEntry`].
#[derive(Debug, Clone, PartialEq)]
pub enum EntryBody {
    /// A user sent an input.
    Input {
        /// Its id.
        item: ItemId,
        /// The text.
        text: String,
        /// References to files.
        attachments: Vec<String>,
        /// The client that sent it.
        from: Option<String>,
        /// The input's progress.
        status: InputStatus,
    },
    /// The agent had a thought.
    Thought {
        /// Its id.
        item: ItemId,
        /// The text.
        text: String,
        /// False if the thought was cut: the turn ended or was interrupted first.
        complete: bool,
        /// The cut thought whose text this one continues.
        continues: Option<ItemId>,
    },
    /// The agent sent a message.
    Message {
        /// Its id.
        item: ItemId,
        /// The text.
        text: String,
        /// False if the message was cut: the turn ended or was interrupted first.
        complete: bool,
        /// The cut message whose text this one continues.
        continues: Option<ItemId>,
    },
    /// The agent called a tool.
    Call(ToolCallEntry),
    /// A turn ended.
    Ended {
        /// The input that it ran on.
        input: ItemId,
        /// How it ended.
        outcome: Outcome,
        /// The cause for programs, if it did not complete.
        code: Option<String>,
        /// The cause as a sentence.
        reason: Option<String>,
    },
    /// Any other event.
    Fact(Event),
}

/// Progress of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputStatus {
    /// It is queued.
    Waits,
    /// Its turn runs, or it joined a running turn.
    Runs,
    /// Its turn ended.
    Ended(Outcome),
    /// It was withdrawn.
    Withdrawn,
}

/// A tool call, from its request to its result.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCallEntry {
    /// Its id.
    pub call: CallId,
    /// The tool.
    pub name: String,
    /// The arguments; absent if the transcript begins after the call.
    pub args: Option<Map<String, Value>>,
    /// State of its approval, if one was asked for.
    pub approval: Option<Approval>,
    /// Time until which a client may run it, if one is awaited.
    pub awaited: Option<Timestamp>,
    /// The result.
    pub returned: Option<CallResult>,
}

/// State of an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// It is asked for, and expires at this time.
    Asked(Timestamp),
    /// It was settled.
    Settled(Decision),
}

/// Result of a tool call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallResult {
    /// Whether the call succeeded.
    pub status: ToolStatus,
    /// The result or the error, as text.
    pub text: String,
    /// The result in a richer form.
    pub content: Option<Value>,
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
                return self.settle(input, None, InputStatus::Withdrawn, event, record);
            }
            Event::Turn(TurnEvent::Started { input }) => {
                self.turn.clone_from(turn);
                self.open.clear();
                self.closed.clear();
                return self.settle(input, turn.as_ref(), InputStatus::Runs, event, record);
            }
            Event::Turn(TurnEvent::Thought { item, text, complete, continues }) => {
                self.close(item.as_str());
                EntryBody::Thought {
                    item: item.clone(),
                    text: text.clone(),
                    complete: *complete,
                    continues: continues.clone(),
                }
            }
            Event::Turn(TurnEvent::Message { item, text, complete, continues }) => {
                self.close(item.as_str());
                EntryBody::Message {
                    item: item.clone(),
                    text: text.clone(),
                    complete: *complete,
                    continues: continues.clone(),
                }
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
                    awaited: None,
                    returned: None,
                })
            }
            Event::Turn(TurnEvent::ApprovalAsked { call, expires_at, .. }) => match self.call(call)
            {
                Some((at, open)) => {
                    open.approval = Some(Approval::Asked(*expires_at));
                    return TranscriptChange::Entry(at);
                }
                None => EntryBody::Fact(event.clone()),
            },
            Event::Turn(TurnEvent::ToolAwaited { call, expires_at }) => match self.call(call) {
                Some((at, open)) => {
                    open.awaited = Some(*expires_at);
                    return TranscriptChange::Entry(at);
                }
                None => EntryBody::Fact(event.clone()),
            },
            Event::Turn(TurnEvent::ApprovalSettled { call, decision, .. }) => match self.call(call)
            {
                Some((at, open)) => {
                    open.approval = Some(Approval::Settled(*decision));
                    return TranscriptChange::Entry(at);
                }
                None => EntryBody::Fact(event.clone()),
            },
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
            | Event::Turn(
                TurnEvent::Resumed { .. } | TurnEvent::ToolRetried { .. } | TurnEvent::Usage(_),
            )
            | Event::Other(_) => EntryBody::Fact(event.clone()),
        };
        self.push(TranscriptEntry { seq: *seq, at: *at, turn: turn.clone(), body })
    }

    fn push(&mut self, entry: TranscriptEntry) -> TranscriptChange {
        self.entries.push(entry);
        TranscriptChange::Entry(self.entries.len() - 1)
    }

    /// Sets an input's progress. If the input is not in the transcript, the event becomes an entry
    /// of its own.
    fn settle(
        &mut self,
        input: &ItemId,
        turn: Option<&TurnId>,
        became: InputStatus,
        event: &Event,
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
        self.push(TranscriptEntry {
            seq: record.seq,
            at: record.at,
            turn: record.turn.clone(),
            body: EntryBody::Fact(event.clone()),
        })
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
        self.open.clear();
        self.closed.clear();
        self.calls.clear();
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
        let Delta { turn, item, n, kind, text } = delta;
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
