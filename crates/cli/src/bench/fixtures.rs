//! The agents and sessions that a run creates on the server, and deletes at the end.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Map, Value};
use thoughtwire_proto::AgentSpec;
use thoughtwire_proto::rest::{AgentPatch, SessionPatch};

use super::dialect::{BenchSessionName, BenchWire};
use super::plan::BenchPlan;
use crate::rest::RestClient;

/// Requests at the same time.
const AT_ONCE: usize = 32;

/// The only agent of a user without a key on Sparky's wire.
const SPARKY: &str = "sparky";

/// Gives a session a title, so that the node that is asked owns it before readers come.
async fn name_session(rest: &RestClient, session: &str, plan: &BenchPlan) -> anyhow::Result<()> {
    let changes = SessionPatch { title: Some(plan.name.clone()), ..SessionPatch::default() };
    rest.edit_session(&session.parse()?, &changes).await
}

/// The agents and sessions of a run.
pub(crate) struct BenchFixtures {
    rest: Option<RestClient>,
    agents: Vec<String>,
    /// The change that restores the model of a borrowed agent.
    borrowed: Option<AgentPatch>,
    pub(crate) sessions: Vec<BenchSessionName>,
}

impl BenchFixtures {
    /// Creates what the run needs; nothing on another kind of server.
    pub(crate) async fn create(rest: Option<RestClient>, plan: &BenchPlan) -> anyhow::Result<Self> {
        let numbered = |prefix: &str| {
            (0..plan.sessions).map(|number| format!("{prefix}{number}")).collect::<Vec<_>>()
        };
        let Some(rest) = rest else {
            let sessions = numbered("").into_iter().map(BenchSessionName).collect();
            return Ok(Self { rest, agents: Vec::new(), borrowed: None, sessions });
        };
        let agents = match &plan.wire {
            BenchWire::Native | BenchWire::Plain { .. } => vec![plan.name.clone()],
            // This protocol reaches only an agent's main session.
            BenchWire::Memgpt => numbered(&format!("{}-", plan.name)),
            BenchWire::Sparky => Vec::new(),
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
        let sessions = match &plan.wire {
            BenchWire::Native | BenchWire::Plain { .. } => {
                let mut sessions: Vec<_> =
                    profiles.iter().map(|profile| profile.main_session.to_string()).collect();
                let more = (sessions.len()..plan.sessions).map(|_| rest.create_session(&plan.name));
                let more: Vec<_> = stream::iter(more).buffered(AT_ONCE).try_collect().await?;
                sessions.extend(more.iter().map(ToString::to_string));
                if plan.has_owner {
                    let titles = sessions.iter().map(|session| name_session(&rest, session, plan));
                    stream::iter(titles).buffered(AT_ONCE).try_collect::<()>().await?;
                }
                sessions
            }
            BenchWire::Memgpt => agents.clone(),
            BenchWire::Sparky => numbered(&format!("{}-", plan.name)),
        };
        let mut fixtures = Self {
            rest: Some(rest),
            agents,
            borrowed: None,
            sessions: sessions.into_iter().map(BenchSessionName).collect(),
        };
        if matches!(plan.wire, BenchWire::Sparky) {
            fixtures.take_sparky(plan).await?;
        }
        Ok(fixtures)
    }

    /// Creates the user's only agent on Sparky's wire, or borrows it if it exists.
    async fn take_sparky(&mut self, plan: &BenchPlan) -> anyhow::Result<()> {
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

    /// Deletes the agents and restores the borrowed one.
    pub(crate) async fn delete(&self) -> anyhow::Result<()> {
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

/// The change that sets an agent's model, or resets it.
fn model(model: Option<String>) -> AgentPatch {
    let model = model.map_or(Value::Null, Value::String);
    AgentPatch(Map::from_iter([("model".to_owned(), model)]))
}
