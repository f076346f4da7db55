//! The conversation so far, read from the session's log.

use std::collections::{HashMap, HashSet};

use thoughtwire_proto::{CallId, Event, HistoryEntry, ItemId, Record, Role, Seq};

use crate::Chat;

/// Turns records into a conversation.
///
/// A queued input stands where its turn began, not where it was sent: in between, the agent had not
/// heard it yet. What still waits is left out.
pub(crate) fn chat(records: &[Record]) -> Vec<Chat> {
    chat_after(records, Seq::ZERO)
}

/// [`chat`] without what a summary covers.
pub(crate) fn chat_after(records: &[Record], covered: Seq) -> Vec<Chat> {
    let returned: HashSet<&CallId> = records.iter().filter_map(returned_call).collect();
    let mut called: HashSet<&CallId> = HashSet::new();
    let mut waiting: HashMap<&ItemId, Chat> = HashMap::new();
    let mut chat = Vec::new();
    // What joined a turn while its calls ran was heard after their results; and between a call and its
    // result nothing else may stand.
    let mut joined: Vec<Chat> = Vec::new();
    let mut running = 0_usize;
    for record in records {
        // Inputs are kept whatever a summary covers: their turn may have begun behind it.
        if let (Event::UserMessage { item, text, attachments, .. }, None) = (&record.event, &record.turn) {
            waiting.insert(item, heard(text, attachments));
            continue;
        }
        if record.seq <= covered {
            continue;
        }
        match &record.event {
            Event::SessionOpened { history, .. } => chat.extend(history.iter().map(from_before)),
            Event::UserMessage { text, attachments, .. } if running > 0 => joined.push(heard(text, attachments)),
            Event::UserMessage { text, attachments, .. } => chat.push(heard(text, attachments)),
            Event::TurnStarted { input } => chat.extend(waiting.remove(input)),
            Event::Thought { text, .. } => chat.push(Chat::Thought(text.clone())),
            Event::Message { text, .. } => chat.push(Chat::Message(text.clone())),
            // Providers refuse a call without its result and the other way round.
            Event::ToolCalled { call, name, args } if returned.contains(call) => {
                called.insert(call);
                running += 1;
                chat.push(Chat::Called { call: call.clone(), name: name.clone(), args: args.clone(), provider_id: None });
            }
            Event::ToolReturned { call, name, status, text, .. } if called.contains(call) => {
                chat.push(Chat::Returned { call: call.clone(), name: name.clone(), status: *status, text: text.clone() });
                running -= 1;
                if running == 0 {
                    chat.append(&mut joined);
                }
            }
            Event::ToolCalled { .. }
            | Event::ToolAwaited { .. }
            | Event::ToolReturned { .. }
            | Event::Compacted { .. }
            | Event::SessionRenamed { .. }
            | Event::InstructionsChanged { .. }
            | Event::InputWithdrawn { .. }
            | Event::ApprovalAsked { .. }
            | Event::ApprovalSettled { .. }
            | Event::Usage(_)
            | Event::MemoryEdited { .. }
            | Event::TurnEnded { .. }
            | Event::Other(_) => {}
        }
    }
    chat.append(&mut joined);
    chat
}

/// What the person said, with the files that came along named.
pub(crate) fn heard(text: &str, attachments: &[String]) -> Chat {
    if attachments.is_empty() { Chat::User(text.to_owned()) } else { Chat::User(format!("{text}\n[attached: {}]", attachments.join(", "))) }
}

/// About how many tokens records make in a prompt.
pub(crate) fn tokens(records: &[Record]) -> usize {
    chat(records).iter().map(Chat::tokens).sum()
}

/// Shortens what by itself would leave too little room for the rest.
pub(crate) fn clip(mut chat: Vec<Chat>, tokens: usize) -> Vec<Chat> {
    chat.iter_mut().for_each(|entry| clip_one(entry, tokens));
    chat
}

/// Shortens one entry.
pub(crate) fn clip_one(entry: &mut Chat, tokens: usize) {
    match entry {
        Chat::User(text) | Chat::Message(text) | Chat::Thought(text) | Chat::Note(text) | Chat::Returned { text, .. } => {
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
pub(crate) fn fit(mut chat: Vec<Chat>, tokens: usize) -> Vec<Chat> {
    let mut left: usize = chat.iter().map(Chat::tokens).sum();
    let mut drop = 0;
    for entry in &chat {
        // Only at the beginning of a turn: a result must not lose its call.
        if left <= tokens && (drop == 0 || matches!(entry, Chat::User(_))) {
            break;
        }
        left = left.saturating_sub(entry.tokens());
        drop += 1;
    }
    chat.drain(..drop);
    chat
}

fn returned_call(record: &Record) -> Option<&CallId> {
    if let Event::ToolReturned { call, .. } = &record.event { Some(call) } else { None }
}

fn from_before(entry: &HistoryEntry) -> Chat {
    match entry.role {
        Role::User => Chat::User(entry.text.clone()),
        Role::Assistant => Chat::Message(entry.text.clone()),
    }
}
