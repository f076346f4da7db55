//! What a provider wants to see again.

use std::sync::Arc;

use genai::chat::{ContentPart, ToolCall};
use serde_json::Value;

/// What a provider wants to see again, unchanged, with the calls of a reply while their turn runs:
/// signed thoughts, and which calls were made together. Only the model that made it reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept(Arc<Marks>);

#[derive(Debug, PartialEq)]
struct Marks {
    thoughts: Vec<Mark>,
    calls: Vec<KeptCall>,
}

/// A thought as its provider wrote it.
#[derive(Debug, PartialEq)]
enum Mark {
    Signature(String),
    Words(String),
    /// Encrypted, or in a shape of the provider's own.
    Block(Value),
}

/// One of the calls, in the order in which they were made.
#[derive(Debug, PartialEq)]
pub(super) struct KeptCall {
    pub(super) id: String,
    pub(super) signatures: Option<Vec<String>>,
}

impl Kept {
    /// Keeps what a reply's parts say about its calls; none when there is nothing to keep.
    pub(super) fn new(
        parts: Vec<ContentPart>,
        reasoning: Option<String>,
        ids: Vec<String>,
    ) -> Option<Self> {
        let mut thoughts = Vec::new();
        let mut captured: Vec<ToolCall> = Vec::new();
        for part in parts {
            match part {
                ContentPart::ThoughtSignature(signature) => {
                    thoughts.push(Mark::Signature(signature))
                }
                ContentPart::ReasoningContent(words) => thoughts.push(Mark::Words(words)),
                ContentPart::Custom(custom) => thoughts.push(Mark::Block(custom.data)),
                ContentPart::ToolCall(call) => captured.push(call),
                ContentPart::Text(_) | ContentPart::Binary(_) | ContentPart::ToolResponse(_) => {}
            }
        }
        thoughts.extend(reasoning.map(Mark::Words));
        let mut captured = captured.into_iter();
        let signatures = ids.into_iter().map(|id| {
            let same = captured.next().filter(|call| call.call_id == id);
            KeptCall { id, signatures: same.and_then(|call| call.thought_signatures) }
        });
        let calls: Vec<KeptCall> = signatures.collect();
        let signed = !thoughts.is_empty() || calls.iter().any(|call| call.signatures.is_some());
        (!calls.is_empty() && (signed || calls.len() > 1))
            .then(|| Self(Arc::new(Marks { thoughts, calls })))
    }

    pub(super) fn calls(&self) -> &[KeptCall] {
        &self.0.calls
    }

    /// The thoughts as the library has them.
    pub(super) fn parts(&self) -> impl Iterator<Item = ContentPart> {
        self.0.thoughts.iter().map(|thought| match thought {
            Mark::Signature(signature) => ContentPart::ThoughtSignature(signature.clone()),
            Mark::Words(words) => ContentPart::ReasoningContent(words.clone()),
            Mark::Block(block) => ContentPart::from_custom(block.clone(), None),
        })
    }

    /// About how many bytes of a prompt it takes: words count, signatures stand for words.
    pub(crate) fn bytes(&self) -> usize {
        let of = |thought: &Mark| match thought {
            Mark::Signature(text) | Mark::Words(text) => text.len(),
            Mark::Block(_) => 0,
        };
        self.0.thoughts.iter().map(of).sum()
    }
}
