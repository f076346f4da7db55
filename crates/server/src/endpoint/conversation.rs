//! Messages of a request, sorted: instructions, history, and what is new.

use std::collections::HashMap;

use thoughtwire_hub::ThreadSeed;
use thoughtwire_proto::{HistoryEntry, Role};

/// One message of a request, in the order of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestMessage {
    /// A system's or developer's text.
    Instructions(String),
    User(String),
    Assistant(String),
    /// A call of the assistant.
    Call {
        id: String,
        name: String,
        arguments: String,
    },
    /// Result of a call.
    Result {
        id: String,
        text: String,
    },
}

/// The messages of a request.
#[derive(Debug, Default)]
pub(crate) struct RequestConversation {
    instructions: Vec<String>,
    /// Messages up to the last one of the assistant.
    history: Vec<HistoryEntry>,
    /// Texts of the user behind it.
    said: Vec<String>,
    /// Results of calls behind it.
    results: Vec<ToolResult>,
    /// Whether a text behind it is blank. It is left out.
    has_blank: bool,
}

/// Result of a call.
#[derive(Debug)]
pub(crate) struct ToolResult {
    pub(crate) id: String,
    /// Name of the tool, if the call is among the messages.
    name: Option<String>,
    pub(crate) text: String,
}

impl ToolResult {
    /// The result as a sentence, for a session that does not know the call.
    fn sentence(&self) -> String {
        format!("{} returned: {}", self.name.as_deref().unwrap_or("The tool"), self.text)
    }
}

impl RequestConversation {
    /// Sorts the messages.
    pub(crate) fn new(messages: Vec<RequestMessage>) -> Self {
        let mut conversation = Self::default();
        let is_assistants = |message: &RequestMessage| {
            matches!(message, RequestMessage::Assistant(_) | RequestMessage::Call { .. })
        };
        let last = messages.iter().rposition(is_assistants);
        let answered: Vec<String> = messages
            .iter()
            .skip(last.map_or(0, |last| last + 1))
            .filter_map(|message| match message {
                RequestMessage::Result { id, .. } => Some(id.clone()),
                RequestMessage::Instructions(_)
                | RequestMessage::User(_)
                | RequestMessage::Assistant(_)
                | RequestMessage::Call { .. } => None,
            })
            .collect();
        let mut names = HashMap::new();
        for (at, message) in messages.into_iter().enumerate() {
            let is_past = last.is_some_and(|last| at <= last);
            match message {
                RequestMessage::Instructions(text) => conversation.instructions.push(text),
                RequestMessage::User(text) if is_past => conversation.remember(Role::User, text),
                RequestMessage::User(text) if text.trim().is_empty() => {
                    conversation.has_blank = true;
                }
                RequestMessage::User(text) => conversation.said.push(text),
                RequestMessage::Assistant(text) => conversation.remember(Role::Assistant, text),
                RequestMessage::Call { id, name, arguments } => {
                    // A call whose result is new is told with it.
                    if !answered.contains(&id) {
                        let text = format!("Called {name}({arguments}).");
                        conversation.remember(Role::Assistant, text);
                    }
                    names.insert(id, name);
                }
                RequestMessage::Result { id, text } => {
                    let result = ToolResult { name: names.get(&id).cloned(), id, text };
                    if is_past {
                        conversation.remember(Role::Assistant, result.sentence());
                    } else {
                        conversation.results.push(result);
                    }
                }
            }
        }
        conversation
    }

    /// Whether something in the messages is new.
    pub(crate) fn has_news(&self) -> bool {
        !(self.said.is_empty() && self.results.is_empty())
    }

    /// Whether a new text of the user is blank.
    pub(crate) fn has_blank(&self) -> bool {
        self.has_blank
    }

    fn remember(&mut self, role: Role, text: String) {
        if !text.trim().is_empty() {
            self.history.push(HistoryEntry { role, text });
        }
    }

    /// Results of calls that are new.
    pub(crate) fn results(&self) -> &[ToolResult] {
        &self.results
    }

    /// New texts of the user.
    pub(crate) fn said(&self) -> Option<String> {
        (!self.said.is_empty()).then(|| self.said.join("\n\n"))
    }

    /// The content of a new session, and the input behind it. Results of calls that the session
    /// does not know are told in words.
    pub(crate) fn into_seed(self) -> (ThreadSeed, String) {
        let results = self.results.iter().map(ToolResult::sentence);
        let input: Vec<String> = results.chain(self.said).collect();
        let instructions = (!self.instructions.is_empty()).then(|| self.instructions.join("\n\n"));
        let seed = ThreadSeed { title: None, instructions, history: self.history };
        (seed, input.join("\n\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> RequestMessage {
        RequestMessage::User(text.to_owned())
    }

    #[test]
    fn what_follows_the_assistants_last_message_is_new_and_the_rest_is_history() {
        let call = |id: &str| RequestMessage::Call {
            id: id.to_owned(),
            name: "look".to_owned(),
            arguments: "{}".to_owned(),
        };
        let result = |id: &str, text: &str| RequestMessage::Result {
            id: id.to_owned(),
            text: text.to_owned(),
        };
        let conversation = RequestConversation::new(vec![
            RequestMessage::Instructions("Be brief.".to_owned()),
            user("one"),
            call("c-1"),
            result("c-1", "a door"),
            RequestMessage::Assistant("I see a door.".to_owned()),
            user("two"),
            call("c-2"),
            result("c-2", "a key"),
            user("three"),
        ]);
        let (seed, input) = conversation.into_seed();
        let history: Vec<&str> = seed.history.iter().map(|entry| entry.text.as_str()).collect();
        assert_eq!(seed.instructions.as_deref(), Some("Be brief."));
        assert_eq!(
            history,
            ["one", "Called look({}).", "look returned: a door", "I see a door.", "two"]
        );
        assert_eq!(input, "look returned: a key\n\nthree");
        let nothing_new = [vec![user("one"), call("c-1")], vec![user(" \n")], Vec::new()];
        for messages in nothing_new {
            assert!(!RequestConversation::new(messages).has_news());
        }
        let blank = RequestConversation::new(vec![user("one"), user("")]);
        assert_eq!(blank.said().as_deref(), Some("one"));
    }
}
