//! The past of a thread as messages.

use serde_json::{Map, Value};
use thoughtwire_proto::{
    CallId, Event, InputEvent, ItemId, Record, Role, Seq, SessionEvent, TurnEvent,
};

use super::event::{SnapshotCall, SnapshotFunction, SnapshotMessage};
use super::ids;
use crate::endpoint::is_shown;

/// Most records that a snapshot is made of; the newest ones are taken.
pub(super) const MOST_RECORDS: usize = 2_000;

/// Makes messages of records.
#[derive(Default)]
pub(super) struct SnapshotFold {
    messages: Vec<SnapshotMessage>,
    /// Inputs that wait for their turn, with the position before each.
    queue: Vec<(ItemId, Seq)>,
    /// Position before that of the running turn's input.
    before: Option<Seq>,
    /// Cut items, with the id of the message that goes on.
    cut: Vec<(ItemId, String)>,
}

impl SnapshotFold {
    pub(super) fn messages(records: &[Record]) -> Vec<SnapshotMessage> {
        let mut fold = Self::default();
        for record in records {
            fold.take(record);
        }
        fold.messages
    }

    fn take(&mut self, record: &Record) {
        match &record.event {
            Event::Session(SessionEvent::Opened { history, .. }) => {
                for (at, entry) in history.iter().enumerate() {
                    let (id, content) = (format!("history-{at}"), entry.text.clone());
                    self.messages.push(match entry.role {
                        Role::User => SnapshotMessage::User { id, content },
                        Role::Assistant => SnapshotMessage::Assistant {
                            id,
                            content: Some(content),
                            tool_calls: Vec::new(),
                        },
                    });
                }
            }
            Event::Input(InputEvent::UserMessage { item, text, .. }) => {
                let own = record.seq.previous();
                let before = match (&record.turn, self.before) {
                    // It joined the running turn.
                    (Some(_), Some(before)) => before,
                    (Some(_), None) => own,
                    (None, _) => {
                        self.queue.push((item.clone(), own));
                        own
                    }
                };
                let (id, content) = (ids::message(before, item), text.clone());
                self.messages.push(SnapshotMessage::User { id, content });
            }
            Event::Turn(event) => self.turn_event(event),
            Event::Session(_) | Event::Input(_) | Event::Other(_) => {}
        }
    }

    fn turn_event(&mut self, event: &TurnEvent) {
        if let TurnEvent::Started { input } = event {
            let at = self.queue.iter().position(|(item, _)| item == input);
            self.before = at.map(|at| self.queue.remove(at).1);
        }
        // A turn whose input is older than the records has no ids.
        let Some(before) = self.before else { return };
        match event {
            TurnEvent::Thought { item, text, complete, continues } => {
                self.text(before, item, text, *complete, continues.as_ref(), reasoning);
            }
            TurnEvent::Message { item, text, complete, continues } => {
                self.text(before, item, text, *complete, continues.as_ref(), assistant);
            }
            TurnEvent::ToolCalled { call, name, args } if is_shown(name) => {
                self.messages.push(called(before, call, name, args));
            }
            TurnEvent::ToolReturned { call, name, text, .. } if is_shown(name) => {
                self.messages.push(SnapshotMessage::Tool {
                    id: ids::result(before, call),
                    tool_call_id: ids::call(before, call),
                    content: text.clone(),
                });
            }
            TurnEvent::Ended { .. } => {
                self.before = None;
                self.cut.clear();
            }
            TurnEvent::Started { .. }
            | TurnEvent::Resumed { .. }
            | TurnEvent::ToolCalled { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ApprovalAsked { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::ToolReturned { .. }
            | TurnEvent::Usage(_) => {}
        }
    }

    fn text(
        &mut self,
        before: Seq,
        item: &ItemId,
        text: &str,
        is_complete: bool,
        continues: Option<&ItemId>,
        message: fn(String, String) -> SnapshotMessage,
    ) {
        let cut = self.cut.iter().position(|(cut, _)| Some(cut) == continues);
        let id = match cut.map(|at| self.cut.swap_remove(at)) {
            Some((_, id)) => {
                self.extend(&id, text);
                id
            }
            None => {
                let id = ids::message(before, item);
                self.messages.push(message(id.clone(), text.to_owned()));
                id
            }
        };
        if !is_complete {
            self.cut.push((item.clone(), id));
        }
    }

    fn extend(&mut self, message: &str, text: &str) {
        for known in self.messages.iter_mut().rev() {
            match known {
                SnapshotMessage::Reasoning { id, content } if id == message => {
                    content.push_str(text);
                    return;
                }
                SnapshotMessage::Assistant { id, content: Some(content), .. } if id == message => {
                    content.push_str(text);
                    return;
                }
                SnapshotMessage::User { .. }
                | SnapshotMessage::Assistant { .. }
                | SnapshotMessage::Reasoning { .. }
                | SnapshotMessage::Tool { .. } => {}
            }
        }
    }
}

fn reasoning(id: String, content: String) -> SnapshotMessage {
    SnapshotMessage::Reasoning { id, content }
}

fn assistant(id: String, content: String) -> SnapshotMessage {
    SnapshotMessage::Assistant { id, content: Some(content), tool_calls: Vec::new() }
}

fn called(before: Seq, call: &CallId, name: &str, args: &Map<String, Value>) -> SnapshotMessage {
    let id = ids::call(before, call);
    let function = SnapshotFunction {
        name: name.to_owned(),
        arguments: Value::Object(args.clone()).to_string(),
    };
    let tool_calls = vec![SnapshotCall { id: id.clone(), kind: "function", function }];
    SnapshotMessage::Assistant { id, content: None, tool_calls }
}
