//! `thoughtwire chat`: a conversation, at a terminal or through a pipe.

mod editor;
mod input;
mod piped;
mod screen;
mod terminal;

use std::io::IsTerminal as _;

use thoughtwire_proto::{AgentSpec, SessionId};

use crate::cli::ChatFlags;
use crate::out::Look;
use crate::rest::{RestClient, ServerRefusal};
use crate::{Outcome, Usage, out};

/// The agent that is meant when none is named.
pub(crate) const MAIN: &str = "main";

/// Whom one talks to.
pub(crate) struct Partner {
    /// The agent's name.
    name: String,
    /// The session.
    pub(crate) session: SessionId,
}

pub(crate) async fn run(flags: ChatFlags) -> anyhow::Result<Outcome> {
    let ChatFlags { reach, agent, session, json, thoughts } = flags;
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if is_terminal && json {
        return Err(Usage(
            "--json is for piped input; at a terminal see `thoughtwire send --json`".to_owned(),
        )
        .into());
    }
    let rest = RestClient::new(reach.server().await?)?;
    let partner = match session {
        Some(session) => {
            Partner { name: rest.session(&session).await?.session.agent_name, session }
        }
        None => found_or_made(&rest, agent.as_deref().unwrap_or(MAIN)).await?,
    };
    if is_terminal {
        terminal::run(rest.transport.server().clone(), partner).await
    } else {
        let form = match (json, thoughts) {
            (true, _) => piped::Form::Json,
            (false, true) => piped::Form::Everything,
            (false, false) => piped::Form::Messages,
        };
        piped::run(rest.transport.server().clone(), partner, form).await
    }
}

/// The agent's main session; the agent is made when it is not there.
pub(crate) async fn found_or_made(rest: &RestClient, name: &str) -> anyhow::Result<Partner> {
    let profile = match rest.find_agent(name).await? {
        Some(profile) => profile,
        None => {
            thoughtwire_proto::new_name(name)
                .map_err(|bad| Usage(format!("{name:?} is no name: {bad}")))?;
            let spec = AgentSpec { name: name.to_owned(), ..AgentSpec::default() };
            match rest.create_agent(&spec).await {
                Ok(profile) => {
                    out::remark(Look::Dim, &format!("(made the agent {name})"));
                    profile
                }
                // Somebody else was quicker.
                Err(error)
                    if error
                        .downcast_ref::<ServerRefusal>()
                        .is_some_and(|refused| refused.code == "name_taken") =>
                {
                    rest.agent(name).await?.agent
                }
                Err(error) => return Err(error),
            }
        }
    };
    Ok(Partner { name: profile.spec.name, session: profile.main_session })
}
