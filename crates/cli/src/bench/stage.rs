//! What a run makes on the server, and takes away again: agents with the load's model, and their sessions.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Map, Value};
use thoughtwire_proto::AgentSpec;
use thoughtwire_proto::rest::AgentPatch;

use super::plan::Plan;
use super::wire::{Place, Wire};
use crate::rest::RestClient;

/// Requests under way at once.
const AT_ONCE: usize = 32;

/// The agent that somebody without a key has on Sparky's wire.
const SPARKY: &str = "sparky";

/// The sessions of a run.
pub(crate) struct Stage {
    rest: Option<RestClient>,
    agents: Vec<String>,
    /// What gives a borrowed agent its model back.
    borrowed: Option<AgentPatch>,
    pub(crate) places: Vec<Place>,
}

impl Stage {
    /// Makes what the run needs; nothing on a server that is not ours.
    pub(crate) async fn set(rest: Option<RestClient>, plan: &Plan) -> anyhow::Result<Self> {
        let numbered = |prefix: &str| {
            (0..plan.sessions).map(|number| format!("{prefix}{number}")).collect::<Vec<_>>()
        };
        let Some(rest) = rest else {
            let places = numbered("").into_iter().map(Place).collect();
            return Ok(Self { rest, agents: Vec::new(), borrowed: None, places });
        };
        let agents = match &plan.wire {
            Wire::Native | Wire::Plain { .. } => vec![plan.name.clone()],
            // An agent's main session is the only one that this wire reaches.
            Wire::Memgpt => numbered(&format!("{}-", plan.name)),
            Wire::Sparky => Vec::new(),
        };
        let model = plan.model();
        let spec = |name: &String| AgentSpec {
            name: name.clone(),
            model: Some(model.clone()),
            ..AgentSpec::default()
        };
        let specs: Vec<_> = agents.iter().map(spec).collect();
        let profiles: Vec<_> = stream::iter(&specs)
            .map(|spec| rest.create_agent(spec))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let places = match &plan.wire {
            Wire::Native | Wire::Plain { .. } => {
                let mut places: Vec<_> =
                    profiles.iter().map(|profile| profile.main_session.to_string()).collect();
                let more = (places.len()..plan.sessions).map(|_| rest.create_session(&plan.name));
                let more: Vec<_> = stream::iter(more).buffered(AT_ONCE).try_collect().await?;
                places.extend(more.iter().map(ToString::to_string));
                places
            }
            Wire::Memgpt => agents.clone(),
            Wire::Sparky => numbered(&format!("{}-", plan.name)),
        };
        let mut stage = Self {
            rest: Some(rest),
            agents,
            borrowed: None,
            places: places.into_iter().map(Place).collect(),
        };
        if matches!(plan.wire, Wire::Sparky) {
            stage.take_sparky(plan).await?;
        }
        Ok(stage)
    }

    /// On Sparky's wire each user has one agent: makes it, or borrows it if it is there.
    async fn take_sparky(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let Some(rest) = &self.rest else { return Ok(()) };
        if let Some(profile) = rest.find_agent(SPARKY).await? {
            rest.edit_agent(SPARKY, &model(Some(plan.model()))).await?;
            self.borrowed = Some(model(profile.spec.model));
        } else {
            rest.create_agent(&AgentSpec {
                name: SPARKY.to_owned(),
                model: Some(plan.model()),
                ..AgentSpec::default()
            })
            .await?;
            self.agents.push(SPARKY.to_owned());
        }
        Ok(())
    }

    /// Takes it away again.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        let Some(rest) = &self.rest else { return Ok(()) };
        if let Some(changes) = &self.borrowed {
            rest.edit_agent(SPARKY, changes).await?;
        }
        stream::iter(&self.agents)
            .map(|agent| rest.delete_agent(agent))
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }
}

/// The change that gives an agent a model, or none of its own.
fn model(model: Option<String>) -> AgentPatch {
    let model = model.map_or(Value::Null, Value::String);
    AgentPatch(Map::from_iter([("model".to_owned(), model)]))
}
