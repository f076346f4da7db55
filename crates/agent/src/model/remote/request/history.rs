//! Normalization of a conversation for all providers, before it is encoded for a wire.
//!
//! Rules of the result: user and model take turns, and the user begins and ends; no text is blank;
//! every call has a unique id and exactly one result; a provider's signatures go back only to the
//! model that made them.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value};
use thoughtwire_proto::{CallId, Style, ToolStatus};

use super::ids::CallIds;
use super::names;
use super::text::{NO_OUTPUT, NO_TEXT, is_blank, or_else, without_think};
use crate::model::ProviderState;
use crate::model::remote::ProviderWire;
use crate::model::remote::provider_state::ProviderCall;
use crate::prompt::{NO_ANSWER, Prompt, PromptEntry};
use crate::tool::BuiltInTool;

/// Placeholder at the beginning, if the user did not speak first.
const BEGINNING: &str = "(The conversation goes on.)";
/// Placeholder at the end, if the model spoke last.
const GO_ON: &str = "(Go on.)";
/// Placeholder for a result that was never logged.
const NO_RESULT: &str = "Error: the call was interrupted; it is not known whether it took effect.";

/// A conversation in a form that every provider accepts.
pub(super) struct WireHistory<'a> {
    /// Instructions, then notes such as a summary. None of them is blank.
    pub(super) system: Vec<&'a str>,
    pub(super) messages: Vec<WireMessage<'a>>,
}

/// A message of one side.
pub(super) enum WireMessage<'a> {
    /// Texts of the user, at least one.
    User(Vec<Cow<'a, str>>),
    /// A reply of the model, with the results of its calls.
    Reply(WireReply<'a>),
}

/// A reply of the model. It has a text or calls.
#[derive(Default)]
pub(super) struct WireReply<'a> {
    /// State that its provider wants back. Absent if another model made the reply.
    pub(super) kept: Option<&'a ProviderState>,
    pub(super) text: String,
    pub(super) calls: Vec<WireCall<'a>>,
}

/// A tool call and its result.
pub(super) struct WireCall<'a> {
    /// The id in the log.
    ours: &'a CallId,
    /// Its position among the calls of its reply, if known.
    place: usize,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) args: &'a Map<String, Value>,
    /// Gemini's signature of the call.
    pub(super) signature: Option<&'a str>,
    pub(super) result: Cow<'a, str>,
    pub(super) status: ToolStatus,
}

impl WireMessage<'_> {
    /// The reply, if it is one.
    pub(super) fn reply(&self) -> Option<&WireReply<'_>> {
        match self {
            Self::User(_) => None,
            Self::Reply(reply) => Some(reply),
        }
    }
}

/// Normalizes a prompt's conversation. `maker` identifies the model that is asked.
pub(super) fn fit<'a>(prompt: &'a Prompt, wire: ProviderWire, maker: &str) -> WireHistory<'a> {
    let system = Some(prompt.system.as_str()).filter(|text| !is_blank(text)).into_iter().collect();
    let mut builder = WireHistoryBuilder {
        style: prompt.style,
        maker,
        system,
        messages: Vec::new(),
        open: OpenReply::default(),
        ids: CallIds::new(wire),
        places: HashMap::new(),
        sending: 0,
    };
    for entry in &prompt.chat {
        builder.push(entry);
    }
    builder.finish()
}

struct WireHistoryBuilder<'a, 'm> {
    style: Style,
    maker: &'m str,
    system: Vec<&'a str>,
    messages: Vec<WireMessage<'a>>,
    open: OpenReply<'a>,
    ids: CallIds,
    /// Index of the message of each call that has no result yet.
    places: HashMap<&'a CallId, usize>,
    /// Number of open `send_message` calls: their messages are in their arguments already.
    sending: usize,
}

/// The reply under construction.
#[derive(Default)]
struct OpenReply<'a> {
    texts: Vec<ReplyText<'a>>,
    /// The provider state of the reply, whichever model made it.
    kept: Option<&'a ProviderState>,
    /// Expected calls of the provider state, with their positions in the reply.
    expected: Vec<(usize, &'a ProviderCall)>,
    calls: Vec<WireCall<'a>>,
    has_results: bool,
}

/// A text of a reply.
enum ReplyText<'a> {
    /// The inner monologue in MemGPT style.
    Thought(&'a str),
    Message(&'a str),
}

impl<'a> WireHistoryBuilder<'a, '_> {
    fn push(&mut self, entry: &'a PromptEntry) {
        match entry {
            PromptEntry::Note(text) if is_blank(text) => {}
            PromptEntry::Note(text) if self.messages.is_empty() && self.open.is_empty() => {
                self.system.push(text);
            }
            PromptEntry::Note(text) => self.push_user(text),
            PromptEntry::User(text) => self.push_user(or_else(text, NO_TEXT)),
            // In native style, reasoning is not sent back as text, because providers do not expect
            // it.
            PromptEntry::Thought(text) => match self.style {
                Style::Native => {}
                Style::Memgpt => self.push_text(ReplyText::Thought(text)),
            },
            PromptEntry::Message(text) if text == NO_ANSWER => {}
            PromptEntry::Message(text) if self.sending == 0 => {
                self.push_text(ReplyText::Message(text));
            }
            PromptEntry::Message(_) => {}
            PromptEntry::ProviderState(kept) => {
                if !self.open.calls.is_empty() {
                    self.close();
                }
                self.open.kept = Some(kept);
                self.open.expected = kept.calls.iter().enumerate().collect();
            }
            PromptEntry::Called { call, name, args, provider_id } => {
                self.call(call, name, args, provider_id.as_deref());
            }
            PromptEntry::Returned { call, name, status, text } => {
                self.sending = self.sending.saturating_sub(usize::from(is_send_message(name)));
                self.take_result(call, *status, text);
            }
        }
    }

    fn push_user(&mut self, text: &'a str) {
        self.close();
        let text = Cow::Borrowed(text);
        match self.messages.last_mut() {
            Some(WireMessage::User(texts)) => texts.push(text),
            Some(WireMessage::Reply(_)) | None => self.messages.push(WireMessage::User(vec![text])),
        }
    }

    fn push_text(&mut self, said: ReplyText<'a>) {
        if !self.open.calls.is_empty() {
            self.close();
        }
        self.open.texts.push(said);
    }

    fn call(
        &mut self,
        call: &'a CallId,
        name: &str,
        args: &'a Map<String, Value>,
        provider_id: Option<&str>,
    ) {
        let kept = self.open.expect(provider_id);
        // A call after a result belongs to another reply, unless it is known to be of the same one.
        if kept.is_none() && self.open.has_results {
            self.close();
        }
        let is_own = self.open.kept.is_some_and(|kept| kept.made_by == self.maker);
        let id = self.ids.assign(call.as_str(), provider_id.filter(|_| is_own && kept.is_some()));
        self.sending += usize::from(is_send_message(name));
        self.places.insert(call, self.messages.len());
        // After a restart, calls that waited follow the others. The provider state has the original
        // order.
        let place = kept.map_or(usize::MAX, |(place, _)| place);
        let at = self.open.calls.iter().position(|other| other.place > place);
        let kept = kept.map(|(_, kept)| kept);
        self.open.calls.insert(
            at.unwrap_or(self.open.calls.len()),
            WireCall {
                ours: call,
                place,
                id,
                name: names::fit(name),
                args,
                signature: kept.filter(|_| is_own).and_then(|kept| kept.signature.as_deref()),
                result: Cow::Borrowed(NO_RESULT),
                status: ToolStatus::Error,
            },
        );
    }

    /// Adds a result to its call. A second result, or one without a call, is left out.
    fn take_result(&mut self, call: &'a CallId, status: ToolStatus, text: &'a str) {
        let Some(message) = self.places.remove(call) else { return };
        let calls = match self.messages.get_mut(message) {
            Some(WireMessage::Reply(reply)) => &mut reply.calls,
            Some(WireMessage::User(_)) => return,
            None => {
                self.open.has_results = true;
                &mut self.open.calls
            }
        };
        if let Some(call) = calls.iter_mut().rev().find(|other| other.ours == call) {
            let text = or_else(text, NO_OUTPUT);
            call.status = status;
            call.result = match status {
                ToolStatus::Success => Cow::Borrowed(text),
                ToolStatus::Error => Cow::Owned(format!("Error: {text}")),
                ToolStatus::Unknown => Cow::Owned(format!("Unknown outcome: {text}")),
            };
        }
    }

    /// Ends the reply under construction.
    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        let text = open.text();
        let OpenReply { kept, calls, .. } = open;
        if text.is_empty() && calls.is_empty() {
            return;
        }
        let kept = kept.filter(|kept| kept.made_by == self.maker);
        match self.messages.last_mut() {
            // Two texts in a row are joined, unless a result stands between them.
            Some(WireMessage::Reply(last)) if last.calls.is_empty() && calls.is_empty() => {
                last.text = format!("{}\n\n{text}", last.text);
            }
            // An answer follows the results of the calls before it.
            Some(WireMessage::User(_)) | Some(WireMessage::Reply(_)) | None => {
                self.messages.push(WireMessage::Reply(WireReply { kept, text, calls }));
            }
        }
    }

    fn finish(mut self) -> WireHistory<'a> {
        self.close();
        if !matches!(self.messages.first(), Some(WireMessage::User(_))) {
            self.messages.insert(0, WireMessage::User(vec![Cow::Borrowed(BEGINNING)]));
        }
        if let Some(WireMessage::Reply(last)) = self.messages.last()
            && last.calls.is_empty()
        {
            self.messages.push(WireMessage::User(vec![Cow::Borrowed(GO_ON)]));
        }
        WireHistory { system: self.system, messages: self.messages }
    }
}

impl<'a> OpenReply<'a> {
    fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.calls.is_empty()
    }

    /// Takes the expected call with this id.
    fn expect(&mut self, id: Option<&str>) -> Option<(usize, &'a ProviderCall)> {
        let id = id?;
        let at = self.expected.iter().position(|(_, kept)| kept.id == id)?;
        Some(self.expected.remove(at))
    }

    /// The reply's text as it is sent back. Empty if there is none.
    fn text(&self) -> String {
        // A turn in MemGPT style may end in a message that repeats its inner monologue.
        let has_message = self.texts.iter().any(|said| matches!(said, ReplyText::Message(_)));
        let texts = self.texts.iter().filter_map(|said| match said {
            ReplyText::Message(text) => Some(without_think(text)),
            ReplyText::Thought(_) if has_message && self.calls.is_empty() => None,
            // The log does not distinguish reasoning from inner monologue.
            ReplyText::Thought(text) => {
                Some(match self.kept.and_then(ProviderState::reasoning_text) {
                    Some(reasoning) => {
                        text.trim_start().strip_prefix(reasoning.trim()).unwrap_or(text)
                    }
                    None => text,
                })
            }
        });
        let texts: Vec<&str> = texts.filter(|text| !is_blank(text)).collect();
        texts.join("\n\n")
    }
}

fn is_send_message(name: &str) -> bool {
    BuiltInTool::named(name) == Some(BuiltInTool::SendMessage)
}
