//! Stub until the encoder is merged.
use serde_json::{Value, json};

use super::Wire;
use crate::prompt::Prompt;

pub(crate) struct Encoded {
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Value,
}

impl Encoded {
    pub(crate) fn tool_name<'a>(&'a self, sent: &'a str) -> &'a str {
        sent
    }
    pub(crate) fn sent_name<'a>(&'a self, sent: &'a str) -> &'a str {
        sent
    }
}

pub(crate) fn encode(prompt: &Prompt, wire: Wire, model: &str, _maker: &str) -> Encoded {
    let path = match wire {
        Wire::OpenAi => "chat/completions".to_owned(),
        Wire::Responses => "responses".to_owned(),
        Wire::Anthropic => "messages".to_owned(),
        Wire::Gemini => format!("models/{model}:streamGenerateContent?alt=sse"),
        Wire::Ollama => "api/chat".to_owned(),
    };
    let messages: Vec<Value> = prompt
        .chat
        .iter()
        .map(|chat| json!({"role": "user", "content": format!("{chat:?}")}))
        .collect();
    let body =
        json!({"model": model, "messages": messages, "input": messages, "contents": messages});
    Encoded { path, headers: vec![], body }
}
