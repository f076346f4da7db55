//! A prompt, written as the library has it.

use std::collections::{HashMap, VecDeque};

use genai::chat::{
    ChatMessage, ChatOptions, ChatRequest, ChatRole, ContentPart, MessageContent, Tool, ToolCall,
    ToolResponse,
};
use serde_json::Value;
use thoughtwire_proto::{CallId, Style, ToolStatus};

use super::Wire;
use super::kept::{Kept, KeptCall};
use crate::prompt::{Chat, Prompt};
use crate::tool;

/// Stands where a provider wants the conversation to begin with the person, but it does not.
const BEGINNING: &str = "(The conversation goes on.)";

pub(super) fn options(prompt: &Prompt, wire: Wire, model: &str) -> ChatOptions {
    // With tool calls captured, their ids and indexes are right; without, ids collide.
    let mut options = ChatOptions::default().with_capture_usage(true).with_capture_tool_calls(true);
    if wire.asks_for_reasoning(model) {
        options = options.with_capture_reasoning_content(true);
    }
    match prompt.max_output_tokens.or_else(|| wire.default_output(model)) {
        Some(most) => options.with_max_tokens(most),
        None => options,
    }
}

pub(super) fn request(prompt: &Prompt, wire: Wire) -> ChatRequest {
    let tools = prompt.tools.iter().map(|tool| {
        Tool::new(tool.name.clone())
            .with_description(tool.description.clone())
            .with_schema(tool.schema.clone())
    });
    let mut writing = Writing::new(prompt.style, wire);
    for entry in &prompt.chat {
        writing.take(entry);
    }
    ChatRequest::new(writing.finish())
        .with_system(prompt.system.clone())
        .with_tools(tools.collect::<Vec<_>>())
}

/// Groups what the agent thought, said and called in one reply into one message, and what came back
/// from its calls into what follows it.
struct Writing<'a> {
    style: Style,
    wire: Wire,
    messages: Vec<ChatMessage>,
    thoughts: Vec<ContentPart>,
    text: String,
    calls: Vec<ToolCall>,
    results: Vec<ToolResponse>,
    /// The calls that were made together with those before.
    together: VecDeque<&'a KeptCall>,
    /// How many `send_message` calls are open: what they said stands in their arguments already.
    sending: usize,
    ids: HashMap<&'a CallId, String>,
}

impl<'a> Writing<'a> {
    fn new(style: Style, wire: Wire) -> Self {
        Self {
            style,
            wire,
            messages: Vec::new(),
            thoughts: Vec::new(),
            text: String::new(),
            calls: Vec::new(),
            results: Vec::new(),
            together: VecDeque::new(),
            sending: 0,
            ids: HashMap::new(),
        }
    }

    fn take(&mut self, entry: &'a Chat) {
        match entry {
            Chat::Note(text) => {
                self.close();
                self.messages.push(ChatMessage::system(text.as_str()));
            }
            Chat::User(text) => {
                self.close();
                self.messages.push(ChatMessage::user(text.as_str()));
            }
            // Natively reasoning is not sent back as words: providers do not expect it.
            Chat::Thought(text) => match self.style {
                Style::Native => {}
                Style::Memgpt => self.say(text),
            },
            Chat::Message(text) if self.sending == 0 => self.say(text),
            Chat::Message(_) => {}
            Chat::Kept(kept) => {
                if !self.calls.is_empty() {
                    self.close();
                }
                self.thoughts = parts(kept);
                self.together = kept.calls.iter().collect();
            }
            Chat::Called { call, name, args, provider_id } => {
                self.call(call, name, args.clone().into(), provider_id.as_deref())
            }
            Chat::Returned { call, name, status, text } => {
                self.sending = self.sending.saturating_sub(usize::from(sends(name)));
                let text = match status {
                    ToolStatus::Success => text.clone(),
                    ToolStatus::Error => format!("Error: {text}"),
                };
                let id = self.ids.remove(call).unwrap_or_else(|| call.to_string());
                self.results.push(ToolResponse::new(id, text).with_fn_name(name.clone()));
            }
        }
    }

    fn say(&mut self, text: &str) {
        if !self.text.is_empty() || !self.calls.is_empty() {
            self.close();
        }
        self.text.push_str(text);
    }

    fn call(&mut self, call: &'a CallId, name: &str, args: Value, provider_id: Option<&str>) {
        let id = provider_id.map_or_else(|| call.to_string(), str::to_owned);
        let kept = self.together.pop_front_if(|kept| kept.id == id);
        // A result stands between: this call belongs to another reply, unless that is known to be the same.
        if kept.is_none() && !self.results.is_empty() {
            self.close();
        }
        self.ids.insert(call, id.clone());
        self.sending += usize::from(sends(name));
        self.calls.push(ToolCall {
            call_id: id,
            fn_name: name.to_owned(),
            fn_arguments: args,
            thought_signatures: kept
                .and_then(|kept| kept.signature.clone())
                .map(|signature| vec![signature]),
        });
    }

    /// Ends the reply that is being gathered.
    fn close(&mut self) {
        self.together.clear();
        let (thoughts, text) = (std::mem::take(&mut self.thoughts), std::mem::take(&mut self.text));
        let mut content = MessageContent::default();
        if !text.is_empty() || !self.calls.is_empty() {
            content = MessageContent::from_parts(thoughts);
        }
        if !text.is_empty() {
            content.push(text);
        }
        for call in self.calls.drain(..) {
            content.push(call);
        }
        if !content.is_empty() {
            self.messages.push(ChatMessage::assistant(content));
        }
        let results = std::mem::take(&mut self.results);
        match self.wire {
            // The library writes one of a message's results here.
            Wire::Ollama => self.messages.extend(results.into_iter().map(ChatMessage::from)),
            // These want the results of calls that were made together in one message, or do not mind.
            Wire::OpenAi | Wire::Responses | Wire::Anthropic | Wire::Gemini
                if !results.is_empty() =>
            {
                self.messages.push(ChatMessage::from(results));
            }
            Wire::OpenAi | Wire::Responses | Wire::Anthropic | Wire::Gemini => {}
        }
    }

    fn finish(mut self) -> Vec<ChatMessage> {
        self.close();
        let first =
            self.messages.iter().position(|message| !matches!(message.role, ChatRole::System));
        match self.wire {
            Wire::Anthropic | Wire::Gemini => {
                let first = first.unwrap_or(self.messages.len());
                if !self
                    .messages
                    .get(first)
                    .is_some_and(|message| matches!(message.role, ChatRole::User))
                {
                    self.messages.insert(first, ChatMessage::user(BEGINNING));
                }
            }
            Wire::OpenAi | Wire::Responses | Wire::Ollama => {}
        }
        self.messages
    }
}

/// The kept thoughts as the library has them.
fn parts(kept: &Kept) -> Vec<ContentPart> {
    let mut parts = Vec::new();
    for thought in &kept.thoughts {
        let text = |key| thought.block.get(key).and_then(Value::as_str).map(str::to_owned);
        match (text("thinking"), text("signature")) {
            (Some(words), Some(signature)) => {
                parts.push(ContentPart::ThoughtSignature(signature));
                parts.push(ContentPart::ReasoningContent(words));
            }
            (Some(_) | None, Some(_) | None) => {
                parts.push(ContentPart::from_custom(thought.block.clone(), None))
            }
        }
    }
    parts.extend(
        kept.reasoning
            .iter()
            .map(|reasoning| ContentPart::ReasoningContent(reasoning.text.clone())),
    );
    parts
}

fn sends(name: &str) -> bool {
    tool::Tool::named(name) == Some(tool::Tool::SendMessage)
}
