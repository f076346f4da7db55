//! The conversation so far, built from a session's log.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thoughtwire_hub::{AgentError, Turn};
use thoughtwire_proto::{
    CallId, Event, HistoryEntry, InputEvent, ItemId, Record, Role, Seq, SessionEvent, Timestamp,
    TurnEvent, Usage,
};

use crate::PromptEntry;
use crate::model::ProviderState;

/// A part of the conversation that a prompt contains or leaves out as a whole.
#[derive(Debug, PartialEq)]
pub(crate) struct HistoryPart {
    pub(crate) from: Seq,
    pub(crate) kind: PartKind,
    pub(crate) chat: Vec<Arc<PromptEntry>>,
    /// Approximate number of tokens in a prompt.
    pub(crate) tokens: usize,
}

/// Kind of a part of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartKind {
    /// A turn, from its beginning.
    Turn,
    /// The history that the session was opened with, or the rest of a turn that began before the
    /// records.
    Rest,
}

/// Inputs whose turn has not begun, by item.
pub(crate) type PendingInputs = HashMap<ItemId, PendingInput>;

/// An input whose turn has not begun.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PendingInput {
    pub(crate) seq: Seq,
    pub(crate) at: Timestamp,
    chat: Arc<PromptEntry>,
}

/// Whether the input of each turn was among the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputsFound {
    Known,
    Missing,
}

/// Provider state of replies, by the position of each reply's first call.
pub(crate) type ProviderStates = BTreeMap<Seq, ProviderState>;

/// The row that is stored beside a reply's calls.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StoredReply {
    /// State that the provider wants back.
    #[serde(flatten)]
    pub(crate) state: Option<ProviderState>,
    /// Cost of the turn up to this reply, so that it counts also after a crash.
    #[serde(default, skip_serializing_if = "Usage::is_none")]
    pub(crate) spent: Usage,
}

/// Parses what is stored beside the log. Rows that cannot be read are skipped: requests work
/// without them.
fn stored_replies(rows: Vec<(Seq, String)>) -> BTreeMap<Seq, StoredReply> {
    let parse = |(seq, body): (Seq, String)| match serde_json::from_str(&body) {
        Ok(reply) => Some((seq, reply)),
        Err(error) => {
            tracing::warn!(%error, "a stored provider state cannot be read and is skipped");
            None
        }
    };
    rows.into_iter().filter_map(parse).collect()
}

/// The provider state stored beside the log.
pub(crate) fn provider_states(rows: Vec<(Seq, String)>) -> ProviderStates {
    states_of(stored_replies(rows))
}

fn states_of(replies: BTreeMap<Seq, StoredReply>) -> ProviderStates {
    replies.into_iter().filter_map(|(seq, reply)| Some((seq, reply.state?))).collect()
}

/// The part of the log, and of what is stored beside it, that a turn which goes on had written.
pub(crate) struct TurnPast {
    /// Records of the turn, oldest first.
    pub(crate) records: Vec<Record>,
    /// State that providers want back with its calls.
    pub(crate) states: ProviderStates,
    /// Cost of the turn up to the newest reply with calls.
    pub(crate) spent: Usage,
}

impl TurnPast {
    /// Reads what a turn had written. `None` if the turn is new.
    pub(crate) async fn read(turn: &Turn) -> Result<Option<Self>, AgentError> {
        if !turn.goes_on() {
            return Ok(None);
        }
        let records = turn.so_far().await?;
        let replies = stored_replies(turn.kept(turn.started(), Seq(u64::MAX)).await?);
        let spent = replies.values().next_back().map_or_else(Usage::default, |reply| reply.spent);
        Ok(Some(Self { records, states: states_of(replies), spent }))
    }
}

/// The provider's own ids of the calls among records, by our id.
pub(crate) fn provider_ids(records: &[Record], kept: &ProviderStates) -> HashMap<CallId, String> {
    let mut numbering = CallNumbering::default();
    let mut ids = HashMap::new();
    for record in records {
        if let Event::Turn(TurnEvent::ToolCalled { call, .. }) = &record.event
            && let Some(id) = numbering.next(record.seq, kept)
        {
            ids.insert(call.clone(), id.to_owned());
        }
    }
    ids
}

/// Matches logged calls with a reply's stored calls, which are in the same order.
#[derive(Default)]
struct CallNumbering<'k> {
    ids: VecDeque<&'k str>,
}

impl<'k> CallNumbering<'k> {
    /// The provider's id of the next call.
    fn next(&mut self, seq: Seq, kept: &'k ProviderStates) -> Option<&'k str> {
        if let Some(kept) = kept.get(&seq) {
            self.ids = kept.calls.iter().map(|call| call.id.as_str()).collect();
        }
        self.ids.pop_front()
    }
}

/// Turns the records behind the position `covered` into a conversation.
///
/// A queued input stands where its turn began, not where it was sent, because the agent had not
/// seen it before. Inputs that still wait stay in `waiting`. Inputs are put there wherever they
/// stand, since their turn may have begun behind `covered`.
pub(crate) fn build(
    records: &[Record],
    kept: &ProviderStates,
    covered: Seq,
    waiting: &mut PendingInputs,
) -> (Vec<HistoryPart>, InputsFound) {
    let mut numbering = CallNumbering::default();
    let returned: HashSet<&CallId> = records.iter().filter_map(returned_call).collect();
    let mut called: HashSet<&CallId> = HashSet::new();
    let mut builder = PastBuilder { parts: Vec::new(), joined: Vec::new(), running: 0 };
    let mut inputs = InputsFound::Known;
    for record in records {
        let seq = record.seq;
        match (&record.event, &record.turn) {
            (Event::Input(InputEvent::UserMessage { item, text, attachments, .. }), None) => {
                let chat = Arc::new(user_entry(text, attachments));
                waiting.insert(item.clone(), PendingInput { seq, at: record.at, chat });
                continue;
            }
            (Event::Turn(TurnEvent::Started { input }), _) => {
                let input = waiting.remove(input);
                if seq > covered {
                    if input.is_none() {
                        inputs = InputsFound::Missing;
                    }
                    builder.parts.push(HistoryPart {
                        from: seq,
                        kind: PartKind::Turn,
                        chat: input.map(|input| input.chat).into_iter().collect(),
                        tokens: 0,
                    });
                }
                continue;
            }
            (Event::Input(InputEvent::Withdrawn { input }), _) => drop(waiting.remove(input)),
            (_, _) => {}
        }
        if seq <= covered {
            continue;
        }
        match &record.event {
            Event::Session(SessionEvent::Opened { history, .. }) => {
                history.iter().for_each(|entry| builder.push(seq, imported_entry(entry)));
            }
            Event::Input(InputEvent::UserMessage { text, attachments, .. }) => {
                builder.push_input(seq, user_entry(text, attachments));
            }
            Event::Turn(TurnEvent::Thought { text, continues, .. }) => {
                if continues.is_none() || !builder.join(text) {
                    builder.push(seq, PromptEntry::Thought(text.clone()));
                }
            }
            Event::Turn(TurnEvent::Message { text, continues, .. }) => {
                if continues.is_none() || !builder.join(text) {
                    builder.push(seq, PromptEntry::Message(text.clone()));
                }
            }
            Event::Turn(TurnEvent::ToolCalled { call, name, args }) => {
                if let Some(kept) = kept.get(&seq) {
                    builder.push(seq, PromptEntry::ProviderState(kept.clone()));
                }
                let provider_id = numbering.next(seq, kept);
                // Providers refuse a call without its result, and a result without its call.
                if !returned.contains(call) {
                    continue;
                }
                called.insert(call);
                builder.running += 1;
                builder.push(
                    seq,
                    PromptEntry::Called {
                        call: call.clone(),
                        name: name.clone(),
                        args: args.clone(),
                        provider_id: provider_id.map(str::to_owned),
                    },
                );
            }
            Event::Turn(TurnEvent::ToolReturned { call, name, status, text, .. })
                if called.contains(call) =>
            {
                builder.push(
                    seq,
                    PromptEntry::Returned {
                        call: call.clone(),
                        name: name.clone(),
                        status: *status,
                        text: text.clone(),
                    },
                );
                builder.returned();
            }
            Event::Turn(
                TurnEvent::Started { .. }
                | TurnEvent::Resumed { .. }
                | TurnEvent::ToolRetried { .. }
                | TurnEvent::ToolAwaited { .. }
                | TurnEvent::ToolReturned { .. }
                | TurnEvent::ApprovalAsked { .. }
                | TurnEvent::ApprovalSettled { .. }
                | TurnEvent::Usage(_)
                | TurnEvent::Ended { .. },
            )
            | Event::Session(
                SessionEvent::Compacted { .. }
                | SessionEvent::Renamed { .. }
                | SessionEvent::InstructionsChanged { .. }
                | SessionEvent::MemoryEdited { .. },
            )
            | Event::Input(InputEvent::Withdrawn { .. })
            | Event::Other(_) => {}
        }
    }
    (builder.end(), inputs)
}

/// Builds the running turn's own entries from its records. The turn's input is not among them.
pub(crate) fn turn_entries(
    records: &[Record],
    kept: &ProviderStates,
) -> impl Iterator<Item = Arc<PromptEntry>> {
    build(records, kept, Seq::ZERO, &mut PendingInputs::new())
        .0
        .into_iter()
        .flat_map(|part| part.chat)
}

/// A conversation under construction.
struct PastBuilder {
    parts: Vec<HistoryPart>,
    /// Inputs that joined a turn while its calls ran. The agent sees them after the results,
    /// because nothing may stand between a call and its result.
    joined: Vec<(Seq, PromptEntry)>,
    /// Number of calls that have not returned.
    running: usize,
}

impl PastBuilder {
    /// Joins the rest of a text to the part that an interruption has cut, if that is the newest
    /// entry. Returns whether it is.
    fn join(&mut self, rest: &str) -> bool {
        let newest = self.parts.last_mut().and_then(|part| part.chat.last_mut());
        match newest.map(Arc::make_mut) {
            Some(PromptEntry::Thought(text) | PromptEntry::Message(text)) => {
                text.push_str(rest);
                true
            }
            Some(
                PromptEntry::Note(_)
                | PromptEntry::User(_)
                | PromptEntry::ProviderState(_)
                | PromptEntry::Called { .. }
                | PromptEntry::Returned { .. },
            )
            | None => false,
        }
    }

    fn push(&mut self, seq: Seq, chat: PromptEntry) {
        let chat = Arc::new(chat);
        match self.parts.last_mut() {
            Some(part) => part.chat.push(chat),
            None => {
                self.parts.push(HistoryPart {
                    from: seq,
                    kind: PartKind::Rest,
                    chat: vec![chat],
                    tokens: 0,
                });
            }
        }
    }

    fn push_input(&mut self, seq: Seq, chat: PromptEntry) {
        if self.running > 0 { self.joined.push((seq, chat)) } else { self.push(seq, chat) }
    }

    fn returned(&mut self) {
        self.running -= 1;
        if self.running == 0 {
            self.push_joined();
        }
    }

    fn push_joined(&mut self) {
        for (seq, chat) in std::mem::take(&mut self.joined) {
            self.push(seq, chat);
        }
    }

    fn end(mut self) -> Vec<HistoryPart> {
        self.push_joined();
        for part in &mut self.parts {
            part.tokens = part.chat.iter().map(|chat| chat.tokens()).sum();
        }
        self.parts
    }
}

/// The person's message, with the names of its attachments.
pub(crate) fn user_entry(text: &str, attachments: &[String]) -> PromptEntry {
    if attachments.is_empty() {
        PromptEntry::User(text.to_owned())
    } else {
        PromptEntry::User(format!("{text}\n[attached: {}]", attachments.join(", ")))
    }
}

/// Shortens entries that would leave too little room for the rest.
pub(crate) fn clip(mut chat: Vec<Arc<PromptEntry>>, tokens: usize) -> Vec<Arc<PromptEntry>> {
    chat.iter_mut().for_each(|entry| clip_one(entry, tokens));
    chat
}

/// Shortens one entry.
pub(crate) fn clip_one(entry: &mut Arc<PromptEntry>, tokens: usize) {
    // An entry that fits stays shared.
    if entry.tokens() <= tokens {
        return;
    }
    match Arc::make_mut(entry) {
        PromptEntry::User(text)
        | PromptEntry::Message(text)
        | PromptEntry::Thought(text)
        | PromptEntry::Note(text)
        | PromptEntry::Returned { text, .. } => {
            shorten(text, tokens);
        }
        PromptEntry::ProviderState(_) => {}
        PromptEntry::Called { args, .. } => {
            for value in args.values_mut() {
                if let serde_json::Value::String(text) = value {
                    shorten(text, tokens);
                }
            }
        }
    }
}

fn shorten(text: &mut String, tokens: usize) {
    let max = tokens.saturating_mul(4);
    if text.len() > max {
        let at = text.floor_char_boundary(max);
        let left_out = text.len() - at;
        text.truncate(at);
        text.push_str(&format!("… [{left_out} bytes left out here]"));
    }
}

/// Drops the oldest turns until the rest fits.
pub(crate) fn fit(mut chat: Vec<Arc<PromptEntry>>, tokens: usize) -> Vec<Arc<PromptEntry>> {
    let mut left: usize = chat.iter().map(|entry| entry.tokens()).sum();
    let mut drop = 0;
    for entry in &chat {
        // Only at the beginning of a turn: a result must not lose its call.
        if left <= tokens && (drop == 0 || matches!(**entry, PromptEntry::User(_))) {
            break;
        }
        left = left.saturating_sub(entry.tokens());
        drop += 1;
    }
    chat.drain(..drop);
    chat
}

fn returned_call(record: &Record) -> Option<&CallId> {
    if let Event::Turn(TurnEvent::ToolReturned { call, .. }) = &record.event {
        Some(call)
    } else {
        None
    }
}

fn imported_entry(entry: &HistoryEntry) -> PromptEntry {
    match entry.role {
        Role::User => PromptEntry::User(entry.text.clone()),
        Role::Assistant => PromptEntry::Message(entry.text.clone()),
    }
}
