//! The prompt: everything a model is told in one step.

use std::sync::Arc;

use serde_json::{Map, Value};
use thoughtwire_proto::{CallId, Style, ToolStatus};
use thoughtwire_store::Block;

use crate::ToolSpec;
use crate::model::Kept;

/// What a model is told.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// What it is for.
    pub purpose: Purpose,
    /// How the agent speaks.
    pub style: Style,
    /// The instructions, with the core memory written out in them.
    pub system: String,
    /// The core memory by itself.
    pub blocks: Arc<[Block]>,
    /// The conversation, oldest first.
    pub chat: Vec<Arc<Chat>>,
    /// Where in `chat` the running turn begins.
    pub turn_from: usize,
    /// What may be called.
    pub tools: Vec<Arc<ToolSpec>>,
    /// How many tokens the reply may have.
    pub max_output_tokens: Option<u32>,
    /// Number of tokens that prompt and reply may have together, for providers that want to be told.
    pub context_window: Option<usize>,
}

/// What a prompt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A step of a turn.
    Turn,
    /// A summary of what was said, for prompts to come.
    Summary,
}

/// The message that stands for one where a turn would end without any. No model is sent it back.
pub(crate) const NO_ANSWER: &str =
    "(The model ended its turn without an answer. Ask again, or choose another model.)";

/// One entry of a conversation, as the session's log has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Chat {
    /// What nobody said but the model should know, such as a summary.
    Note(String),
    /// The person said this.
    User(String),
    /// The agent thought this.
    Thought(String),
    /// The agent said this.
    Message(String),
    /// What the provider wants back with the calls that follow.
    Kept(Kept),
    /// The agent called a tool.
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
    /// A call came back.
    Returned {
        /// The call.
        call: CallId,
        /// The tool.
        name: String,
        /// Whether it worked.
        status: ToolStatus,
        /// The result or the error.
        text: String,
    },
}

impl Chat {
    /// What a provider wants back with a reply's calls, as it is kept on disk.
    pub(crate) fn kept_as_json(&self) -> Option<String> {
        match self {
            Self::Kept(kept) => serde_json::to_string(kept).ok(),
            Self::Note(_) | Self::User(_) | Self::Thought(_) | Self::Message(_) => None,
            Self::Called { .. } | Self::Returned { .. } => None,
        }
    }

    /// A rough count of tokens: four characters to each, and a few for the frame around it.
    pub(crate) fn tokens(&self) -> usize {
        let bytes = match self {
            Self::Note(text) | Self::User(text) | Self::Thought(text) | Self::Message(text) => {
                text.len()
            }
            Self::Kept(kept) => kept.bytes(),
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
    /// A rough count of the prompt's tokens, for models that are not told by a provider.
    #[must_use]
    pub fn tokens(&self) -> usize {
        overhead(&self.system, &self.tools)
            + self.chat.iter().map(|entry| entry.tokens()).sum::<usize>()
    }
}

/// A rough count of the tokens of a prompt without its conversation.
pub(crate) fn overhead(system: &str, tools: &[Arc<ToolSpec>]) -> usize {
    let described: usize = tools.iter().map(|tool| tool.size()).sum();
    (system.len() + described) / 4
}

/// What the system text is written from.
pub(crate) struct Brief<'a> {
    pub(crate) name: &'a str,
    pub(crate) style: Style,
    pub(crate) instructions: Option<&'a str>,
    pub(crate) blocks: &'a [Block],
}

impl Brief<'_> {
    /// Writes the system text.
    pub(crate) fn write(&self) -> String {
        let mut text = format!(
            "You are {}, a lasting character: one long life in many conversations, not a fresh start in each. \
             Be who your `persona` block says you are, and talk to the person as somebody you know.\n\n",
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
            text.push_str(&format!("\n<{label} about=\"{description}\" characters=\"{used} of {limit}\">\n{words}\n</{label}>\n"));
        }
        if let Some(instructions) =
            self.instructions.filter(|instructions| !instructions.trim().is_empty())
        {
            text.push_str(&format!(
                "\nFor this conversation you were asked to keep to this:\n{instructions}\n"
            ));
        }
        // Nothing here may change from one request to the next, such as the time: providers cache
        // prompts by their beginning.
        text
    }
}

const SPEAKING_PLAINLY: &str = "\
What you write is what the person reads. Call tools whenever they help; you see each result and go on from it. \
When you have what you need, answer.\n\n";

const SPEAKING_BY_TOOL: &str = "\
What you write is your inner monologue, a few short words that nobody else reads. The person hears only what you pass to \
`send_message`: if you do not call it, you stay silent to them. After a call your turn is over, unless you set \
`request_heartbeat` to true in its arguments: then you see the result and go on. A call that failed always comes back to you.\n\n";

const MEMORY: &str = "\
You have three kinds of memory. Core memory is the blocks below: small, always before your eyes, shared by all your \
conversations. Keep it true and short with `core_memory_append` and `core_memory_replace`, at once when you learn something \
worth knowing about the person or yourself. Recall memory is everything that was ever said to you or by you: look there with \
`conversation_search` and `conversation_search_date` before you say that you do not know. Archival memory is your notebook \
without end: `archival_memory_insert` writes to it, `archival_memory_search` reads. You have no sense of time: ask `current_time` before you \
speak of today, of the hour or of how long ago something was.\n";
