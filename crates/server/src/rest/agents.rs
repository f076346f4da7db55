//! Agents.

use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use thoughtwire_agent::{HUMANS, McpPhase, McpState, PERSONAS, Preset};
use thoughtwire_hub::Made;
use thoughtwire_proto::AgentSpec;
use thoughtwire_proto::rest::{
    AgentBody, AgentDetails, AgentList, AgentPatch, McpServerListing, McpServerPhase, MemoryCounts,
    PresetList, PresetText,
};
use thoughtwire_store::Scope;

use crate::access::{Identity, create_agent};

use super::memory::core_block;
use super::{Created, IdempotencyHeader, JsonBody, PathParams, RestResult, SharedRest, bad, read};

pub(super) async fn list(State(rest): SharedRest, caller: Identity) -> RestResult<Json<AgentList>> {
    let user = caller.user;
    let agents = rest.hub.store().directory().agents(&user).await?;
    Ok(Json(AgentList { agents }))
}

pub(super) async fn show(
    State(rest): SharedRest,
    caller: Identity,
    PathParams(agent): PathParams<String>,
) -> RestResult<Json<AgentDetails>> {
    let mcp = servers(rest.mcp.states(), &caller);
    let user = caller.user;
    let profile = rest.profile(&user, agent).await?;
    let memory = rest.hub.store().memory();
    let blocks = memory.blocks(&profile.id).await?.into_iter().map(core_block).collect();
    let archival = memory.note_count(&profile.id).await?;
    let recall = memory.recall_count(&profile.id).await?;
    let tools = rest.hub.tools_of(&profile);
    let unembedded = rest.archive.unembedded(&profile.id);
    let memory = MemoryCounts { archival, recall, unembedded };
    Ok(Json(AgentDetails { agent: profile, blocks, memory, tools, mcp }))
}

/// Returns the MCP servers as the caller may see them.
///
/// All users share them. Their standard error may contain the arguments of other users' calls, and
/// the reason of a failure may describe the machine, so both need the scope `admin`.
fn servers(states: Vec<McpState>, caller: &Identity) -> Vec<McpServerListing> {
    let admin = caller.has(Scope::Admin);
    let listed = |state: McpState| {
        let (phase, reason) = match state.phase {
            McpPhase::Starting => (McpServerPhase::Starting, None),
            McpPhase::Ready => (McpServerPhase::Ready, None),
            McpPhase::Failed { reason } => (McpServerPhase::Failed, Some(reason)),
            McpPhase::Stopped => (McpServerPhase::Stopped, None),
        };
        McpServerListing {
            name: state.name,
            phase,
            reason: reason.filter(|_| admin),
            tools: state.tools,
            restarts: admin.then_some(state.restarts),
            stderr: admin.then_some(state.stderr),
            pid: admin.then_some(state.pid),
        }
    };
    states.into_iter().map(listed).collect()
}

pub(super) async fn create(
    State(rest): SharedRest,
    caller: Identity,
    key: IdempotencyHeader,
    body: JsonBody<AgentSpec>,
) -> RestResult<Created<AgentBody>> {
    let spec = read(body)?;
    if spec.name.is_empty() {
        return Err(bad("an agent needs a name").into());
    }
    caller.demand(caller.scope_to_create(&spec))?;
    let Made { thing: agent, .. } = create_agent(&rest.hub, &caller, key.read()?, spec).await?;
    Ok(Created(AgentBody { agent }))
}

pub(super) async fn edit(
    State(rest): SharedRest,
    caller: Identity,
    PathParams(agent): PathParams<String>,
    body: JsonBody<AgentPatch>,
) -> RestResult<Json<AgentBody>> {
    let user = caller.user;
    let AgentPatch(changes) = read(body)?;
    let keeps = changes.contains_key("keep_days") || changes.contains_key("keep_events");
    let profile = rest.hub.directory().edit_agent(&user, &agent, changes).await?;
    if keeps {
        rest.sweep();
    }
    Ok(Json(AgentBody { agent: profile }))
}

pub(super) async fn delete(
    State(rest): SharedRest,
    caller: Identity,
    PathParams(agent): PathParams<String>,
) -> RestResult<NoContent> {
    let user = caller.user;
    rest.hub.directory().delete_agent(&user, &agent).await?;
    Ok(NoContent)
}

/// Lists the named texts that a new agent's memory can begin with.
pub(super) async fn presets() -> Json<PresetList> {
    let named = |presets: &[Preset]| {
        let text = |(name, text): &Preset| PresetText {
            name: (*name).to_owned(),
            text: (*text).to_owned(),
        };
        presets.iter().map(text).collect()
    };
    Json(PresetList { personas: named(&PERSONAS), humans: named(&HUMANS) })
}
