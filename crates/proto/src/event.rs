//! Events: the facts of a session, and what streams between them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{AgentId, CallId, ItemId, Seq, SessionId, Timestamp, TurnId};

/// A fact that happened in a session. Its serde form is the storage format, frozen by vectors.
///
/// ```
/// use thoughtwire_proto::Event;
/// let event: Event = serde_json::from_str(r#"{"kind":"session_renamed","title":"Tea"}"#)?;
/// assert_eq!(event.kind(), "session_renamed");
/// // A kind from a newer server is kept and passed on.
/// let newer: Event = serde_json::from_str(r#"{"kind":"dreamt","of":"sheep"}"#)?;
/// assert_eq!(serde_json::to_string(&newer)?, r#"{"kind":"dreamt","of":"sheep"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// The first event of every session.
    SessionOpened {
        /// The agent this session talks to.
        agent: AgentId,
        /// What this session adds to the agent's persona.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instructions: Option<String>,
        /// Words from before the session, given by the client.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<Vec<HistoryEntry>>"))]
        history: Vec<HistoryEntry>,
    },
    /// The session has a new title.
    SessionRenamed {
        /// The title from now on.
        title: String,
    },
    /// The session has new instructions.
    InstructionsChanged {
        /// The instructions from now on; empty takes them away.
        instructions: String,
    },
    /// Somebody said something to the agent.
    UserMessage {
        /// The input's id.
        item: ItemId,
        /// What was said.
        text: String,
        /// References to files that came along.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<Vec<String>>"))]
        attachments: Vec<String>,
        /// Which client said it, by the name it gave itself or its dialect's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// A queued input was taken back before its turn.
    InputWithdrawn {
        /// The input that will not be run.
        input: ItemId,
    },
    /// A turn began.
    TurnStarted {
        /// The input it runs.
        input: ItemId,
    },
    /// The agent thought something.
    Thought {
        /// The thought's id.
        item: ItemId,
        /// The words; never empty.
        text: String,
        /// False when the turn ended in the middle of it.
        complete: bool,
    },
    /// The agent called a tool. On disk before the tool runs.
    ToolCalled {
        /// The call's id.
        call: CallId,
        /// The tool.
        name: String,
        /// The arguments, as an object.
        args: Map<String, Value>,
    },
    /// A call waits for its owner's leave.
    ApprovalAsked {
        /// The call that waits.
        call: CallId,
        /// The tool, so that the record stands by itself.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<String>"))]
        name: String,
        /// When the question lapses into a no.
        expires_at: Timestamp,
    },
    /// The question was answered, or lapsed.
    ApprovalSettled {
        /// The call that waited.
        call: CallId,
        /// How it was settled.
        decision: Decision,
        /// Who settled it, when somebody did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A call waits for a client of the session to run it; only now may one.
    ToolAwaited {
        /// The call that waits.
        call: CallId,
        /// When waiting ends, and the call comes back as an error.
        expires_at: Timestamp,
    },
    /// A call came back.
    ToolReturned {
        /// The call.
        call: CallId,
        /// The tool, so that the record stands by itself.
        name: String,
        /// Whether it worked.
        status: ToolStatus,
        /// The result or the error, as text.
        text: String,
        /// The result in richer form, where the tool has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Value>,
    },
    /// The agent said something.
    Message {
        /// The message's id.
        item: ItemId,
        /// The words; never empty.
        text: String,
        /// False when the turn ended in the middle of it.
        complete: bool,
    },
    /// What the turn's model calls cost.
    Usage(Usage),
    /// A memory block changed.
    MemoryEdited {
        /// The block's label.
        block: String,
        /// Its text before.
        before: String,
        /// Its text now.
        after: String,
        /// `agent` or `owner`.
        by: String,
    },
    /// The oldest part of the context was summarised.
    Compacted {
        /// The summary that stands for it.
        summary: String,
        /// The last position it covers.
        through: Seq,
    },
    /// A turn ended; exactly once for each that started.
    TurnEnded {
        /// The input it ran.
        input: ItemId,
        /// How it ended.
        outcome: Outcome,
        /// A stable word for the cause, when it did not complete.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// The cause in a sentence.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A kind that this version does not know; kept as it came.
    #[serde(untagged)]
    #[cfg_attr(feature = "schema", schemars(skip), ts(skip))]
    Other(OtherEvent),
}

impl Event {
    /// The event's kind as written in its `kind` key.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::SessionOpened { .. } => "session_opened",
            Self::SessionRenamed { .. } => "session_renamed",
            Self::InstructionsChanged { .. } => "instructions_changed",
            Self::UserMessage { .. } => "user_message",
            Self::InputWithdrawn { .. } => "input_withdrawn",
            Self::TurnStarted { .. } => "turn_started",
            Self::Thought { .. } => "thought",
            Self::ToolCalled { .. } => "tool_called",
            Self::ApprovalAsked { .. } => "approval_asked",
            Self::ApprovalSettled { .. } => "approval_settled",
            Self::ToolAwaited { .. } => "tool_awaited",
            Self::ToolReturned { .. } => "tool_returned",
            Self::Message { .. } => "message",
            Self::Usage(_) => "usage",
            Self::MemoryEdited { .. } => "memory_edited",
            Self::Compacted { .. } => "compacted",
            Self::TurnEnded { .. } => "turn_ended",
            Self::Other(other) => &other.kind,
        }
    }
}

impl Event {
    /// The words, when the event is something that was said: to the agent or by it.
    #[must_use]
    pub fn said(&self) -> Option<(Role, &str)> {
        match self {
            Self::UserMessage { text, .. } => Some((Role::User, text)),
            Self::Message { text, .. } => Some((Role::Assistant, text)),
            Self::SessionOpened { .. }
            | Self::SessionRenamed { .. }
            | Self::InstructionsChanged { .. }
            | Self::InputWithdrawn { .. }
            | Self::TurnStarted { .. }
            | Self::Thought { .. }
            | Self::ToolCalled { .. }
            | Self::ApprovalAsked { .. }
            | Self::ApprovalSettled { .. }
            | Self::ToolAwaited { .. }
            | Self::ToolReturned { .. }
            | Self::Usage(_)
            | Self::MemoryEdited { .. }
            | Self::Compacted { .. }
            | Self::TurnEnded { .. }
            | Self::Other(_) => None,
        }
    }
}

/// The kinds that this version knows; an [`OtherEvent`] is never one of them.
pub const KNOWN_KINDS: [&str; 17] = [
    "session_opened",
    "session_renamed",
    "instructions_changed",
    "user_message",
    "input_withdrawn",
    "turn_started",
    "thought",
    "tool_called",
    "approval_asked",
    "approval_settled",
    "tool_awaited",
    "tool_returned",
    "message",
    "usage",
    "memory_edited",
    "compacted",
    "turn_ended",
];

/// An event of a kind that this version does not know.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OtherEvent {
    kind: String,
    #[serde(flatten)]
    body: Map<String, Value>,
}

impl<'de> Deserialize<'de> for OtherEvent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut body = Map::deserialize(deserializer)?;
        match body.shift_remove("kind") {
            // A known kind lands here only when its keys are wrong.
            Some(Value::String(kind)) if !KNOWN_KINDS.contains(&kind.as_str()) => {
                Ok(Self { kind, body })
            }
            Some(Value::String(kind)) => Err(serde::de::Error::custom(format_args!(
                "an event of kind {kind:?} lacks a key or has one of a wrong type"
            ))),
            _ => Err(serde::de::Error::custom("an event needs a `kind`")),
        }
    }
}

/// Words from before a session.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Who spoke.
    pub role: Role,
    /// The words.
    pub text: String,
}

/// Who spoke in a [`HistoryEntry`].
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person.
    User,
    /// The agent.
    Assistant,
}

/// How an approval was settled.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The call may run.
    Approved,
    /// It may not.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// Its turn ended first.
    Void,
}

/// Whether a call worked.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    /// It did.
    Success,
    /// It did not; the text says why.
    Error,
}

/// How a turn ended.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The agent finished.
    Completed,
    /// Somebody cancelled it, or a new input interrupted it.
    Cancelled,
    /// It could not go on; code and reason say why.
    Failed,
    /// The server stopped in the middle; written at the next start.
    Interrupted,
}

/// Tokens of a turn's model calls.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read by the model.
    pub input_tokens: u64,
    /// Tokens written by it.
    pub output_tokens: u64,
    /// How many of the input came from the provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
}

impl Usage {
    /// Whether nothing was spent.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What was spent since a time when this much had been.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_sub(before.input_tokens),
            output_tokens: self.output_tokens.saturating_sub(before.output_tokens),
            cached_tokens: self
                .cached_tokens
                .map(|cached| cached.saturating_sub(before.cached_tokens.unwrap_or(0))),
        }
    }

    /// Adds what more was spent.
    pub fn add(&mut self, more: Self) {
        self.input_tokens = self.input_tokens.saturating_add(more.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(more.output_tokens);
        if let Some(cached) = more.cached_tokens {
            self.cached_tokens = Some(self.cached_tokens.unwrap_or(0).saturating_add(cached));
        }
    }
}

/// An event at its position in a session's log.
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema, ts_rs::TS),
    ts(optional_fields, rename = "LogRecord")
)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its position.
    pub seq: Seq,
    /// When it was accepted.
    pub at: Timestamp,
    /// The turn it belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnId>,
    /// What happened.
    pub event: Event,
}

/// What kind of item a delta or partial belongs to.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// A thought's words.
    Thought,
    /// A message's words.
    Message,
    /// The JSON text of a call's arguments.
    ToolArgs,
}

/// A streaming piece of an open item; no seq, never stored, superseded by the item's event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The turn.
    pub turn: TurnId,
    /// The open item; for arguments, the call's id.
    pub item: ItemId,
    /// Counted per item, from 0.
    pub n: u64,
    /// What kind of item.
    pub kind: StreamKind,
    /// The piece.
    pub text: String,
}

/// An open item's text so far. It replaces what a client has of the item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// The turn.
    pub turn: TurnId,
    /// The open item.
    pub item: ItemId,
    /// How many deltas are in `text`: the next delta's `n`.
    pub n: u64,
    /// What kind of item.
    pub kind: StreamKind,
    /// All of its text so far.
    pub text: String,
}

/// What a subscriber of a session can be shown, in emission order.
#[derive(Debug, Clone, PartialEq)]
pub enum Emission {
    /// A committed event.
    Record(Record),
    /// A piece of an open item.
    Delta(Delta),
    /// An open item's text so far.
    Partial(Partial),
    /// What the agent is about, for people; never stored.
    Status {
        /// The turn, when it is about one.
        turn: Option<TurnId>,
        /// The words.
        text: String,
    },
    /// How many clients are attached.
    Presence {
        /// Their number.
        clients: u64,
    },
}

/// Which session an emission is of, for encoders.
#[derive(Debug, Clone, PartialEq)]
pub struct Emitted {
    /// The session.
    pub session: SessionId,
    /// What to show.
    pub emission: Emission,
}
