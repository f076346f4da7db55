//! A chat's past as Sparky's page draws it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thoughtwire_proto::{
    Event, InputEvent, Record, Role, Seq, SessionEvent, SessionId, Timestamp, ToolStatus, TurnEvent,
};
use thoughtwire_store::{Store, StoreError};

use super::{Told, bound_to, not_found, own_space};
use crate::access::Identity;
use crate::rest::{Query, Shared};

/// Most messages of one answer.
const MOST: usize = 1000;
/// Events that are read back from the head where no page is asked for.
const NEWEST: u64 = 4000;
/// Events that are read at a time.
const BATCH: usize = 1000;

#[derive(Deserialize)]
pub(in crate::rest) struct PageQuery {
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Serialize)]
struct Messages {
    chat_id: String,
    messages: Vec<Message>,
}

#[derive(Serialize)]
struct Attachment {
    file_id: String,
    name: String,
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    text: String,
    created_at: Timestamp,
    message_type: &'static str,
    tool_name: Option<String>,
    tool_args: Option<Map<String, Value>>,
    attachments: Option<Vec<Attachment>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_content: Option<Value>,
}

impl Message {
    fn new(role: &'static str, message_type: &'static str, text: String, at: Timestamp) -> Self {
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

/// Without a page the newest messages of the chat, else those behind `offset`; oldest first.
pub(in crate::rest) async fn messages(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path(chat): Path<String>,
    Query(query): Query<PageQuery>,
) -> Told {
    let store = rest.hub.store();
    let named = store.peers().chats_named(&caller.user, &chat).await?;
    let own = own_space(&rest.access, &caller, &headers);
    let bound = bound_to(&rest.access, &headers);
    // A chat's name is only unique per name space: the caller's own one comes first.
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
            let from = Seq(first.0.saturating_sub(1));
            let mut all = read(store, &stored.id, from, offset.saturating_add(limit)).await?;
            all.drain(..offset.min(all.len()));
            all.truncate(limit);
            all
        }
    };
    Ok(Json(Messages { chat_id: chat, messages }).into_response())
}

/// Messages behind a position, until there are at least `enough`.
async fn read(
    store: &Store,
    session: &SessionId,
    mut after: Seq,
    enough: usize,
) -> Result<Vec<Message>, StoreError> {
    let mut messages = Vec::new();
    while messages.len() < enough {
        let records = store.logs().records_after(session, after, BATCH).await?;
        let Some(last) = records.last().map(|record| record.seq) else { break };
        messages.extend(records.into_iter().flat_map(shown));
        after = last;
    }
    Ok(messages)
}

/// What a record looks like in the page; most are one message or none.
fn shown(record: Record) -> Vec<Message> {
    let at = record.at;
    let role_of = |role| match role {
        Role::User => "user",
        Role::Assistant => "model",
    };
    vec![match record.event {
        Event::Session(SessionEvent::Opened { history, .. }) => {
            return history
                .into_iter()
                .map(|entry| Message::new(role_of(entry.role), "message", entry.text, at))
                .collect();
        }
        Event::Input(InputEvent::UserMessage { text, attachments, .. }) => {
            let attached: Vec<_> = attachments
                .into_iter()
                .map(|file_id| Attachment { name: file_id.clone(), file_id })
                .collect();
            Message {
                attachments: Some(attached).filter(|attached| !attached.is_empty()),
                ..Message::new("user", "message", text, at)
            }
        }
        Event::Turn(TurnEvent::Thought { text, .. }) => Message::new("model", "thought", text, at),
        Event::Turn(TurnEvent::Message { text, .. }) => Message::new("model", "message", text, at),
        Event::Turn(TurnEvent::ToolCalled { name, args, .. }) => {
            let text = format!("{name}({})", Value::Object(args.clone()));
            Message {
                tool_name: Some(name),
                tool_args: Some(args),
                ..Message::new("model", "tool_use", text, at)
            }
        }
        Event::Turn(TurnEvent::ToolReturned { name, text, status, content, .. }) => Message {
            tool_name: Some(name),
            status: Some(match status {
                ToolStatus::Success => "success",
                ToolStatus::Error => "error",
            }),
            result_content: content,
            ..Message::new("model", "tool_result", text, at)
        },
        Event::Turn(
            TurnEvent::Started { .. }
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
