//! Models: the caller's agents.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use thoughtwire_proto::{AgentProfile, UserId};

use super::OpenAiResult;
use crate::access::Identity;
use crate::rest::{PathParams, RestRefusal, SharedRest};

#[derive(Serialize)]
pub(super) struct ModelList {
    object: &'static str,
    data: Vec<ModelEntry>,
}

#[derive(Serialize)]
pub(super) struct ModelEntry {
    id: String,
    object: &'static str,
    /// Seconds since 1970 at which the agent was created, as far as its id tells.
    created: i64,
    owned_by: String,
}

/// Lists the caller's agents.
pub(super) async fn list(
    State(rest): SharedRest,
    caller: Identity,
) -> OpenAiResult<Json<ModelList>> {
    let agents = rest.hub.store().directory().agents(&caller.user).await?;
    let data = agents.into_iter().map(|agent| entry(&caller.user, agent)).collect();
    Ok(Json(ModelList { object: "list", data }))
}

/// Shows one of the caller's agents.
pub(super) async fn show(
    State(rest): SharedRest,
    caller: Identity,
    model: Result<PathParams<String>, RestRefusal>,
) -> OpenAiResult<Json<ModelEntry>> {
    let PathParams(model) = model?;
    let agent = rest.hub.directory().find_agent(&caller.user, &model).await?;
    Ok(Json(entry(&caller.user, agent)))
}

fn entry(user: &UserId, agent: AgentProfile) -> ModelEntry {
    // Our ids are UUIDs of version 7, which begin with their time. Imported agents may have others.
    let millis = agent.id.as_str().get(..12).and_then(|hex| i64::from_str_radix(hex, 16).ok());
    ModelEntry {
        id: agent.spec.name,
        object: "model",
        created: millis.unwrap_or(0) / 1_000,
        owned_by: user.to_string(),
    }
}
