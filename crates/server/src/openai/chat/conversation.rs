//! Messages of a request, sorted: instructions, history, and what is new.

use std::collections::HashMap;

use thoughtwire_hub::ThreadSeed;
use thoughtwire_proto::{HistoryEntry, Role};

use super::wire::{ChatMessage, ChatRole};
use crate::openai::content::text_of;
use crate::openai::{OpenAiRefusal, OpenAiResult};

/// The messages of a request.
#[derive(Debug, Default)]
pub(super) struct ChatConversation {
    instructions: Vec<String>,
    /// Messages up to the last one of the assistant.
    history: Vec<HistoryEntry>,
    /// Texts of the user behind it.
    said: Vec<String>,
    /// Results of tools behind it.
    results: Vec<ToolResult>,
}

/// Result of a call, as a message of the role `tool` has it.
#[derive(Debug)]
pub(super) struct ToolResult {
    pub(super) id: String,
    /// Name of the tool, if the message with the call is among the messages.
    name: Option<String>,
    pub(super) text: String,
}

impl ToolResult {
    /// The result as a sentence, for a session that does not know the call.
    fn sentence(&self) -> String {
        format!("{} returned: {}", self.name.as_deref().unwrap_or("The tool"), self.text)
    }
}

impl ChatConversation {
    /// Sorts the messages.
    ///
    /// # Errors
    /// When one of them cannot be taken, or nothing in them is new.
    pub(super) fn new(messages: Vec<ChatMessage>) -> OpenAiResult<Self> {
        let mut conversation = Self::default();
        let last = messages.iter().rposition(|message| message.role == ChatRole::Assistant);
        let mut names = HashMap::new();
        for (at, message) in messages.into_iter().enumerate() {
            let is_past = last.is_some_and(|last| at <= last);
            let param = format!("messages[{at}]");
            let text = text_of(&message.content, &format!("{param}.content"))?;
            match message.role {
                ChatRole::System | ChatRole::Developer => conversation.instructions.push(text),
                ChatRole::User if is_past => conversation.remember(Role::User, text),
                ChatRole::User => conversation.said.push(text),
                ChatRole::Assistant => {
                    conversation.remember(Role::Assistant, text);
                    for call in message.tool_calls.unwrap_or_default() {
                        if is_past && last != Some(at) {
                            let called = call.function;
                            let text = format!("Called {}({}).", called.name, called.arguments);
                            conversation.remember(Role::Assistant, text);
                            names.insert(call.id, called.name);
                        } else {
                            names.insert(call.id, call.function.name);
                        }
                    }
                }
                ChatRole::Tool => {
                    let id = message.tool_call_id.ok_or_else(|| {
                        OpenAiRefusal::of_param(
                            &format!("{param}.tool_call_id"),
                            "a message of the role `tool` needs `tool_call_id`",
                        )
                    })?;
                    let result = ToolResult { name: names.get(&id).cloned(), id, text };
                    if is_past {
                        conversation.remember(Role::Assistant, result.sentence());
                    } else {
                        conversation.results.push(result);
                    }
                }
            }
        }
        if conversation.said.is_empty() && conversation.results.is_empty() {
            return Err(OpenAiRefusal::of_param(
                "messages",
                "the last message has to be the user's, or the result of a tool",
            ));
        }
        Ok(conversation)
    }

    fn remember(&mut self, role: Role, text: String) {
        if !text.trim().is_empty() {
            self.history.push(HistoryEntry { role, text });
        }
    }

    /// Results of tools that are new.
    pub(super) fn results(&self) -> &[ToolResult] {
        &self.results
    }

    /// New texts of the user.
    pub(super) fn said(&self) -> Option<String> {
        (!self.said.is_empty()).then(|| self.said.join("\n\n"))
    }

    /// The content of a new session, and the input behind it. Results of calls that the session
    /// does not know are told in words.
    pub(super) fn into_seed(self) -> (ThreadSeed, String) {
        let results = self.results.iter().map(ToolResult::sentence);
        let input: Vec<String> = results.chain(self.said).collect();
        let instructions = (!self.instructions.is_empty()).then(|| self.instructions.join("\n\n"));
        let seed = ThreadSeed { title: None, instructions, history: self.history };
        (seed, input.join("\n\n"))
    }
}
