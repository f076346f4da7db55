//! Encoding of requests: a prompt as the JSON body for one wire.
//!
//! [`history`] turns the conversation into messages that every provider accepts: alternating roles,
//! no blank text, and each call with one result. One module per wire encodes them.

mod anthropic;
mod claude;
mod effort;
mod gemini;
mod history;
mod ids;
mod memory;
mod names;
mod object;
mod ollama;
mod openai;
mod responses;
mod schema;
mod text;
mod tools;

use serde_json::Value;

use super::ProviderWire;
use crate::prompt::Prompt;

pub(crate) use memory::ProviderMemory;

/// A request to a provider, without its address and its key.
#[derive(Debug, Clone)]
pub(crate) struct EncodedRequest {
    /// Path relative to the provider's base address, with the query if there is one.
    pub(crate) path: String,
    /// Headers that the wire requires, without those that carry the key.
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    /// The JSON body.
    pub(crate) body: Value,
    names: names::ToolNames,
}

impl EncodedRequest {
    /// The tool's own name for a name that the model called. Some names are sent in another form.
    pub(crate) fn tool_name<'a>(&'a self, sent: &'a str) -> &'a str {
        self.names.original(sent)
    }

    /// The name under which a tool was sent.
    pub(crate) fn sent_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.names.sent(name)
    }
}

/// The input of each wire's encoder.
struct EncoderInput<'a> {
    prompt: &'a Prompt,
    model: &'a str,
    effort: Option<effort::Effort>,
    history: history::WireHistory<'a>,
    tools: Vec<tools::WireTool<'a>>,
    /// Whether the model has sent `reasoning_content` before.
    has_reasoned: bool,
}

/// Encodes a prompt as a request. `model` is the model's name as configured, including the effort
/// suffix. `maker` is the [`super::ProviderState::maker`] of that model.
pub(crate) fn encode(
    prompt: &Prompt,
    wire: ProviderWire,
    model: &str,
    maker: &str,
    memory: &ProviderMemory,
) -> EncodedRequest {
    let (model, effort) = effort::Effort::split(wire, model);
    let mut names = names::ToolNames::default();
    let (tools, left_out) = tools::fit(&prompt.tools, wire, &mut names);
    memory.warn(wire, &left_out);
    let history = history::fit(prompt, wire, maker);
    let has_reasoned = memory.has_reasoned(maker);
    let input = EncoderInput { prompt, model, effort, history, tools, has_reasoned };
    let (path, headers, body) = match wire {
        ProviderWire::OpenAi => ("chat/completions".to_owned(), vec![], openai::body(&input)),
        ProviderWire::Responses => ("responses".to_owned(), vec![], responses::body(&input)),
        ProviderWire::Anthropic => {
            let version = ("anthropic-version", "2023-06-01");
            ("messages".to_owned(), vec![version], anthropic::body(&input))
        }
        ProviderWire::Gemini => (gemini::path(model), vec![], gemini::body(&input)),
        ProviderWire::Ollama => ("api/chat".to_owned(), vec![], ollama::body(&input)),
    };
    EncodedRequest { path, headers, body, names }
}
