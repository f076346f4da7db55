//! The prompt: the input of a model in one step.

use std::sync::Arc;

use serde_json::{Map, Value};
use thoughtwire_proto::{CallId, Style, ToolStatus};
use thoughtwire_store::Block;

use crate::ToolSpec;
use crate::model::ProviderState;

/// The input of a model.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// The purpose.
    pub purpose: Purpose,
    /// The agent's style.
    pub style: Style,
    /// The instructions, which contain the core memory.
    pub system: String,
    /// The core memory blocks.
    pub blocks: Arc<[Block]>,
    /// The conversation, oldest first.
    pub chat: Vec<Arc<PromptEntry>>,
    /// Index in `chat` at which the running turn begins.
    pub turn_from: usize,
    /// The tools that may be called.
    pub tools: Vec<Arc<ToolSpec>>,
    /// Largest number of tokens of the reply.
    pub max_output_tokens: Option<u32>,
    /// Largest number of tokens of prompt and reply together, for providers that need it.
    pub context_window: Option<usize>,
}

/// Purpose of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A step of a turn.
    Turn,
    /// A summary of the conversation for later prompts.
    Summary,
}

/// The message of a turn that would end without one. It is not sent back to models.
pub(crate) const NO_ANSWER: &str =
    "(The model ended its turn without an answer. Ask again, or choose another model.)";

/// An entry of a conversation, as in the session's log.
#[derive(Debug, Clone, PartialEq)]
pub enum PromptEntry {
    /// A note to the model that is not part of the conversation, such as a summary.
    Note(String),
    /// A message of the person.
    User(String),
    /// A thought of the agent.
    Thought(String),
    /// A message of the agent.
    Message(String),
    /// State that the provider wants back with the following calls.
    ProviderState(ProviderState),
    /// A tool call.
    Called {
        /// The call.
        call: CallId,
        /// The tool.
        name: String,
        /// The arguments.
        args: Map<String, Value>,
        /// The provider's own id for the call.
        provider_id: Option<String>,
    },
    /// The result of a tool call.
    Returned {
        /// The call.
        call: CallId,
        /// The tool.
        name: String,
        /// Whether it succeeded.
        status: ToolStatus,
        /// The result or the error.
        text: String,
    },
}

impl PromptEntry {
    /// The provider state of a reply's calls.
    pub(crate) fn provider_state(&self) -> Option<&ProviderState> {
        match self {
            Self::ProviderState(kept) => Some(kept),
            Self::Note(_) | Self::User(_) | Self::Thought(_) | Self::Message(_) => None,
            Self::Called { .. } | Self::Returned { .. } => None,
        }
    }

    /// Approximate number of tokens: a quarter of the bytes, plus a few for the frame.
    pub(crate) fn tokens(&self) -> usize {
        let bytes = match self {
            Self::Note(text) | Self::User(text) | Self::Thought(text) | Self::Message(text) => {
                text.len()
            }
            Self::ProviderState(kept) => kept.bytes(),
            Self::Called { name, args, .. } => {
                name.len()
                    + args
                        .iter()
                        .map(|(key, value)| key.len() + value.as_str().map_or(8, str::len))
                        .sum::<usize>()
            }
            Self::Returned { name, text, .. } => name.len() + text.len(),
        };
        bytes / 4 + 4
    }
}

impl Prompt {
    /// Approximate number of tokens, for models without a provider's count.
    #[must_use]
    pub fn tokens(&self) -> usize {
        overhead(&self.system, &self.tools)
            + self.chat.iter().map(|entry| entry.tokens()).sum::<usize>()
    }
}

/// Approximate number of tokens of a prompt without its conversation.
pub(crate) fn overhead(system: &str, tools: &[Arc<ToolSpec>]) -> usize {
    let described: usize = tools.iter().map(|tool| tool.size()).sum();
    (system.len() + described) / 4
}

/// The parts of the system text.
pub(crate) struct SystemPrompt<'a> {
    pub(crate) name: &'a str,
    pub(crate) style: Style,
    pub(crate) instructions: Option<&'a str>,
    pub(crate) blocks: &'a [Block],
}

impl SystemPrompt<'_> {
    /// Composes the system text.
    pub(crate) fn write(&self) -> String {
        let mut text = format!(
            "You are {}, a lasting character: one long life in many conversations, not a fresh \
             start in each. Be who your `persona` block says you are, and talk to the person as \
             somebody you know.\n\n",
            self.name
        );
        text.push_str(match self.style {
            Style::Native => SPEAKING_PLAINLY,
            Style::Memgpt => SPEAKING_BY_TOOL,
        });
        text.push_str(MEMORY);
        for block in self.blocks {
            let used = block.text.chars().count();
            let Block { label, text: words, limit, description } = block;
            text.push_str(&format!(
                "\n<{label} about=\"{description}\" characters=\"{used} of \
            {limit}\">\n{words}\n</{label}>\n"
            ));
        }
        if let Some(instructions) =
            self.instructions.filter(|instructions| !instructions.trim().is_empty())
        {
            text.push_str(&format!(
                "\nFor this conversation you were asked to keep to this:\n{instructions}\n"
            ));
        }
        // The text must not change from one request to the next, for example with the time, because
        // providers cache prompts by their beginning.
        text
    }
}

const SPEAKING_PLAINLY: &str = "\
What you write is what the person reads. Call tools whenever they help; you see each result and \
go on from it. When you have what you need, answer.\n\n";

const SPEAKING_BY_TOOL: &str = "\
What you write is your inner monologue, a few short words that nobody else reads. The person \
hears only what you pass to `send_message`: if you do not call it, you stay silent to them. After \
a call your turn is over, unless you set `request_heartbeat` to true in its arguments: then you \
see the result and go on. A call that failed always comes back to you.\n\n";

const MEMORY: &str = "\
You have three kinds of memory. Core memory is the blocks below: small, always before your eyes, \
shared by all your conversations. Keep it true and short with `core_memory_append` and \
`core_memory_replace`, at once when you learn something worth knowing about the person or \
yourself. Recall memory is everything that was ever said to you or by you: look there with \
`conversation_search` and `conversation_search_date` before you say that you do not know. \
Archival memory is your notebook without end: `archival_memory_insert` writes to it, \
`archival_memory_search` reads. You have no sense of time: ask `current_time` before you speak of \
today, of the hour or of how long ago something was.\n";
