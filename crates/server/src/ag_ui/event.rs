//! Events of AG-UI, as a stream has them.

use axum::response::sse::Event as SseEvent;
use serde::Serialize;
use serde_json::Value;
use thoughtwire_proto::{SessionId, Timestamp, Usage};

/// Version of the protocol.
pub(super) const PROTOCOL_VERSION: &str = "1.0";

/// One event.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub(super) enum AgUiEvent {
    RunStarted {
        thread_id: String,
        run_id: String,
        protocol_version: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        parent_run_id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<AgUiMetadata<RunFacts>>,
    },
    RunFinished {
        thread_id: String,
        run_id: String,
        outcome: RunOutcome,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        usage: Vec<AgUiUsage>,
    },
    RunError {
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        usage: Vec<AgUiUsage>,
    },
    TextMessageStart {
        message_id: String,
        role: &'static str,
    },
    TextMessageContent {
        message_id: String,
        delta: String,
    },
    TextMessageEnd {
        message_id: String,
    },
    ReasoningStart {
        message_id: String,
    },
    ReasoningMessageStart {
        message_id: String,
        role: &'static str,
    },
    ReasoningMessageContent {
        message_id: String,
        delta: String,
    },
    ReasoningMessageEnd {
        message_id: String,
    },
    ReasoningEnd {
        message_id: String,
    },
    ToolCallStart {
        tool_call_id: String,
        tool_call_name: String,
    },
    ToolCallArgs {
        tool_call_id: String,
        delta: String,
    },
    ToolCallEnd {
        tool_call_id: String,
    },
    ToolCallResult {
        message_id: String,
        tool_call_id: String,
        content: String,
        role: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<AgUiMetadata<ResultFacts>>,
    },
    StateSnapshot {
        snapshot: Value,
    },
    StateDelta {
        delta: [StateChange; 1],
    },
    MessagesSnapshot {
        messages: Vec<SnapshotMessage>,
    },
}

/// How a run ended.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum RunOutcome {
    Success {
        /// Calls that the client is to run.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pending_tool_call_ids: Vec<String>,
    },
    Interrupt {
        interrupts: Vec<Interrupt>,
    },
    Cancelled,
}

/// A question to the owner.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interrupt {
    pub(super) id: String,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) tool_call_id: String,
    pub(super) response_schema: Value,
    pub(super) expires_at: Timestamp,
}

/// A change of one value of the state.
#[derive(Debug, Serialize)]
pub(super) struct StateChange {
    pub(super) op: &'static str,
    /// A JSON pointer.
    pub(super) path: String,
    pub(super) value: String,
}

/// A message of a thread's past.
#[derive(Debug, Serialize)]
#[serde(tag = "role", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub(super) enum SnapshotMessage {
    User {
        id: String,
        content: String,
    },
    Assistant {
        id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<SnapshotCall>,
    },
    Reasoning {
        id: String,
        content: String,
    },
    Tool {
        id: String,
        tool_call_id: String,
        content: String,
    },
}

/// A call within a message.
#[derive(Debug, Serialize)]
pub(super) struct SnapshotCall {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) function: SnapshotFunction,
}

#[derive(Debug, Serialize)]
pub(super) struct SnapshotFunction {
    pub(super) name: String,
    pub(super) arguments: String,
}

/// Facts that the protocol has no place for, under this server's name.
#[derive(Debug, Serialize)]
pub(super) struct AgUiMetadata<T> {
    pub(super) thoughtwire: T,
}

#[derive(Debug, Serialize)]
pub(super) struct RunFacts {
    /// The thread's session, which clients of other protocols know by this id.
    pub(super) session: SessionId,
}

#[derive(Debug, Serialize)]
pub(super) struct ResultFacts {
    /// The status of a call that did not succeed.
    pub(super) status: &'static str,
}

/// Cost of a turn's model calls.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgUiUsage {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_input_tokens: Option<u64>,
}

impl From<Usage> for AgUiUsage {
    fn from(usage: Usage) -> Self {
        let Usage { input_tokens, output_tokens, cached_tokens } = usage;
        Self {
            input_tokens,
            output_tokens,
            total_tokens: input_tokens.saturating_add(output_tokens),
            cached_input_tokens: cached_tokens,
        }
    }
}

impl AgUiEvent {
    /// The event as a server-sent event.
    pub(super) fn encode(&self) -> SseEvent {
        // Invariant: our bodies have string keys only, which always serialise.
        SseEvent::default().data(serde_json::to_string(self).unwrap_or_default())
    }
}
