//! A chat's messages, as Sparky's page shows them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thoughtwire_proto::{
    Event, InputEvent, Record, Role, Seq, SessionEvent, SessionId, Timestamp, ToolStatus, TurnEvent,
};
use thoughtwire_store::{Store, StoreError};

use super::{SparkyResult, bound_to, not_found, own_space};
use crate::access::Identity;
use crate::rest::{QueryParams, SharedRest};

/// Most messages in one answer.
const MOST: usize = 1000;
/// Number of events that are read back from the head when the request names no page.
const NEWEST: u64 = 4000;
/// Number of events that are read at a time.
const BATCH: usize = 1000;

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
pub(in crate::rest) struct MessagesQuery {
    /// Most messages of the answer.
    limit: Option<usize>,
    /// Number of messages to pass over.
    offset: Option<usize>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(in crate::rest) struct SparkyMessages {
    chat_id: String,
    messages: Vec<SparkyMessage>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(in crate::rest) struct SparkyAttachment {
    file_id: String,
    name: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(in crate::rest) struct SparkyMessage {
    role: SparkyRole,
    text: String,
    created_at: Timestamp,
    message_type: SparkyMessageType,
    tool_name: Option<String>,
    tool_args: Option<Map<String, Value>>,
    attachments: Option<Vec<SparkyAttachment>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<ToolStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_content: Option<Value>,
}

/// The side that a message is from.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum SparkyRole {
    User,
    Model,
}

/// The type of a message.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum SparkyMessageType {
    Message,
    Thought,
    ToolUse,
    ToolResult,
}

impl SparkyMessage {
    fn new(role: SparkyRole, message_type: SparkyMessageType, text: String, at: Timestamp) -> Self {
        Self {
            role,
            text,
            created_at: at,
            message_type,
            tool_name: None,
            tool_args: None,
            attachments: None,
            status: None,
            result_content: None,
        }
    }
}

/// Lists the newest messages of the chat, or those behind `offset`; oldest first.
pub(in crate::rest) async fn messages(
    State(rest): SharedRest,
    caller: Identity,
    headers: HeaderMap,
    Path(chat): Path<String>,
    QueryParams(query): QueryParams<MessagesQuery>,
) -> SparkyResult<Json<SparkyMessages>> {
    let store = rest.hub.store();
    let named = store.peers().chats_named(&caller.user, &chat).await?;
    let own = own_space(&rest.access, &caller, &headers);
    let bound = bound_to(&rest.access, &headers);
    // Chat names are unique only within a name space; the caller's own one comes first.
    let found = named
        .iter()
        .find(|stored| stored.space == own)
        .or_else(|| named.first().filter(|_| bound.is_none()))
        .ok_or_else(|| not_found(&format!("Chat '{chat}'")))?;
    let stored = rest.own(&caller.user, &found.session).await?;
    let (first, head) = (stored.first, stored.state.head());
    let messages = match (query.limit, query.offset) {
        (None, None) => {
            let from = Seq(head.0.saturating_sub(NEWEST).max(first.0.saturating_sub(1)));
            let mut all = read(store, &stored.id, from, usize::MAX).await?;
            all.drain(..all.len().saturating_sub(MOST));
            all
        }
        (limit, offset) => {
            let (limit, offset) = (limit.unwrap_or(MOST).min(MOST), offset.unwrap_or(0));
            let from = first.previous();
            let mut all = read(store, &stored.id, from, offset.saturating_add(limit)).await?;
            all.drain(..offset.min(all.len()));
            all.truncate(limit);
            all
        }
    };
    Ok(Json(SparkyMessages { chat_id: chat, messages }))
}

/// Reads messages behind a position, until there are at least `enough`.
async fn read(
    store: &Store,
    session: &SessionId,
    mut after: Seq,
    enough: usize,
) -> Result<Vec<SparkyMessage>, StoreError> {
    let mut messages = Vec::new();
    while messages.len() < enough {
        let records = store.logs().records_after(session, after, BATCH).await?;
        let Some(last) = records.last().map(|record| record.seq) else { break };
        messages.extend(records.into_iter().flat_map(shown));
        after = last;
    }
    Ok(messages)
}

/// Converts a record to the messages that the page shows for it, mostly one or none.
fn shown(record: Record) -> Vec<SparkyMessage> {
    let at = record.at;
    let role_of = |role| match role {
        Role::User => SparkyRole::User,
        Role::Assistant => SparkyRole::Model,
    };
    vec![match record.event {
        Event::Session(SessionEvent::Opened { history, .. }) => {
            return history
                .into_iter()
                .map(|entry| {
                    SparkyMessage::new(
                        role_of(entry.role),
                        SparkyMessageType::Message,
                        entry.text,
                        at,
                    )
                })
                .collect();
        }
        Event::Input(InputEvent::UserMessage { text, attachments, .. }) => {
            let attached: Vec<_> = attachments
                .into_iter()
                .map(|file_id| SparkyAttachment { name: file_id.clone(), file_id })
                .collect();
            SparkyMessage {
                attachments: Some(attached).filter(|attached| !attached.is_empty()),
                ..SparkyMessage::new(SparkyRole::User, SparkyMessageType::Message, text, at)
            }
        }
        Event::Turn(TurnEvent::Thought { text, .. }) => {
            SparkyMessage::new(SparkyRole::Model, SparkyMessageType::Thought, text, at)
        }
        Event::Turn(TurnEvent::Message { text, .. }) => {
            SparkyMessage::new(SparkyRole::Model, SparkyMessageType::Message, text, at)
        }
        Event::Turn(TurnEvent::ToolCalled { name, args, .. }) => {
            let text = format!("{name}({})", Value::Object(args.clone()));
            SparkyMessage {
                tool_name: Some(name),
                tool_args: Some(args),
                ..SparkyMessage::new(SparkyRole::Model, SparkyMessageType::ToolUse, text, at)
            }
        }
        Event::Turn(TurnEvent::ToolReturned { name, text, status, content, .. }) => SparkyMessage {
            tool_name: Some(name),
            status: Some(status),
            result_content: content,
            ..SparkyMessage::new(SparkyRole::Model, SparkyMessageType::ToolResult, text, at)
        },
        Event::Turn(
            TurnEvent::Started { .. }
            | TurnEvent::Resumed { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::Ended { .. }
            | TurnEvent::ApprovalAsked { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::Usage(_),
        )
        | Event::Session(
            SessionEvent::Renamed { .. }
            | SessionEvent::InstructionsChanged { .. }
            | SessionEvent::MemoryEdited { .. }
            | SessionEvent::Compacted { .. },
        )
        | Event::Input(InputEvent::Withdrawn { .. })
        | Event::Other(_) => return Vec::new(),
    }]
}
