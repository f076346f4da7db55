//! Entries of a transcript.

use serde_json::{Map, Value};

use crate::{
    ApprovalAbout, CallId, Decision, Event, ItemId, Outcome, Seq, StreamKind, Timestamp,
    ToolStatus, TurnId,
};

/// One item in a transcript, in the order of the log. Its index never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct TranscriptEntry {
    /// Position of the event that created it.
    pub seq: Seq,
    /// Time of that event.
    pub at: Timestamp,
    /// Its turn; an input has one once it runs.
    pub turn: Option<TurnId>,
    /// The content.
    pub body: EntryBody,
}

/// Content of a [`TranscriptEntry`].
#[derive(Debug, Clone, PartialEq)]
pub enum EntryBody {
    /// A user sent an input.
    Input {
        /// Its id.
        item: ItemId,
        /// The text.
        text: String,
        /// References to files.
        attachments: Vec<String>,
        /// The client that sent it.
        from: Option<String>,
        /// The input's progress.
        status: InputStatus,
    },
    /// The agent had a thought.
    Thought {
        /// Its id; that of the first item if others continue it.
        item: ItemId,
        /// The text.
        text: String,
        /// False if the thought was cut and nothing has continued it.
        complete: bool,
        /// Positions in the text, in bytes, at which it was cut and continued. 0 if the transcript
        /// begins after the text that this one continues.
        seams: Vec<usize>,
    },
    /// The agent sent a message.
    Message {
        /// Its id; that of the first item if others continue it.
        item: ItemId,
        /// The text.
        text: String,
        /// False if the message was cut and nothing has continued it.
        complete: bool,
        /// Positions in the text, in bytes, at which it was cut and continued. 0 if the transcript
        /// begins after the text that this one continues.
        seams: Vec<usize>,
    },
    /// The agent called a tool.
    Call(ToolCallEntry),
    /// A turn ended.
    Ended {
        /// The input that it ran on.
        input: ItemId,
        /// How it ended.
        outcome: Outcome,
        /// The cause for programs, if it did not complete.
        code: Option<String>,
        /// The cause as a sentence.
        reason: Option<String>,
    },
    /// Any other event.
    Fact(Event),
}

/// Progress of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputStatus {
    /// It is queued.
    Waits,
    /// Its turn runs, or it joined a running turn.
    Runs,
    /// Its turn ended.
    Ended(Outcome),
    /// It was withdrawn.
    Withdrawn,
}

/// A tool call, from its request to its result.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCallEntry {
    /// Its id.
    pub call: CallId,
    /// The tool.
    pub name: String,
    /// The arguments; absent if the transcript begins after the call.
    pub args: Option<Map<String, Value>>,
    /// State of its newest approval, if one was asked for.
    pub approval: Option<Approval>,
    /// Subject of that approval: to run the call, or to run it again.
    pub about: ApprovalAbout,
    /// Number of times that the call was made again after an interruption.
    pub retries: u32,
    /// Time until which a client may run it, if one is awaited.
    pub awaited: Option<Timestamp>,
    /// The result.
    pub returned: Option<CallResult>,
}

/// State of an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// It is asked for, and expires at this time.
    Asked(Timestamp),
    /// It was settled.
    Settled(Decision),
}

/// Result of a tool call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallResult {
    /// Whether the call succeeded.
    pub status: ToolStatus,
    /// The result or the error, as text.
    pub text: String,
    /// The result in a richer form.
    pub content: Option<Value>,
}

impl EntryBody {
    /// Whether this is a text of the kind.
    pub(super) fn is_text_of(&self, kind: StreamKind) -> bool {
        match self {
            Self::Thought { .. } => kind == StreamKind::Thought,
            Self::Message { .. } => kind == StreamKind::Message,
            Self::Input { .. } | Self::Call(_) | Self::Ended { .. } | Self::Fact(_) => false,
        }
    }

    /// Appends a text that continues this one. False if this is not a text of the kind.
    pub(super) fn go_on(&mut self, kind: StreamKind, more: &str, is_complete: bool) -> bool {
        let (text, complete, seams) = match self {
            Self::Thought { text, complete, seams, .. } if kind == StreamKind::Thought => {
                (text, complete, seams)
            }
            Self::Message { text, complete, seams, .. } if kind == StreamKind::Message => {
                (text, complete, seams)
            }
            Self::Thought { .. }
            | Self::Message { .. }
            | Self::Input { .. }
            | Self::Call(_)
            | Self::Ended { .. }
            | Self::Fact(_) => return false,
        };
        seams.push(text.len());
        text.push_str(more);
        *complete = is_complete;
        true
    }
}
