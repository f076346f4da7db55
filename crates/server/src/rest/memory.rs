//! An agent's memory: its blocks, what was said, and its notes.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thoughtwire_agent::Archive;
use thoughtwire_hub::{BlockChange, now};
use thoughtwire_proto::{Refusal, Timestamp, new_title};
use thoughtwire_store::{Block, Note};

use crate::access::Identity;

use super::{Answered, Path, Query, Shared, bad, once, read, storable};

/// Results in one page, unless the caller says otherwise, and at most.
const PAGE: usize = 20;
const MOST: usize = 1000;
/// The most results that can be passed over.
const FARTHEST: usize = 1_000_000_000;

/// A block as JSON.
pub(super) fn block(block: &Block) -> Value {
    json!({"label": block.label, "text": block.text, "limit": block.limit, "description": block.description})
}

pub(super) async fn blocks(
    State(rest): Shared,
    caller: Identity,
    Path(agent): Path<String>,
) -> Answered {
    let user = caller.user;
    let id = rest.profile(&user, agent).await?.id;
    let blocks = rest.hub.read(move |store| store.blocks(&id)).await?;
    Ok(Json(json!({"blocks": blocks.iter().map(block).collect::<Vec<_>>()})).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockBody {
    text: Option<String>,
    limit: Option<usize>,
    description: Option<String>,
}

/// Edits a block, or makes one. What is not named stays.
pub(super) async fn edit(
    State(rest): Shared,
    caller: Identity,
    Path((agent, label)): Path<(String, String)>,
    body: Result<Json<BlockBody>, JsonRejection>,
) -> Answered {
    let user = caller.user;
    let BlockBody { text, limit, description } = read(body)?;
    let limit = limit.map(|limit| storable("limit", limit)).transpose()?;
    let edited = rest
        .hub
        .directory()
        .edit_block(&user, &agent, &label, BlockChange { text, limit, description })
        .await?;
    Ok(Json(json!({"block": block(&edited)})).into_response())
}

pub(super) async fn delete(
    State(rest): Shared,
    caller: Identity,
    Path((agent, label)): Path<(String, String)>,
) -> Answered {
    let user = caller.user;
    rest.hub.directory().delete_block(&user, &agent, &label).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
pub(super) struct SearchQuery {
    query: Option<String>,
    offset: Option<usize>,
    limit: Option<usize>,
    /// Notes behind this number, for going through all of them.
    after: Option<i64>,
}

impl SearchQuery {
    fn span(&self) -> Result<(usize, usize), Refusal> {
        let offset = self.offset.unwrap_or(0);
        if offset > FARTHEST {
            return Err(bad(&format!("`offset` is {offset}; the most is {FARTHEST}")));
        }
        Ok((offset, self.limit.unwrap_or(PAGE).clamp(1, MOST)))
    }
}

/// Searches everything that was said in all of an agent's sessions.
pub(super) async fn recall(
    State(rest): Shared,
    caller: Identity,
    Path(agent): Path<String>,
    Query(query): Query<SearchQuery>,
) -> Answered {
    let user = caller.user;
    let (offset, limit) = query.span()?;
    let words = query.query.ok_or_else(|| bad("`query` is missing: the words to look for"))?;
    let id = rest.profile(&user, agent).await?.id;
    rest.hub.store().catch_up_recall().await.map_err(|error| Refusal::from(&error))?;
    let found = rest
        .hub
        .read_for(&user, move |store| store.recall_search(&id, &words, offset, limit))
        .await?;
    let items: Vec<Value> = found
        .items
        .iter()
        .map(|item| json!({"session": item.session, "seq": item.seq, "at": item.at, "role": item.role, "text": item.text}))
        .collect();
    Ok(Json(json!({"results": items, "total": found.total})).into_response())
}

fn note(note: &Note) -> Value {
    let mut json = json!({"id": note.id, "at": note.at, "text": note.text});
    if let (Some(source), Some(object)) = (&note.source, json.as_object_mut()) {
        object.insert("source".to_owned(), source.clone().into());
    }
    json
}

/// Searches an agent's notes, or pages through all of them.
pub(super) async fn archival(
    State(rest): Shared,
    caller: Identity,
    Path(agent): Path<String>,
    Query(query): Query<SearchQuery>,
) -> Answered {
    let user = caller.user;
    let (offset, limit) = query.span()?;
    let id = rest.profile(&user, agent).await?.id;
    let (notes, total) = match &query.query {
        Some(words) => {
            let found = rest
                .archive
                .search(&id, words, offset, limit)
                .await
                .map_err(|error| Refusal::from(&error))?;
            (found.items, found.total)
        }
        None => {
            let after = query.after.unwrap_or(0);
            rest.hub
                .read_for(&user, move |store| {
                    Ok((store.archival_notes(&id, after, limit)?, store.archival_count(&id)?))
                })
                .await?
        }
    };
    Ok(Json(json!({"notes": notes.iter().map(note).collect::<Vec<_>>(), "total": total}))
        .into_response())
}

#[derive(Deserialize)]
pub(super) struct NotesBody {
    notes: Vec<NoteBody>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoteBody {
    text: String,
    source: Option<String>,
    at: Option<Timestamp>,
}

/// Takes where a note comes from, which is mostly a file's name.
pub(super) fn note_source(source: Option<&str>) -> Result<Option<String>, Refusal> {
    let taken = source.map(new_title).transpose();
    taken.map_err(|no| bad(&format!("a note's source: {no}; nothing was added")))
}

/// Adds notes, all or none. Those with a `source` are taken once, however often they come.
pub(super) async fn add(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path(agent): Path<String>,
    body: Result<Json<NotesBody>, JsonRejection>,
) -> Answered {
    let user = caller.user;
    let NotesBody { notes } = read(body)?;
    let content = serde_json::to_string(&notes).unwrap_or_default();
    let receipt = once::receipt(&headers, &user, "add_notes", &[&agent, &content])?;
    if let Some(before) = once::before(&rest, receipt.as_ref()).await? {
        return Ok((StatusCode::CREATED, Json(before)).into_response());
    }
    let id = rest.profile(&user, agent).await?.id;
    if notes.iter().any(|note| note.text.trim().is_empty()) {
        return Err(bad("a note is empty; nothing was added").into());
    }
    let notes = notes
        .into_iter()
        .map(|NoteBody { text, source, at }| {
            Ok(Archive::note(text, at.unwrap_or_else(now), note_source(source.as_deref())?))
        })
        .collect::<Result<_, Refusal>>()?;
    let answer = match rest.archive.add_once(&id, notes, receipt.clone()).await {
        Ok(added) => json!(added),
        // Two of the same key at once: the other one added them.
        Err(error) => {
            let before = once::before(&rest, receipt.as_ref()).await?;
            before.ok_or_else(|| Refusal::from(&error))?
        }
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}
