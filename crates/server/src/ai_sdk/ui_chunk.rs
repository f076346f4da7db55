//! Chunks of a UI message stream.

use axum::response::sse::Event as SseEvent;
use serde::Serialize;
use serde_json::{Map, Value};
use thoughtwire_proto::{ApprovalAbout, Seq, SessionId, Usage};

/// Data of the event behind the last chunk.
const DONE: &str = "[DONE]";

/// One chunk. Their meaning is the SDK's.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub(super) enum UiChunk {
    Start {
        /// Absent if the client's message goes on.
        #[serde(skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
        message_metadata: UiMetadata,
    },
    StartStep,
    FinishStep,
    TextStart {
        id: String,
    },
    TextDelta {
        id: String,
        delta: String,
    },
    TextEnd {
        id: String,
    },
    ReasoningStart {
        id: String,
    },
    ReasoningDelta {
        id: String,
        delta: String,
    },
    ReasoningEnd {
        id: String,
    },
    ToolInputAvailable {
        tool_call_id: String,
        tool_name: String,
        input: Map<String, Value>,
        /// False if the client is to run the call.
        provider_executed: bool,
    },
    ToolApprovalRequest {
        approval_id: String,
        tool_call_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        approval_descriptor: Option<ApprovalDescriptor>,
    },
    ToolOutputAvailable {
        tool_call_id: String,
        output: Value,
    },
    ToolOutputError {
        tool_call_id: String,
        error_text: String,
    },
    ToolOutputDenied {
        tool_call_id: String,
    },
    Finish {
        finish_reason: UiFinish,
        message_metadata: UiMetadata,
    },
    Abort {
        reason: String,
    },
    Error {
        error_text: String,
    },
}

/// Subject of a request for approval, if the call may have taken effect already.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ApprovalDescriptor {
    pub(super) about: ApprovalAbout,
}

/// Reason for which an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum UiFinish {
    Stop,
    Length,
    ContentFilter,
    ToolCalls,
}

/// Metadata of an assistant message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct UiMetadata {
    pub(super) session: SessionId,
    /// Position up to which the message shows the session's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<Seq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<UiUsage>,
}

/// Cost of a turn, in the SDK's words.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UiUsage {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_input_tokens: Option<u64>,
}

impl From<Usage> for UiUsage {
    fn from(usage: Usage) -> Self {
        let Usage { input_tokens, output_tokens, cached_tokens } = usage;
        let total_tokens = input_tokens.saturating_add(output_tokens);
        Self { input_tokens, output_tokens, total_tokens, cached_input_tokens: cached_tokens }
    }
}

impl UiChunk {
    /// The chunk as an event of a stream.
    pub(super) fn event(&self) -> SseEvent {
        // Invariant: our chunks have string keys only, which always serialise.
        SseEvent::default().data(serde_json::to_string(self).unwrap_or_default())
    }

    /// The event behind the last chunk.
    pub(super) fn done() -> SseEvent {
        SseEvent::default().data(DONE)
    }
}
