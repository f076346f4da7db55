//! The built-in tools, and their descriptions for models.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use thoughtwire_proto::{Permission, Replay, Style};

/// The argument that asks for another step after a call, in MemGPT style.
pub(crate) const HEARTBEAT: &str = "request_heartbeat";

/// Whether a value means yes: many models write a boolean as a word or a number.
pub(crate) fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::String(word) => {
            let word = word.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
            matches!(word.as_str(), "true" | "yes" | "y" | "t" | "on" | "1")
        }
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// A built-in tool. The first eight have the names and parameters that MemGPT gave them
/// (`memgpt/functions/function_sets` of `pymemgpt` 0.2 and 0.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltInTool {
    /// Sends a message to the person.
    SendMessage,
    /// Adds to a core memory block.
    CoreMemoryAppend,
    /// Changes or removes a part of a core memory block.
    CoreMemoryReplace,
    /// Searches all conversations by words.
    ConversationSearch,
    /// Searches all conversations by date.
    ConversationSearchDate,
    /// Writes a note.
    ArchivalMemoryInsert,
    /// Searches the notes.
    ArchivalMemorySearch,
    /// Suspends timed heartbeats.
    PauseHeartbeats,
    /// Does arithmetic.
    Calculator,
    /// Tells the time.
    CurrentTime,
    /// Reads a web page.
    FetchUrl,
}

/// Description of a tool for a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub schema: Value,
    /// Size of the description in bytes, calculated when first needed.
    size: OnceLock<usize>,
}

/// A parameter of a tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) kind: ParamKind,
    pub(crate) need: ParamNeed,
    pub(crate) about: &'static str,
}

/// Type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParamKind {
    Text,
    /// A non-negative integer.
    Whole,
}

/// Whether a parameter may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParamNeed {
    Required,
    Optional,
}

const fn text(name: &'static str, about: &'static str) -> Param {
    Param { name, kind: ParamKind::Text, need: ParamNeed::Required, about }
}

const BLOCK: Param = text("name", "The block's name, such as `human` or `persona`.");
const PAGE: Param = Param {
    name: "page",
    kind: ParamKind::Whole,
    need: ParamNeed::Optional,
    about: "Which page of the results, from 0; the first if left out.",
};

impl BuiltInTool {
    const ALL: [Self; 11] = [
        Self::SendMessage,
        Self::CoreMemoryAppend,
        Self::CoreMemoryReplace,
        Self::ConversationSearch,
        Self::ConversationSearchDate,
        Self::ArchivalMemoryInsert,
        Self::ArchivalMemorySearch,
        Self::PauseHeartbeats,
        Self::Calculator,
        Self::CurrentTime,
        Self::FetchUrl,
    ];

    /// The tools of a style. The native style needs no tool for messages.
    pub fn of(style: Style) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |tool| match style {
            Style::Native => !matches!(tool, Self::SendMessage | Self::PauseHeartbeats),
            Style::Memgpt => true,
        })
    }

    /// The tool with a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendMessage => "send_message",
            Self::CoreMemoryAppend => "core_memory_append",
            Self::CoreMemoryReplace => "core_memory_replace",
            Self::ConversationSearch => "conversation_search",
            Self::ConversationSearchDate => "conversation_search_date",
            Self::ArchivalMemoryInsert => "archival_memory_insert",
            Self::ArchivalMemorySearch => "archival_memory_search",
            Self::PauseHeartbeats => "pause_heartbeats",
            Self::Calculator => "calculator",
            Self::CurrentTime => "current_time",
            Self::FetchUrl => "fetch_url",
        }
    }

    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::SendMessage => {
                "Say something to the person. Nothing else that you write is heard."
            }
            Self::CoreMemoryAppend => "Add a line to a block of your core memory.",
            Self::CoreMemoryReplace => {
                "Change a part of a core memory block, or take it out by replacing it with an \
                 empty text."
            }
            Self::ConversationSearch => {
                "Look for words in everything that was said, in all your conversations."
            }
            Self::ConversationSearchDate => "Look up what was said between two days.",
            Self::ArchivalMemoryInsert => {
                "Write a note into archival memory. It should make sense to you when you find it \
                 by itself."
            }
            Self::ArchivalMemorySearch => "Look for words in the notes of your archival memory.",
            Self::PauseHeartbeats => {
                "Have no heartbeats by the clock for a while. People's messages still reach you."
            }
            Self::Calculator => "Work out an arithmetic expression, such as `(12 / 5 + 1) ^ 2`.",
            Self::CurrentTime => "Tell the date and time of now.",
            Self::FetchUrl => "Read a page of the web as text.",
        }
    }

    /// Its arguments, in the order in which they are shown.
    pub(crate) const fn params(self) -> &'static [Param] {
        match self {
            Self::SendMessage => const { &[text("message", "What to say.")] },
            Self::CoreMemoryAppend => const { &[BLOCK, text("content", "What to add.")] },
            Self::CoreMemoryReplace => {
                const {
                    &[
                        BLOCK,
                        text(
                            "old_content",
                            "The text to replace, exactly as it stands in the block.",
                        ),
                        text("new_content", "What stands there instead; may be empty."),
                    ]
                }
            }
            Self::ConversationSearch => const { &[text("query", "The words to look for."), PAGE] },
            Self::ConversationSearchDate => {
                const {
                    &[
                        text("start_date", "The first day, as YYYY-MM-DD."),
                        text("end_date", "The last day, as YYYY-MM-DD."),
                        PAGE,
                    ]
                }
            }
            Self::ArchivalMemoryInsert => const { &[text("content", "The note.")] },
            Self::ArchivalMemorySearch => {
                const { &[text("query", "The words to look for."), PAGE] }
            }
            Self::PauseHeartbeats => {
                const {
                    &[Param {
                        name: "minutes",
                        kind: ParamKind::Whole,
                        need: ParamNeed::Required,
                        about: "For how long, up to 360.",
                    }]
                }
            }
            Self::FetchUrl => {
                const { &[text("url", "The page's address, with http:// or https://.")] }
            }
            Self::Calculator => {
                const {
                    &[text(
                        "expression",
                        "Numbers with + - * / % ^, brackets, and functions such as sqrt.",
                    )]
                }
            }
            Self::CurrentTime => {
                const {
                    &[Param {
                        name: "timezone",
                        kind: ParamKind::Text,
                        need: ParamNeed::Optional,
                        about: "A zone's name, such as `Europe/Berlin`; here if left out.",
                    }]
                }
            }
        }
    }

    /// The default permission. A tool that connects to other machines is denied.
    pub(crate) const fn permission(self) -> Permission {
        match self {
            Self::FetchUrl => Permission::Deny,
            Self::SendMessage
            | Self::CoreMemoryAppend
            | Self::CoreMemoryReplace
            | Self::ConversationSearch
            | Self::ConversationSearchDate
            | Self::ArchivalMemoryInsert
            | Self::ArchivalMemorySearch
            | Self::PauseHeartbeats
            | Self::Calculator
            | Self::CurrentTime => Permission::Allow,
        }
    }

    /// Its replay class. A message, a memory edit and a note are stored once however often the call
    /// is made; the other tools only read.
    pub(crate) const fn replay(self) -> Replay {
        match self {
            Self::SendMessage
            | Self::CoreMemoryAppend
            | Self::CoreMemoryReplace
            | Self::ArchivalMemoryInsert
            | Self::ConversationSearch
            | Self::ConversationSearchDate
            | Self::ArchivalMemorySearch
            | Self::PauseHeartbeats
            | Self::Calculator
            | Self::CurrentTime
            | Self::FetchUrl => Replay::Safe,
        }
    }

    /// Whether it speaks or changes the agent's memory. Such calls of one step run in order.
    pub(crate) const fn keeps_order(self) -> bool {
        match self {
            Self::SendMessage
            | Self::CoreMemoryAppend
            | Self::CoreMemoryReplace
            | Self::ArchivalMemoryInsert => true,
            Self::ConversationSearch
            | Self::ConversationSearchDate
            | Self::ArchivalMemorySearch
            | Self::PauseHeartbeats
            | Self::Calculator
            | Self::CurrentTime
            | Self::FetchUrl => false,
        }
    }

    /// Whether a call can ask for another step, in MemGPT style.
    pub(crate) const fn has_heartbeat(self) -> bool {
        !matches!(self, Self::SendMessage | Self::PauseHeartbeats)
    }
}

/// The built-in tools of a style with their descriptions.
type BuiltInSpecs = OnceLock<Vec<(BuiltInTool, Arc<ToolSpec>)>>;

impl ToolSpec {
    pub(crate) fn new(name: String, description: String, schema: Value) -> Self {
        Self { name, description, schema, size: OnceLock::new() }
    }

    /// The built-in tools of a style. They are described once, because every step needs them.
    pub(crate) fn built_in(style: Style) -> &'static [(BuiltInTool, Arc<Self>)] {
        static NATIVE: BuiltInSpecs = BuiltInSpecs::new();
        static MEMGPT: BuiltInSpecs = BuiltInSpecs::new();
        let known = match style {
            Style::Native => &NATIVE,
            Style::Memgpt => &MEMGPT,
        };
        known.get_or_init(|| {
            BuiltInTool::of(style).map(|tool| (tool, Arc::new(Self::of(tool, style)))).collect()
        })
    }

    /// Approximate size of its description, in bytes.
    pub(crate) fn size(&self) -> usize {
        *self.size.get_or_init(|| {
            self.name.len() + self.description.len() + self.schema.to_string().len()
        })
    }

    /// Describes a built-in tool in a style.
    #[must_use]
    pub fn of(tool: BuiltInTool, style: Style) -> Self {
        let mut properties = serde_json::Map::new();
        let mut required = Vec::new();
        for param in tool.params() {
            let kind = match param.kind {
                ParamKind::Text => json!({"type": "string", "description": param.about}),
                ParamKind::Whole => {
                    json!({"type": "integer", "minimum": 0, "description": param.about})
                }
            };
            properties.insert(param.name.to_owned(), kind);
            if param.need == ParamNeed::Required {
                required.push(param.name);
            }
        }
        let schema = json!({"type": "object", "properties": properties, "required": required});
        let mut spec = Self::new(tool.name().to_owned(), tool.description().to_owned(), schema);
        if style == Style::Memgpt && tool.has_heartbeat() {
            spec.add_heartbeat();
        }
        spec
    }

    /// Adds the parameter that asks for another step after the call, in MemGPT style.
    pub(crate) fn add_heartbeat(&mut self) {
        let about = "True to see the result and go on; false to end your turn with this call.";
        let Value::Object(schema) = &mut self.schema else { return };
        if let Value::Object(properties) = schema.entry("properties").or_insert_with(|| json!({})) {
            properties
                .insert(HEARTBEAT.to_owned(), json!({"type": "boolean", "description": about}));
        }
        if let Value::Array(required) = schema.entry("required").or_insert_with(|| json!([])) {
            required.push(Value::String(HEARTBEAT.to_owned()));
        }
    }
}
