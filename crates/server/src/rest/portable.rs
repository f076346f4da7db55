//! Agents as files: everything that one is, in one JSON object.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use thoughtwire_agent::Archive;
use thoughtwire_hub::{Imported, ImportedSession, command_digest};
use thoughtwire_proto::{
    AgentSpec, Event, Record, Refusal, RefusalCode, Seq, SessionEvent, Timestamp,
};
use thoughtwire_store::{Block, Scope, SessionFilter};

use crate::access::Identity;

use super::memory::note_source;
use super::{Answered, Path, Query, Refused, Shared, idempotency_key, read, storable};

/// The form of the file; a newer one is refused rather than half understood.
const FORM: u32 = 1;
/// Records and notes read at once.
const PAGE: usize = 1000;

/// An agent as a file.
#[derive(Serialize, Deserialize)]
pub(super) struct Portable {
    thoughtwire_agent: u32,
    agent: AgentSpec,
    blocks: Vec<PortableBlock>,
    #[serde(default)]
    notes: Vec<PortableNote>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sessions: Vec<PortableSession>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PortableBlock {
    label: String,
    text: String,
    limit: usize,
    #[serde(default)]
    description: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PortableNote {
    text: String,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

/// A session's log; the first is the main session's.
#[derive(Serialize, Deserialize)]
pub(super) struct PortableSession {
    events: Vec<Record>,
}

#[derive(Deserialize)]
pub(super) struct ExportQuery {
    #[serde(default)]
    history: bool,
}

pub(super) async fn export(
    State(rest): Shared,
    caller: Identity,
    Path(agent): Path<String>,
    Query(query): Query<ExportQuery>,
) -> Answered {
    let user = caller.user.clone();
    let profile = rest.profile(&user, agent).await?;
    // The logs are what was said, which a key for agents alone may not read.
    if query.history {
        caller.demand(Scope::Chat)?;
    }
    let owner = user.clone();
    let portable = rest.hub.read_for(&owner, move |store| {
        let blocks = store.blocks(&profile.id)?.into_iter();
        let blocks = blocks
            .map(|Block { label, text, limit, description }| PortableBlock {
                label,
                text,
                limit,
                description,
            })
            .collect();
        let (mut notes, mut after) = (Vec::new(), 0);
        loop {
            let page = store.archival_notes(&profile.id, after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.id;
            notes.extend(page.into_iter().map(|note| PortableNote {
                text: note.text,
                at: note.at,
                source: note.source,
            }));
        }
        let mut sessions = Vec::new();
        if query.history {
            let filter =
                SessionFilter { agent: Some(profile.id.clone()), ..SessionFilter::default() };
            let mut listed = store.sessions(&user, &filter)?;
            listed.sort_by_key(|listing| (!listing.main, listing.created_at));
            for listing in listed {
                let Some(stored) = store.session(&listing.id)? else { continue };
                let (mut events, mut after) = (Vec::new(), Seq::ZERO);
                loop {
                    let page = store.events(stored.num, after, PAGE)?;
                    let Some(last) = page.last() else { break };
                    after = last.seq;
                    events.extend(page);
                }
                sessions.push(PortableSession { events });
            }
        }
        Ok(Portable { thoughtwire_agent: FORM, agent: profile.spec, blocks, notes, sessions })
    });
    Ok(Json(portable.await?).into_response())
}

#[derive(Deserialize)]
pub(super) struct ImportQuery {
    name: Option<String>,
}

pub(super) async fn import(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Query(query): Query<ImportQuery>,
    body: Result<Json<Portable>, JsonRejection>,
) -> Answered {
    let user = caller.user;
    let file = read(body)?;
    let once = idempotency_key(&headers)?.map(|id| {
        let content = serde_json::to_string(&file).unwrap_or_default();
        let name = query.name.as_deref().unwrap_or_default();
        (id, command_digest("import_agent", &[name, &content]))
    });
    let Portable { thoughtwire_agent, mut agent, blocks, notes, sessions } = file;
    if thoughtwire_agent != FORM {
        let reason = format!(
            "the file has form {thoughtwire_agent} and this version reads form {FORM}; use the version that wrote it, or a newer one"
        );
        return Err(Refused(Refusal::new(RefusalCode::BadRequest, reason)));
    }
    if let Some(name) = query.name {
        agent.name = name;
    }
    for block in &blocks {
        storable("limit", block.limit)?;
    }
    let blocks = blocks.into_iter().map(|PortableBlock { label, text, limit, description }| {
        Block { label, text, limit, description }
    });
    let notes = notes
        .into_iter()
        .map(|PortableNote { text, at, source }| {
            Ok(Archive::note(text, at, note_source(source.as_deref())?))
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    let notes = rest.archive.prepare(notes).await;
    let imported = Imported {
        spec: agent,
        blocks: blocks.collect(),
        notes: notes.map_err(|error| Refusal::from(&error))?,
        sessions: sessions.into_iter().map(|session| imported(session.events)).collect(),
    };
    let count = imported.notes.len();
    let profile = rest.hub.directory().import_agent(&user, imported, once).await?;
    tracing::debug!(agent = %profile.id, notes = count, "took an agent in");
    Ok((StatusCode::CREATED, Json(json!({"agent": profile}))).into_response())
}

/// The log without its opening, which the new session has of its own.
fn imported(events: Vec<Record>) -> ImportedSession {
    let (mut instructions, mut history, mut records) = (None, Vec::new(), Vec::new());
    for record in events {
        if let Event::Session(SessionEvent::Opened {
            instructions: given, history: before, ..
        }) = record.event
        {
            (instructions, history) = (given, before);
        } else {
            records.push(record);
        }
    }
    ImportedSession { instructions, history, records }
}
