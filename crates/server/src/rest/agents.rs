//! Agents.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Map, Value, json};
use thoughtwire_agent::{HUMANS, McpPhase, McpState, PERSONAS, Preset};
use thoughtwire_hub::Made;
use thoughtwire_proto::AgentSpec;
use thoughtwire_store::Scope;

use crate::access::{Identity, create_agent};

use super::memory::block;
use super::{Answered, Path, Shared, bad, idempotency_key, read};

pub(super) async fn list(State(rest): Shared, caller: Identity) -> Answered {
    let user = caller.user;
    let agents = rest.hub.read(move |store| store.agents(&user)).await?;
    Ok(Json(json!({"agents": agents})).into_response())
}

pub(super) async fn show(
    State(rest): Shared,
    caller: Identity,
    Path(agent): Path<String>,
) -> Answered {
    let mcp = servers(&rest.mcp.states(), &caller);
    let user = caller.user;
    let profile = rest.profile(&user, agent).await?;
    let id = profile.id.clone();
    let (blocks, archived, recalled) = rest
        .hub
        .read(move |store| {
            Ok((store.blocks(&id)?, store.archival_count(&id)?, store.recall_count(&id)?))
        })
        .await?;
    let blocks: Vec<Value> = blocks.iter().map(block).collect();
    let tools = rest.hub.tools_of(&profile);
    let memory = json!({"archival": archived, "recall": recalled});
    Ok(Json(
        json!({"agent": profile, "blocks": blocks, "memory": memory, "tools": tools, "mcp": mcp}),
    )
    .into_response())
}

/// The MCP servers as a caller may see them. They are shared: what they write to their standard
/// error may hold the arguments of others' calls, and why one failed tells of its machine.
fn servers(states: &[McpState], caller: &Identity) -> Value {
    if caller.has(Scope::Admin) {
        return json!(states);
    }
    let phase = |phase: &McpPhase| match phase {
        McpPhase::Starting => "starting",
        McpPhase::Ready => "ready",
        McpPhase::Failed { .. } => "failed",
        McpPhase::Stopped => "stopped",
    };
    let shown = |state: &McpState| {
        let phase = phase(&state.phase);
        json!({"name": state.name, "phase": phase, "tools": state.tools})
    };
    states.iter().map(shown).collect()
}

pub(super) async fn create(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    body: Result<Json<AgentSpec>, JsonRejection>,
) -> Answered {
    let spec = read(body)?;
    if spec.name.is_empty() {
        return Err(bad("an agent needs a name").into());
    }
    caller.demand(caller.scope_to_create(&spec))?;
    let Made { thing: profile, .. } =
        create_agent(&rest.hub, &caller, idempotency_key(&headers)?, spec).await?;
    Ok((StatusCode::CREATED, Json(json!({"agent": profile}))).into_response())
}

pub(super) async fn edit(
    State(rest): Shared,
    caller: Identity,
    Path(agent): Path<String>,
    body: Result<Json<Map<String, Value>>, JsonRejection>,
) -> Answered {
    let user = caller.user;
    let changes = read(body)?;
    let keeps = changes.contains_key("keep_days") || changes.contains_key("keep_events");
    let profile = rest.hub.directory().edit_agent(&user, &agent, changes).await?;
    if keeps {
        rest.sweep();
    }
    Ok(Json(json!({"agent": profile})).into_response())
}

pub(super) async fn delete(
    State(rest): Shared,
    caller: Identity,
    Path(agent): Path<String>,
) -> Answered {
    let user = caller.user;
    rest.hub.directory().delete_agent(&user, &agent).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The named texts that an agent can begin with.
pub(super) async fn presets() -> Answered {
    let named = |presets: &[Preset]| {
        presets.iter().map(|(name, text)| json!({"name": name, "text": text})).collect::<Vec<_>>()
    };
    Ok(Json(json!({"personas": named(&PERSONAS), "humans": named(&HUMANS)})).into_response())
}
