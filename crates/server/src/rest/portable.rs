//! Export and import of agents as files.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use thoughtwire_agent::Archive;
use thoughtwire_hub::{Imported, ImportedSession, command_digest};
use thoughtwire_proto::rest::{AgentBody, AgentFile, CoreBlock, FileNote, FileSession};
use thoughtwire_proto::{Event, Record, Refusal, RefusalCode, Seq, SessionEvent};
use thoughtwire_store::{Block, Scope, SessionFilter};

use crate::access::Identity;

use super::memory::{core_block, note_source};
use super::{
    Created, IdempotencyHeader, JsonBody, PathParams, QueryParams, RestRefusal, RestResult,
    SharedRest, read, storable,
};

/// Number of records or notes that are read at once.
const PAGE: usize = 1000;

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
pub(super) struct ExportQuery {
    /// Whether the logs of its sessions are exported. It needs the scope `chat` as well.
    #[serde(default)]
    history: bool,
}

pub(super) async fn export(
    State(rest): SharedRest,
    caller: Identity,
    PathParams(agent): PathParams<String>,
    QueryParams(query): QueryParams<ExportQuery>,
) -> RestResult<Json<AgentFile>> {
    let user = caller.user.clone();
    let profile = rest.profile(&user, agent).await?;
    // A key with only the scope `agents` may not read messages.
    if query.history {
        caller.demand(Scope::Chat)?;
    }
    let store = rest.hub.store().for_user(user.as_str());
    let blocks = store.memory().blocks(&profile.id).await?.into_iter().map(core_block).collect();
    let (mut notes, mut after) = (Vec::new(), 0);
    loop {
        let page = store.memory().notes(&profile.id, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        notes.extend(page.into_iter().map(|note| FileNote {
            text: note.text,
            at: note.at,
            source: note.source,
        }));
    }
    let mut sessions = Vec::new();
    if query.history {
        let filter = SessionFilter { agent: Some(profile.id.clone()), ..SessionFilter::default() };
        let mut listed = store.directory().sessions(&user, &filter).await?;
        listed.sort_by_key(|listing| (!listing.main, listing.created_at));
        for listing in listed {
            let (mut events, mut after) = (Vec::new(), Seq::ZERO);
            loop {
                let page = store.logs().records_after(&listing.id, after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = last.seq;
                events.extend(page);
            }
            // Without records the session was deleted meanwhile.
            if !events.is_empty() {
                sessions.push(FileSession { events });
            }
        }
    }
    let thoughtwire_agent = AgentFile::FORM;
    let agent = profile.spec;
    Ok(Json(AgentFile { thoughtwire_agent, agent, blocks, notes, sessions }))
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
pub(super) struct ImportQuery {
    /// Another name for the agent.
    name: Option<String>,
}

pub(super) async fn import(
    State(rest): SharedRest,
    caller: Identity,
    key: IdempotencyHeader,
    QueryParams(query): QueryParams<ImportQuery>,
    body: JsonBody<AgentFile>,
) -> RestResult<Created<AgentBody>> {
    let user = caller.user;
    let file = read(body)?;
    let once = key.read()?.map(|id| {
        let content = serde_json::to_string(&file).unwrap_or_default();
        let name = query.name.as_deref().unwrap_or_default();
        (id, command_digest("import_agent", &[name, &content]))
    });
    let AgentFile { thoughtwire_agent, mut agent, blocks, notes, sessions } = file;
    if thoughtwire_agent != AgentFile::FORM {
        let reason = format!(
            "the file has form {thoughtwire_agent} and this version reads form {}; use the version \
             that wrote it, or a newer one",
            AgentFile::FORM
        );
        return Err(RestRefusal(Refusal::new(RefusalCode::BadRequest, reason)));
    }
    if let Some(name) = query.name {
        agent.name = name;
    }
    for block in &blocks {
        storable("limit", block.limit)?;
    }
    let blocks = blocks.into_iter().map(|CoreBlock { label, text, limit, description }| Block {
        label,
        text,
        limit,
        description,
    });
    let notes = notes
        .into_iter()
        .map(|FileNote { text, at, source }| {
            Ok(Archive::note(text, at, note_source(source.as_deref())?))
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    rest.archive.check(&notes).map_err(|error| Refusal::from(&error))?;
    let imported = Imported {
        spec: agent,
        blocks: blocks.collect(),
        notes,
        sessions: sessions.into_iter().map(|session| imported(session.events)).collect(),
    };
    let count = imported.notes.len();
    let profile = rest.hub.directory().import_agent(&user, imported, once).await?;
    rest.archive.embed_new(&profile.id, count).await;
    tracing::debug!(agent = %profile.id, notes = count, "took an agent in");
    Ok(Created(AgentBody { agent: profile }))
}

/// Splits a log from its opening, since the new session has an opening of its own.
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
