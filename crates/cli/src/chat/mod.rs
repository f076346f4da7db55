//! `thoughtwire chat`: a conversation at a terminal or through a pipe.

mod editor;
mod input;
mod piped;
mod screen;
mod terminal;

use std::io::IsTerminal as _;

use thoughtwire_proto::{AgentSpec, SessionId};

use crate::cli::ChatFlags;
use crate::out::TextStyle;
use crate::rest::{RestClient, ServerRefusal};
use crate::{CommandStatus, UsageError, out};

/// The agent of `chat` and `send` when none is named.
pub(crate) const DEFAULT_AGENT: &str = "main";

/// The session of a chat, and its agent's name.
pub(crate) struct ChatSession {
    /// The agent's name.
    name: String,
    /// The session.
    pub(crate) session: SessionId,
}

pub(crate) async fn run(flags: ChatFlags) -> anyhow::Result<CommandStatus> {
    let ChatFlags { target, agent, session, json, thoughts } = flags;
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if is_terminal && json {
        return Err(UsageError(
            "--json needs piped input; at a terminal use `thoughtwire send --json`".to_owned(),
        )
        .into());
    }
    let rest = RestClient::new(target.server().await?)?;
    let chat_session = match session {
        Some(session) => {
            ChatSession { name: rest.session(&session).await?.session.agent_name, session }
        }
        None => find_or_create(&rest, agent.as_deref().unwrap_or(DEFAULT_AGENT)).await?,
    };
    if is_terminal {
        terminal::run(rest.transport.server().clone(), chat_session).await
    } else {
        let form = match (json, thoughts) {
            (true, _) => piped::PipedOutput::Json,
            (false, true) => piped::PipedOutput::Everything,
            (false, false) => piped::PipedOutput::Messages,
        };
        piped::run(rest.transport.server().clone(), chat_session, form).await
    }
}

/// Returns the agent's main session; creates the agent if it does not exist.
pub(crate) async fn find_or_create(rest: &RestClient, name: &str) -> anyhow::Result<ChatSession> {
    let profile = match rest.find_agent(name).await? {
        Some(profile) => profile,
        None => {
            thoughtwire_proto::new_name(name)
                .map_err(|bad| UsageError(format!("{name:?} is not a valid name: {bad}")))?;
            let spec = AgentSpec { name: name.to_owned(), ..AgentSpec::default() };
            match rest.create_agent(&spec).await {
                Ok(profile) => {
                    out::remark(TextStyle::Dim, &format!("(created the agent {name})"));
                    profile
                }
                // Another client created it at the same time.
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
    Ok(ChatSession { name: profile.spec.name, session: profile.main_session })
}
