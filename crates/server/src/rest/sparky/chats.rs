//! A Sparky user's chats.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use thoughtwire_proto::{Refusal, RefusalCode, SessionCommand, Timestamp};
use thoughtwire_store::StoredChat;

use super::{Detail, Told, check_space, not_found};
use crate::access::Identity;
use crate::rest::{Query, Rest, Shared, read};

/// Chats of a page of the list, unless it says another number.
const PAGE: usize = 100;

#[derive(Deserialize)]
pub(in crate::rest) struct ListQuery {
    limit: Option<usize>,
    offset: Option<usize>,
    #[serde(default)]
    include_archived: bool,
}

#[derive(Deserialize)]
pub(in crate::rest) struct RenameBody {
    chat_name: String,
}

/// A chat in both generations' shape: the earlier one reads `session_id`, the later one `model`.
#[derive(Serialize)]
struct Chat {
    chat_id: String,
    chat_name: String,
    session_id: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    archived: bool,
    model: Option<String>,
}

#[derive(Serialize)]
struct Chats {
    user_id: String,
    chats: Vec<Chat>,
}

impl From<StoredChat> for Chat {
    fn from(stored: StoredChat) -> Self {
        let named = |title: &String| !title.trim().is_empty();
        let chat_name = stored
            .title
            .filter(named)
            .unwrap_or_else(|| format!("Chat {}", stored.chat.chars().take(8).collect::<String>()));
        Self {
            chat_id: stored.chat,
            chat_name,
            session_id: stored.session.to_string(),
            created_at: stored.created_at,
            updated_at: stored.updated_at,
            archived: stored.archived_at.is_some(),
            model: None,
        }
    }
}

pub(in crate::rest) async fn list(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path(space): Path<String>,
    Query(query): Query<ListQuery>,
) -> Told {
    check_space(&rest, &caller, &headers, &space).await?;
    let peers = rest.hub.store().peers();
    let stored = peers.chats(&caller.user, &space, query.include_archived).await?;
    let chats = stored
        .into_iter()
        .skip(query.offset.unwrap_or(0))
        .take(query.limit.unwrap_or(PAGE))
        .map(Chat::from)
        .collect();
    Ok(Json(Chats { user_id: space, chats }).into_response())
}

/// A chat of a name space that the caller may see.
async fn find(
    rest: &Rest,
    caller: &Identity,
    headers: &HeaderMap,
    space: &str,
    chat: &str,
) -> Result<StoredChat, Detail> {
    check_space(rest, caller, headers, space).await?;
    let named = rest.hub.store().peers().chats_named(&caller.user, chat).await?;
    named
        .into_iter()
        .find(|stored| stored.space == space)
        .ok_or_else(|| not_found(&format!("Chat '{chat}'")))
}

pub(in crate::rest) async fn rename(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path((space, chat)): Path<(String, String)>,
    body: Result<Json<RenameBody>, JsonRejection>,
) -> Told {
    let RenameBody { chat_name } = read(body)?;
    let stored = find(&rest, &caller, &headers, &space, &chat).await?;
    let rename = SessionCommand::Rename { title: chat_name.clone() };
    rest.execute(&caller.user, None, stored.session, rename).await?;
    let now = thoughtwire_hub::now();
    let answer = json!({"chat_id": chat, "chat_name": chat_name, "updated_at": now});
    Ok(Json(answer).into_response())
}

pub(in crate::rest) async fn delete(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path((space, chat)): Path<(String, String)>,
) -> Told {
    let stored = find(&rest, &caller, &headers, &space, &chat).await?;
    rest.execute(&caller.user, None, stored.session, SessionCommand::Delete).await?;
    let answer = json!({"message": "Chat deleted successfully", "chat_id": chat});
    Ok(Json(answer).into_response())
}

pub(in crate::rest) async fn archive(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path((space, chat)): Path<(String, String)>,
) -> Told {
    let stored = find(&rest, &caller, &headers, &space, &chat).await?;
    // Archived again it keeps its time.
    let at = stored.archived_at.unwrap_or_else(thoughtwire_hub::now);
    keep_archived(&rest, &caller, &stored, Some(at)).await?;
    let answer =
        json!({"message": "Chat archived successfully", "chat_id": chat, "archived_at": at});
    Ok(Json(answer).into_response())
}

pub(in crate::rest) async fn unarchive(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path((space, chat)): Path<(String, String)>,
) -> Told {
    let stored = find(&rest, &caller, &headers, &space, &chat).await?;
    keep_archived(&rest, &caller, &stored, None).await?;
    let answer = json!({
        "message": "Chat unarchived successfully",
        "chat_id": chat,
        "updated_at": stored.updated_at,
    });
    Ok(Json(answer).into_response())
}

async fn keep_archived(
    rest: &Rest,
    caller: &Identity,
    stored: &StoredChat,
    at: Option<Timestamp>,
) -> Result<(), Detail> {
    let peers = rest.hub.store().peers();
    Ok(peers.archive_chat(&caller.user, &stored.space, &stored.chat, at).await?)
}

/// Refuses another model for one chat: all chats of a user are one agent's, and it has one model.
pub(in crate::rest) async fn model(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path((space, chat)): Path<(String, String)>,
) -> Told {
    find(&rest, &caller, &headers, &space, &chat).await?;
    let reason = "a chat has the model of its agent; change it with `thoughtwire agents edit`";
    Err(Refusal::new(RefusalCode::Unsupported, reason).into())
}
