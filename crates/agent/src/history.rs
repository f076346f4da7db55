//! The conversation so far, as a session's log tells it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use thoughtwire_proto::{
    CallId, Event, HistoryEntry, InputEvent, ItemId, Record, Role, Seq, SessionEvent, Timestamp,
    TurnEvent,
};

use crate::Chat;
use crate::model::Kept;

/// A part of the conversation that prompts have or leave out as a whole.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) from: Seq,
    pub(crate) part: Part,
    pub(crate) chat: Vec<Arc<Chat>>,
    /// About how many tokens it makes in a prompt.
    pub(crate) tokens: usize,
}

/// What a part of the conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// A turn, from its beginning on.
    Turn,
    /// What the session was opened with, or the rest of a turn whose beginning is not among the records.
    Rest,
}

/// Inputs whose turn has not begun.
pub(crate) type Waiting = HashMap<ItemId, WaitingInput>;

/// An input whose turn has not begun.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WaitingInput {
    pub(crate) seq: Seq,
    pub(crate) at: Timestamp,
    chat: Arc<Chat>,
}

/// Whether the input of each turn was among what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inputs {
    Known,
    Missing,
}

/// What providers want back of replies, by the position of each reply's first call.
pub(crate) type KeptReplies = BTreeMap<Seq, Kept>;

/// Reads what was kept beside the log. What cannot be read is left out: requests can do without it.
pub(crate) fn kept_replies(rows: Vec<(Seq, String)>) -> KeptReplies {
    let parse = |(seq, body): (Seq, String)| match serde_json::from_str(&body) {
        Ok(kept) => Some((seq, kept)),
        Err(error) => {
            tracing::warn!(%error, "what a model's provider wants back cannot be read");
            None
        }
    };
    rows.into_iter().filter_map(parse).collect()
}

/// Provider's own ids of the calls among records, by our id.
pub(crate) fn provider_ids(records: &[Record], kept: &KeptReplies) -> HashMap<CallId, String> {
    let mut numbering = Numbering::default();
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

/// Tells which of a reply's kept calls a logged call is: the log has them in the same order.
#[derive(Default)]
struct Numbering<'k> {
    ids: VecDeque<&'k str>,
}

impl<'k> Numbering<'k> {
    /// The provider's id of the next call.
    fn next(&mut self, seq: Seq, kept: &'k KeptReplies) -> Option<&'k str> {
        if let Some(kept) = kept.get(&seq) {
            self.ids = kept.calls.iter().map(|call| call.id.as_str()).collect();
        }
        self.ids.pop_front()
    }
}

/// Turns the records behind a position, `covered`, into a conversation.
///
/// A queued input stands where its turn began, not where it was sent: in between, the agent had not
/// heard it yet. What still waits is left in `waiting`; inputs are put there wherever they stand, since
/// their turn may have begun behind `covered`.
pub(crate) fn tell(
    records: &[Record],
    kept: &KeptReplies,
    covered: Seq,
    waiting: &mut Waiting,
) -> (Vec<Told>, Inputs) {
    let mut numbering = Numbering::default();
    let returned: HashSet<&CallId> = records.iter().filter_map(returned_call).collect();
    let mut called: HashSet<&CallId> = HashSet::new();
    let mut telling = Telling { told: Vec::new(), joined: Vec::new(), running: 0 };
    let mut inputs = Inputs::Known;
    for record in records {
        let seq = record.seq;
        match (&record.event, &record.turn) {
            (Event::Input(InputEvent::UserMessage { item, text, attachments, .. }), None) => {
                let chat = Arc::new(heard(text, attachments));
                waiting.insert(item.clone(), WaitingInput { seq, at: record.at, chat });
                continue;
            }
            (Event::Turn(TurnEvent::Started { input }), _) => {
                let input = waiting.remove(input);
                if seq > covered {
                    if input.is_none() {
                        inputs = Inputs::Missing;
                    }
                    telling.told.push(Told {
                        from: seq,
                        part: Part::Turn,
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
                history.iter().for_each(|entry| telling.say(seq, from_before(entry)));
            }
            Event::Input(InputEvent::UserMessage { text, attachments, .. }) => {
                telling.hear(seq, heard(text, attachments));
            }
            Event::Turn(TurnEvent::Thought { text, .. }) => {
                telling.say(seq, Chat::Thought(text.clone()));
            }
            Event::Turn(TurnEvent::Message { text, .. }) => {
                telling.say(seq, Chat::Message(text.clone()));
            }
            Event::Turn(TurnEvent::ToolCalled { call, name, args }) => {
                if let Some(kept) = kept.get(&seq) {
                    telling.say(seq, Chat::Kept(kept.clone()));
                }
                let provider_id = numbering.next(seq, kept);
                // Providers refuse a call without its result and the other way round.
                if !returned.contains(call) {
                    continue;
                }
                called.insert(call);
                telling.running += 1;
                telling.say(
                    seq,
                    Chat::Called {
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
                telling.say(
                    seq,
                    Chat::Returned {
                        call: call.clone(),
                        name: name.clone(),
                        status: *status,
                        text: text.clone(),
                    },
                );
                telling.returned();
            }
            Event::Turn(
                TurnEvent::Started { .. }
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
    (telling.end(), inputs)
}

/// What the running turn's own records tell: its input, which the turn brings along, is not among it.
pub(crate) fn so_far(records: &[Record], kept: &KeptReplies) -> impl Iterator<Item = Arc<Chat>> {
    tell(records, kept, Seq::ZERO, &mut Waiting::new()).0.into_iter().flat_map(|told| told.chat)
}

/// A conversation that is being written.
struct Telling {
    told: Vec<Told>,
    /// What joined a turn while its calls ran was heard after their results; and between a call and its
    /// result nothing else may stand.
    joined: Vec<(Seq, Chat)>,
    /// Calls that have not returned.
    running: usize,
}

impl Telling {
    fn say(&mut self, seq: Seq, chat: Chat) {
        let chat = Arc::new(chat);
        match self.told.last_mut() {
            Some(told) => told.chat.push(chat),
            None => {
                self.told.push(Told { from: seq, part: Part::Rest, chat: vec![chat], tokens: 0 });
            }
        }
    }

    fn hear(&mut self, seq: Seq, chat: Chat) {
        if self.running > 0 { self.joined.push((seq, chat)) } else { self.say(seq, chat) }
    }

    fn returned(&mut self) {
        self.running -= 1;
        if self.running == 0 {
            self.say_joined();
        }
    }

    fn say_joined(&mut self) {
        for (seq, chat) in std::mem::take(&mut self.joined) {
            self.say(seq, chat);
        }
    }

    fn end(mut self) -> Vec<Told> {
        self.say_joined();
        for told in &mut self.told {
            told.tokens = told.chat.iter().map(|chat| chat.tokens()).sum();
        }
        self.told
    }
}

/// What the person said, with the files that came along named.
pub(crate) fn heard(text: &str, attachments: &[String]) -> Chat {
    if attachments.is_empty() {
        Chat::User(text.to_owned())
    } else {
        Chat::User(format!("{text}\n[attached: {}]", attachments.join(", ")))
    }
}

/// Shortens what by itself would leave too little room for the rest.
pub(crate) fn clip(mut chat: Vec<Arc<Chat>>, tokens: usize) -> Vec<Arc<Chat>> {
    chat.iter_mut().for_each(|entry| clip_one(entry, tokens));
    chat
}

/// Shortens one entry.
pub(crate) fn clip_one(entry: &mut Arc<Chat>, tokens: usize) {
    // What fits as a whole has nothing to shorten: it stays shared.
    if entry.tokens() <= tokens {
        return;
    }
    match Arc::make_mut(entry) {
        Chat::User(text)
        | Chat::Message(text)
        | Chat::Thought(text)
        | Chat::Note(text)
        | Chat::Returned { text, .. } => {
            shorten(text, tokens);
        }
        Chat::Kept(_) => {}
        Chat::Called { args, .. } => {
            for value in args.values_mut() {
                if let serde_json::Value::String(text) = value {
                    shorten(text, tokens);
                }
            }
        }
    }
}

fn shorten(text: &mut String, tokens: usize) {
    let most = tokens.saturating_mul(4);
    if text.len() > most {
        let at = text.floor_char_boundary(most);
        let left_out = text.len() - at;
        text.truncate(at);
        text.push_str(&format!("… [{left_out} bytes left out here]"));
    }
}

/// Drops the oldest turns until the rest fits.
pub(crate) fn fit(mut chat: Vec<Arc<Chat>>, tokens: usize) -> Vec<Arc<Chat>> {
    let mut left: usize = chat.iter().map(|entry| entry.tokens()).sum();
    let mut drop = 0;
    for entry in &chat {
        // Only at the beginning of a turn: a result must not lose its call.
        if left <= tokens && (drop == 0 || matches!(**entry, Chat::User(_))) {
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

fn from_before(entry: &HistoryEntry) -> Chat {
    match entry.role {
        Role::User => Chat::User(entry.text.clone()),
        Role::Assistant => Chat::Message(entry.text.clone()),
    }
}
