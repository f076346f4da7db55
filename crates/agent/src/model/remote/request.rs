//! A prompt as a request.

use std::collections::HashMap;

use genai::chat::{ChatMessage, ChatRequest, ContentPart, MessageContent, Tool, ToolCall, ToolResponse};
use serde_json::Value;
use thoughtwire_proto::{CallId, Style, ToolStatus};

use crate::prompt::{Chat, Prompt};
use crate::tool;

/// Writes a prompt as the library has it.
pub(super) fn write(prompt: &Prompt) -> ChatRequest {
    let tools = prompt
        .tools
        .iter()
        .map(|tool| Tool::new(tool.name.clone()).with_description(tool.description.clone()).with_schema(tool.schema.clone()));
    ChatRequest::new(messages(prompt)).with_system(prompt.system.clone()).with_tools(tools.collect::<Vec<_>>())
}

/// Groups what the agent thought, said and called between two others' words into one message.
fn messages(prompt: &Prompt) -> Vec<ChatMessage> {
    let mut messages = Vec::new();
    let mut said = Said::default();
    let mut sending = 0_usize;
    let mut ids: HashMap<&CallId, String> = HashMap::new();
    for entry in &prompt.chat {
        match entry {
            Chat::Note(text) => {
                said.close(&mut messages);
                messages.push(ChatMessage::system(text.as_str()));
            }
            Chat::User(text) => {
                said.close(&mut messages);
                messages.push(ChatMessage::user(text.as_str()));
            }
            // Natively reasoning is not sent back: providers do not expect it.
            Chat::Thought(text) => match prompt.style {
                Style::Native => {}
                Style::Memgpt => said.add(text, &mut messages),
            },
            // What a `send_message` call said stands in its arguments already.
            Chat::Message(text) if sending == 0 => said.add(text, &mut messages),
            Chat::Message(_) => {}
            Chat::Called { call, name, args, provider_id, carried } => {
                let carried = carried.as_ref().map(parts).unwrap_or_default();
                let id = provider_id.clone().unwrap_or_else(|| call.to_string());
                ids.insert(call, id.clone());
                sending += usize::from(tool::Tool::named(name) == Some(tool::Tool::SendMessage));
                for part in carried {
                    if let ContentPart::ToolCall(call) = part {
                        said.signatures.extend(call.thought_signatures.map(|signed| (call.call_id, signed)));
                    } else {
                        said.leading.push(part);
                    }
                }
                said.calls.push(ToolCall {
                    thought_signatures: said.signatures.remove(&id),
                    call_id: id,
                    fn_name: name.clone(),
                    fn_arguments: Value::Object(args.clone()),
                });
            }
            Chat::Returned { call, name, status, text } => {
                sending = sending.saturating_sub(usize::from(tool::Tool::named(name) == Some(tool::Tool::SendMessage)));
                said.close(&mut messages);
                let text = match status {
                    ToolStatus::Success => text.clone(),
                    ToolStatus::Error => format!("Error: {text}"),
                };
                messages.push(ChatMessage::from(ToolResponse::new(ids.remove(call).unwrap_or_else(|| call.to_string()), text)));
            }
        }
    }
    said.close(&mut messages);
    messages
}

/// One message of the agent, being gathered.
#[derive(Default)]
struct Said {
    text: String,
    calls: Vec<ToolCall>,
    /// Reasoning that its provider signed, in front of all else.
    leading: Vec<ContentPart>,
    /// Signatures of single calls, by the provider's id.
    signatures: HashMap<String, Vec<String>>,
}

impl Said {
    fn add(&mut self, text: &str, messages: &mut Vec<ChatMessage>) {
        if !self.text.is_empty() || !self.calls.is_empty() {
            self.close(messages);
        }
        self.text.push_str(text);
    }

    fn close(&mut self, messages: &mut Vec<ChatMessage>) {
        let said = std::mem::take(self);
        let mut content = MessageContent::default();
        for part in said.leading {
            content.push(part);
        }
        if !said.text.is_empty() {
            content.push(said.text);
        }
        for call in said.calls {
            content.push(call);
        }
        if !content.is_empty() {
            messages.push(ChatMessage::assistant(content));
        }
    }
}

/// What a reply carried for its provider; what cannot be read any more is left out.
fn parts(carried: &Value) -> Vec<ContentPart> {
    serde_json::from_value(carried.clone()).unwrap_or_default()
}
