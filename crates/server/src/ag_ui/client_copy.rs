//! A client's copy of a thread, as the messages of its request tell.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use thoughtwire_proto::Seq;

use super::AgUiResult;
use super::event::SnapshotMessage;
use super::ids::{self, TurnCall};
use super::wire::{AgUiMessage, AgUiRole};
use crate::endpoint::RequestMessage;

/// A client's messages and calls that this server has made. They are not sent to it again.
#[derive(Debug, Default)]
pub(super) struct ClientCopy {
    /// Texts by the ids of their messages.
    texts: HashMap<String, String>,
    calls: HashSet<String>,
    /// Calls that have a result.
    answered: HashSet<String>,
    /// Position before that of the turn of the last message.
    last: Option<Seq>,
}

/// A client's result of a call of this server.
#[derive(Debug)]
pub(super) struct ClientCallResult {
    pub(super) call: TurnCall,
    pub(super) text: String,
    /// The result in the client's own form, if it is not a text alone.
    pub(super) parts: Option<Value>,
    pub(super) is_error: bool,
}

/// The messages of a request, sorted.
#[derive(Debug, Default)]
pub(super) struct SortedMessages {
    pub(super) copy: ClientCopy,
    /// The conversation. Where it has messages of this server's turns, older ones are not new.
    pub(super) messages: Vec<RequestMessage>,
    /// Results that the client made of this server's calls.
    pub(super) results: Vec<ClientCallResult>,
    /// Type of a part of the newest messages that is no text.
    pub(super) other_part: Option<String>,
}

impl SortedMessages {
    /// Sorts the messages of a request.
    pub(super) fn new(messages: &[AgUiMessage]) -> AgUiResult<Self> {
        let mut sorted = Self::default();
        for message in messages {
            sorted.take(message)?;
        }
        let newest = messages.iter().rev().take_while(|message| message.role == AgUiRole::User);
        sorted.other_part = newest.filter_map(AgUiMessage::other_part).next().map(str::to_owned);
        Ok(sorted)
    }

    fn take(&mut self, message: &AgUiMessage) -> AgUiResult<()> {
        let text = message.text()?;
        let turn = ids::turn_of(&message.id);
        self.copy.last = turn.or(self.copy.last);
        let is_ours = turn.is_some();
        match message.role {
            AgUiRole::Developer | AgUiRole::System => {
                self.messages.push(RequestMessage::Instructions(text));
            }
            AgUiRole::User => {
                self.messages.push(RequestMessage::User(text));
                if is_ours {
                    self.pass();
                }
            }
            AgUiRole::Assistant => {
                if is_ours {
                    self.copy.texts.insert(message.id.clone(), text.clone());
                }
                self.messages.push(RequestMessage::Assistant(text));
                for call in message.tool_calls.iter().flatten() {
                    let (id, name) = (call.id.clone(), call.function.name.clone());
                    self.copy.calls.insert(id.clone());
                    let arguments = call.function.arguments.clone();
                    self.messages.push(RequestMessage::Call { id, name, arguments });
                }
            }
            AgUiRole::Tool => {
                let id = message.tool_call_id.clone().unwrap_or_default();
                self.copy.answered.insert(id.clone());
                if is_ours {
                    self.pass();
                } else {
                    let is_error = message.error.is_some();
                    let text = match &message.error {
                        Some(error) if text.is_empty() => error.clone(),
                        Some(error) => format!("{error}\n{text}"),
                        None => text,
                    };
                    if let Some(call) = TurnCall::read(&id) {
                        let (text, parts) = (text.clone(), message.parts());
                        self.results.push(ClientCallResult { call, text, parts, is_error });
                    }
                    self.messages.push(RequestMessage::Result { id, text });
                }
            }
            AgUiRole::Reasoning => {
                if is_ours {
                    self.copy.texts.insert(message.id.clone(), text);
                    self.pass();
                }
            }
            AgUiRole::Activity => {}
        }
        Ok(())
    }

    /// Marks that what came before is not new.
    fn pass(&mut self) {
        self.messages.push(RequestMessage::Assistant(String::new()));
    }
}

impl ClientCopy {
    /// The copy of a client that has got a snapshot.
    pub(super) fn of_snapshot(messages: &[SnapshotMessage]) -> Self {
        let mut copy = Self::default();
        for message in messages {
            match message {
                SnapshotMessage::User { .. } => {}
                SnapshotMessage::Assistant { id, content, tool_calls } => {
                    copy.texts.insert(id.clone(), content.clone().unwrap_or_default());
                    copy.calls.extend(tool_calls.iter().map(|call| call.id.clone()));
                }
                SnapshotMessage::Reasoning { id, content } => {
                    copy.texts.insert(id.clone(), content.clone());
                }
                SnapshotMessage::Tool { tool_call_id, .. } => {
                    copy.answered.insert(tool_call_id.clone());
                }
            }
        }
        copy
    }

    /// Takes the text that the client has of a message.
    pub(super) fn take_text(&mut self, message: &str) -> String {
        self.texts.remove(message).unwrap_or_default()
    }

    pub(super) fn has_call(&self, call: &str) -> bool {
        self.calls.contains(call)
    }

    pub(super) fn has_result(&self, call: &str) -> bool {
        self.answered.contains(call)
    }

    /// Position before that of the input of the turn of the last message.
    pub(super) fn last_turn(&self) -> Option<Seq> {
        self.last
    }
}
