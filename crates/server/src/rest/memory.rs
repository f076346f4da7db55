//! An agent's memory: blocks, recall and archival notes.

use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use serde::Deserialize;
use serde_json::json;
use thoughtwire_agent::Archive;
use thoughtwire_hub::{BlockChange, now};
use thoughtwire_proto::rest::{
    ArchivalNote, BlockBody, BlockList, BlockPatch, CoreBlock, HitReasons, NewNotes, NoteDraft,
    NotePage, NotesAdded, RecallHit, RecallPage,
};
use thoughtwire_proto::{Refusal, Timestamp, new_title};
use thoughtwire_store::{Added, Block, MemoryHit, MemoryQuery, Note, Recalled, WhyFound};

use crate::access::Identity;

use super::{
    Created, IdempotencyHeader, JsonBody, PathParams, QueryParams, RestResult, SharedRest, bad,
    once, read, storable,
};

/// Results of one page by default, and at most.
const PAGE: usize = 20;
const MOST: usize = 1000;
/// Most results that can be passed over.
const FARTHEST: usize = 1_000_000_000;

/// Converts a stored block.
pub(super) fn core_block(block: Block) -> CoreBlock {
    let Block { label, text, limit, description } = block;
    CoreBlock { label, text, limit, description }
}

pub(super) async fn blocks(
    State(rest): SharedRest,
    caller: Identity,
    PathParams(agent): PathParams<String>,
) -> RestResult<Json<BlockList>> {
    let user = caller.user;
    let id = rest.profile(&user, agent).await?.id;
    let blocks = rest.hub.store().memory().blocks(&id).await?;
    Ok(Json(BlockList { blocks: blocks.into_iter().map(core_block).collect() }))
}

/// Edits a block, or makes one. An absent key stays as it is.
pub(super) async fn edit(
    State(rest): SharedRest,
    caller: Identity,
    PathParams((agent, label)): PathParams<(String, String)>,
    body: JsonBody<BlockPatch>,
) -> RestResult<Json<BlockBody>> {
    let user = caller.user;
    let BlockPatch { text, limit, description } = read(body)?;
    let limit = limit.map(|limit| storable("limit", limit)).transpose()?;
    let edited = rest
        .hub
        .directory()
        .edit_block(&user, &agent, &label, BlockChange { text, limit, description })
        .await?;
    Ok(Json(BlockBody { block: core_block(edited) }))
}

pub(super) async fn delete(
    State(rest): SharedRest,
    caller: Identity,
    PathParams((agent, label)): PathParams<(String, String)>,
) -> RestResult<NoContent> {
    let user = caller.user;
    rest.hub.directory().delete_block(&user, &agent, &label).await?;
    Ok(NoContent)
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
pub(super) struct RecallQuery {
    /// Words to look for. A phrase in quotation marks must stand in the text.
    #[cfg_attr(test, schemars(required))]
    query: Option<String>,
    /// Only what was said from this instant on.
    from: Option<Timestamp>,
    /// Only what was said up to this instant, included.
    to: Option<Timestamp>,
    /// Whether to tell why each result was found.
    #[cfg_attr(test, schemars(extend("default" = false)))]
    why: Option<bool>,
    /// Number of the best matches to pass over.
    #[cfg_attr(test, schemars(extend("default" = 0)))]
    offset: Option<usize>,
    /// Most results of the answer.
    #[cfg_attr(test, schemars(range(min = 1, max = 1000), extend("default" = 20)))]
    limit: Option<usize>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
pub(super) struct ArchivalQuery {
    /// Text to look for. A phrase in quotation marks must stand in the note.
    query: Option<String>,
    /// With `query`: only notes from this instant on.
    from: Option<Timestamp>,
    /// With `query`: only notes up to this instant, included.
    to: Option<Timestamp>,
    /// With `query`: whether to tell why each note was found.
    #[cfg_attr(test, schemars(extend("default" = false)))]
    why: Option<bool>,
    /// Number of the best matches to pass over.
    #[cfg_attr(test, schemars(extend("default" = 0)))]
    offset: Option<usize>,
    /// Most results of the answer.
    #[cfg_attr(test, schemars(range(min = 1, max = 1000), extend("default" = 20)))]
    limit: Option<usize>,
    /// Without `query`: the number behind which notes are listed.
    #[cfg_attr(test, schemars(range(min = 0)))]
    after: Option<i64>,
}

/// Checks a page of results. Returns how many to pass over and how many to answer.
fn span(offset: Option<usize>, limit: Option<usize>) -> Result<(usize, usize), Refusal> {
    let offset = offset.unwrap_or(0);
    if offset > FARTHEST {
        return Err(bad(&format!("`offset` is {offset}; the most is {FARTHEST}")));
    }
    Ok((offset, limit.unwrap_or(PAGE).clamp(1, MOST)))
}

/// Searches the messages of all of an agent's sessions.
pub(super) async fn recall(
    State(rest): SharedRest,
    caller: Identity,
    PathParams(agent): PathParams<String>,
    QueryParams(query): QueryParams<RecallQuery>,
) -> RestResult<Json<RecallPage>> {
    let user = caller.user;
    let (offset, limit) = span(query.offset, query.limit)?;
    let words = query.query.ok_or_else(|| bad("`query` is missing: the words to look for"))?;
    let id = rest.profile(&user, agent).await?.id;
    let is_explained = query.why.unwrap_or(false);
    let query = MemoryQuery {
        text: words,
        from: query.from,
        to: query.to,
        offset,
        limit,
        ..MemoryQuery::default()
    };
    let found = rest.archive.recall(&id, query).await?;
    let hit = |hit: MemoryHit<Recalled>| {
        let why = is_explained.then(|| reasons(hit.why));
        let Recalled { id: _, session, seq, at, role, text } = hit.item;
        RecallHit { session, seq, at, role, text, why }
    };
    Ok(Json(RecallPage { results: found.items.into_iter().map(hit).collect(), total: found.total }))
}

/// The reasons of a hit in points.
fn reasons(why: WhyFound) -> HitReasons {
    let points = |part: f32| (part * 100.0).round() as i32;
    HitReasons {
        words: points(why.words),
        meaning: points(why.meaning),
        neighbours: points(why.neighbours),
    }
}

fn archival_note(note: Note) -> ArchivalNote {
    ArchivalNote { id: note.id, at: note.at, text: note.text, source: note.source, why: None }
}

/// Searches an agent's notes, or pages through all of them.
pub(super) async fn archival(
    State(rest): SharedRest,
    caller: Identity,
    PathParams(agent): PathParams<String>,
    QueryParams(query): QueryParams<ArchivalQuery>,
) -> RestResult<Json<NotePage>> {
    let user = caller.user;
    let (offset, limit) = span(query.offset, query.limit)?;
    let id = rest.profile(&user, agent).await?.id;
    let is_explained = query.why.unwrap_or(false);
    let (notes, total) = match query.query {
        Some(text) => {
            let query = MemoryQuery {
                text,
                from: query.from,
                to: query.to,
                offset,
                limit,
                ..MemoryQuery::default()
            };
            let found = rest.archive.search(&id, query).await?;
            let note = |hit: MemoryHit<Note>| {
                let why = is_explained.then(|| reasons(hit.why));
                ArchivalNote { why, ..archival_note(hit.item) }
            };
            (found.items.into_iter().map(note).collect(), found.total)
        }
        None => {
            let after = query.after.unwrap_or(0);
            let store = rest.hub.store().for_user(user.as_str());
            let notes = store.memory().notes(&id, after, limit).await?;
            let count = store.memory().note_count(&id).await?;
            (notes.into_iter().map(archival_note).collect(), count)
        }
    };
    Ok(Json(NotePage { notes, total }))
}

/// Checks the origin of a note, mostly a file's name.
pub(super) fn note_source(source: Option<&str>) -> Result<Option<String>, Refusal> {
    let taken = source.map(new_title).transpose();
    taken.map_err(|no| bad(&format!("a note's source: {no}; nothing was added")))
}

/// Adds notes, all or none. The same text with the same `source` is added once.
pub(super) async fn add(
    State(rest): SharedRest,
    caller: Identity,
    key: IdempotencyHeader,
    PathParams(agent): PathParams<String>,
    body: JsonBody<NewNotes>,
) -> RestResult<Created<NotesAdded>> {
    let user = caller.user;
    let NewNotes { notes } = read(body)?;
    let content = digested(&notes);
    let receipt = once::receipt(&key, &user, "add_notes", &[&agent, &content])?;
    if let Some(before) = once::before(&rest, receipt.as_ref()).await? {
        return Ok(Created(before));
    }
    let id = rest.profile(&user, agent).await?.id;
    if notes.iter().any(|note| note.text.trim().is_empty()) {
        return Err(bad("a note is empty; nothing was added").into());
    }
    let notes = notes
        .into_iter()
        .map(|NoteDraft { text, source, at }| {
            Ok(Archive::note(text, at.unwrap_or_else(now), note_source(source.as_deref())?))
        })
        .collect::<Result<_, Refusal>>()?;
    let answer = match rest.archive.add_once(&id, notes, receipt.clone()).await {
        Ok(Added { added, duplicates }) => NotesAdded { added, duplicates },
        // Another request with the same key has added them.
        Err(error) => {
            let before = once::before(&rest, receipt.as_ref()).await?;
            before.ok_or_else(|| Refusal::from(&error))?
        }
    };
    Ok(Created(answer))
}

/// Returns the text of notes whose digest their receipt keeps.
///
/// Receipts outlive the server, so its form is fixed: an absent key is null.
fn digested(notes: &[NoteDraft]) -> String {
    let note = |note: &NoteDraft| {
        let NoteDraft { text, source, at } = note;
        json!({"text": text, "source": source, "at": at})
    };
    json!(notes.iter().map(note).collect::<Vec<_>>()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_of_earlier_versions_know_the_same_notes() {
        let notes: NewNotes = serde_json::from_str(
            r#"{"notes": [
                {"text": "a"},
                {"at": "2026-01-01T00:00:00.000Z", "text": "b", "source": "c"}
            ]}"#,
        )
        .unwrap();
        assert_eq!(
            digested(&notes.notes),
            [
                r#"[{"text":"a","source":null,"at":null},"#,
                r#"{"text":"b","source":"c","at":"2026-01-01T00:00:00.000Z"}]"#
            ]
            .concat()
        );
    }
}
