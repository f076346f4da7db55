//! State of a reply that its provider wants back in later requests.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Prefix of ids that were made up for calls without an id. No provider uses it.
pub(super) const MADE_UP: &str = "~";
/// Key of reasoning that DeepSeek, Kimi and others require on every message with calls, once they
/// have sent any.
pub(super) const REASONING_CONTENT: &str = "reasoning_content";

/// Parts of a reply that its provider wants back unchanged: signed or encrypted thoughts, reasoning
/// text, and which calls were made together.
///
/// Only requests to the model that produced it may contain it.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProviderState {
    /// Model and endpoint that produced it; see [`ProviderState::maker`].
    pub made_by: String,
    /// Thoughts in the order of their arrival.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thoughts: Vec<ProviderThought>,
    /// Calls of the reply, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ProviderCall>,
    /// Reasoning that arrived as plain text beside the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<ProviderReasoning>,
    /// Gemini's `thoughtSignature` of the reply's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_signature: Option<String>,
}

/// A thought in its provider's own JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProviderThought {
    /// The block, item or part to send back: Anthropic's `thinking` and `redacted_thinking`
    /// blocks, `reasoning` items of the Responses API, Gemini's signed thought parts, and entries
    /// of `reasoning_details` in chat completions.
    pub block: Value,
    /// Number of the reply's calls that came before it.
    #[serde(default)]
    pub calls_before: usize,
    /// Whether the reply's text had begun before it.
    #[serde(default)]
    pub after_text: bool,
}

/// One of a reply's calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProviderCall {
    /// The call's `provider_id`.
    pub id: String,
    /// Gemini's `thoughtSignature` of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// Reasoning text and the key under which the endpoint sent it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProviderReasoning {
    /// `reasoning_content` or `reasoning` in chat completions, `thinking` of Ollama.
    pub key: String,
    /// The whole text; it may be empty.
    pub text: String,
}

impl ProviderState {
    /// Identifies the maker of a reply: the model as configured, and the endpoint without
    /// credentials.
    #[must_use]
    pub fn maker(provider: &str, model: &str, endpoint: &str) -> String {
        format!("{provider}/{model} at {endpoint}")
    }

    /// Whether the endpoint has the key `reasoning_content`.
    pub(super) fn has_reasoning_content(&self) -> bool {
        self.reasoning.as_ref().is_some_and(|reasoning| reasoning.key == REASONING_CONTENT)
    }

    /// The first reasoning, as plain text.
    pub(super) fn reasoning_text(&self) -> Option<&str> {
        let text = match (&self.reasoning, self.thoughts.first()) {
            (Some(reasoning), _) => reasoning.text.as_str(),
            (None, Some(thought)) => ["thinking", "text"]
                .iter()
                .find_map(|key| thought.block.get(key)?.as_str())
                .or_else(|| thought.block.pointer("/summary/0/text")?.as_str())?,
            (None, None) => return None,
        };
        Some(text).filter(|text| !text.trim().is_empty())
    }

    /// Whether a request would need none of it.
    pub(super) fn is_empty(&self) -> bool {
        self.thoughts.is_empty()
            && self.reasoning.is_none()
            && self.text_signature.is_none()
            && self.calls.is_empty()
    }

    /// Approximate number of bytes that it adds to a prompt: text and signatures count, encrypted
    /// blocks do not.
    pub(crate) fn bytes(&self) -> usize {
        let of = |thought: &ProviderThought| -> usize {
            ["thinking", "signature", "text"]
                .iter()
                .filter_map(|key| thought.block.get(key)?.as_str())
                .map(str::len)
                .sum()
        };
        self.thoughts.iter().map(of).sum::<usize>()
            + self.reasoning.as_ref().map_or(0, |reasoning| reasoning.text.len())
    }
}
