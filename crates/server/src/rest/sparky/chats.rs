//! A Sparky user's chats.

use std::convert::Infallible;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use thoughtwire_proto::{Refusal, RefusalCode, SessionCommand, SessionId, Timestamp};
use thoughtwire_store::StoredChat;

use super::{SparkyRefused, SparkyResult, check_space, not_found};
use crate::access::Identity;
use crate::rest::{JsonBody, QueryParams, RestState, SharedRest, read};

/// Number of chats on a page of the list, unless the request names another.
const PAGE: usize = 100;

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
pub(in crate::rest) struct ChatsQuery {
    /// Most chats of the answer.
    limit: Option<usize>,
    /// Number of chats to pass over.
    offset: Option<usize>,
    /// Whether archived chats are listed.
    #[serde(default)]
    include_archived: bool,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
pub(in crate::rest) struct SparkyRename {
    chat_name: String,
}

/// A chat in the form of both generations. The earlier one reads `session_id`, the later `model`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(in crate::rest) struct SparkyChat {
    chat_id: String,
    chat_name: String,
    session_id: SessionId,
    created_at: Timestamp,
    updated_at: Timestamp,
    archived: bool,
    model: Option<String>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(in crate::rest) struct SparkyChats {
    user_id: String,
    chats: Vec<SparkyChat>,
}

/// A chat that was renamed.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(in crate::rest) struct SparkyRenamed {
    chat_id: String,
    chat_name: String,
    updated_at: Timestamp,
}

/// A chat that was deleted.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(in crate::rest) struct SparkyDeleted {
    message: &'static str,
    chat_id: String,
}

/// A chat that was archived.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(in crate::rest) struct SparkyArchived {
    message: &'static str,
    chat_id: String,
    archived_at: Timestamp,
}

/// A chat that was taken back from the archive.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(in crate::rest) struct SparkyUnarchived {
    message: &'static str,
    chat_id: String,
    updated_at: Timestamp,
}

/// Another model for a chat.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
pub(in crate::rest) struct SparkyModelChange {
    #[expect(dead_code, reason = "every change is refused")]
    model: String,
}

impl From<StoredChat> for SparkyChat {
    fn from(stored: StoredChat) -> Self {
        let named = |title: &String| !title.trim().is_empty();
        let chat_name = stored
            .title
            .filter(named)
            .unwrap_or_else(|| format!("Chat {}", stored.chat.chars().take(8).collect::<String>()));
        Self {
            chat_id: stored.chat,
            chat_name,
            session_id: stored.session,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
            archived: stored.archived_at.is_some(),
            model: None,
        }
    }
}

pub(in crate::rest) async fn list(
    State(rest): SharedRest,
    caller: Identity,
    headers: HeaderMap,
    Path(space): Path<String>,
    QueryParams(query): QueryParams<ChatsQuery>,
) -> SparkyResult<Json<SparkyChats>> {
    check_space(&rest, &caller, &headers, &space).await?;
    let peers = rest.hub.store().peers();
    let stored = peers.chats(&caller.user, &space, query.include_archived).await?;
    let chats = stored
        .into_iter()
        .skip(query.offset.unwrap_or(0))
        .take(query.limit.unwrap_or(PAGE))
        .map(SparkyChat::from)
        .collect();
    Ok(Json(SparkyChats { user_id: space, chats }))
}

/// Finds a chat in a name space that the caller may see.
async fn find(
    rest: &RestState,
    caller: &Identity,
    headers: &HeaderMap,
    space: &str,
    chat: &str,
) -> Result<StoredChat, SparkyRefused> {
    check_space(rest, caller, headers, space).await?;
    let named = rest.hub.store().peers().chats_named(&caller.user, chat).await?;
    named
        .into_iter()
        .find(|stored| stored.space == space)
        .ok_or_else(|| not_found(&format!("Chat '{chat}'")))
}

pub(in crate::rest) async fn rename(
    State(rest): SharedRest,
    caller: Identity,
    headers: HeaderMap,
    Path((space, chat)): Path<(String, String)>,
    body: JsonBody<SparkyRename>,
) -> SparkyResult<Json<SparkyRenamed>> {
    let SparkyRename { chat_name } = read(body)?;
    let stored = find(&rest, &caller, &headers, &space, &chat).await?;
    let rename = SessionCommand::Rename { title: chat_name.clone() };
    rest.execute(&caller.user, None, stored.session, rename).await?;
    let updated_at = thoughtwire_hub::now();
    Ok(Json(SparkyRenamed { chat_id: chat, chat_name, updated_at }))
}

pub(in crate::rest) async fn delete(
    State(rest): SharedRest,
    caller: Identity,
    headers: HeaderMap,
    Path((space, chat)): Path<(String, String)>,
) -> SparkyResult<Json<SparkyDeleted>> {
    let stored = find(&rest, &caller, &headers, &space, &chat).await?;
    rest.execute(&caller.user, None, stored.session, SessionCommand::Delete).await?;
    let message = "Chat deleted successfully";
    Ok(Json(SparkyDeleted { message, chat_id: chat }))
}

pub(in crate::rest) async fn archive(
    State(rest): SharedRest,
    caller: Identity,
    headers: HeaderMap,
    Path((space, chat)): Path<(String, String)>,
) -> SparkyResult<Json<SparkyArchived>> {
    let stored = find(&rest, &caller, &headers, &space, &chat).await?;
    // A chat that is archived already keeps its time.
    let at = stored.archived_at.unwrap_or_else(thoughtwire_hub::now);
    keep_archived(&rest, &caller, &stored, Some(at)).await?;
    let message = "Chat archived successfully";
    Ok(Json(SparkyArchived { message, chat_id: chat, archived_at: at }))
}

pub(in crate::rest) async fn unarchive(
    State(rest): SharedRest,
    caller: Identity,
    headers: HeaderMap,
    Path((space, chat)): Path<(String, String)>,
) -> SparkyResult<Json<SparkyUnarchived>> {
    let stored = find(&rest, &caller, &headers, &space, &chat).await?;
    keep_archived(&rest, &caller, &stored, None).await?;
    let message = "Chat unarchived successfully";
    Ok(Json(SparkyUnarchived { message, chat_id: chat, updated_at: stored.updated_at }))
}

async fn keep_archived(
    rest: &RestState,
    caller: &Identity,
    stored: &StoredChat,
    at: Option<Timestamp>,
) -> Result<(), SparkyRefused> {
    let peers = rest.hub.store().peers();
    Ok(peers.archive_chat(&caller.user, &stored.space, &stored.chat, at).await?)
}

/// Refuses another model for one chat, since all chats of a user share one agent and its model.
pub(in crate::rest) async fn model(
    State(rest): SharedRest,
    caller: Identity,
    headers: HeaderMap,
    Path((space, chat)): Path<(String, String)>,
    _body: JsonBody<SparkyModelChange>,
) -> SparkyResult<Infallible> {
    find(&rest, &caller, &headers, &space, &chat).await?;
    let reason = "a chat has the model of its agent; change it with `thoughtwire agents edit`";
    Err(Refusal::new(RefusalCode::Unsupported, reason).into())
}
