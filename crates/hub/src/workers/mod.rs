//! Agents that programs outside the server run.
//!
//! A program offers an agent over a connection and so becomes one of the agent's workers.
//!
//! ```text
//! session ──permit request──▶ OfferRegistry ──turn──▶ WorkerInbox ──▶ connection ──▶ program
//! session ◀──turn messages─── WorkerTurn ◀────say─────────────────── connection ◀── program
//! ```
//!
//! A session with an input for such an agent requests a [`WorkerPermit`] and starts the turn when
//! it has one. [`OfferRegistry::run`] is the turn's future, as `Agent::run` is for a built-in
//! agent: it assigns the turn to the permit's worker and resolves when the worker has ended it.
//! The worker's verbs go through the turn's own interface, so the session handles both kinds of
//! agents alike.

mod answers;
mod assignment;
mod briefing;
mod cut_items;
mod held_calls;
mod inbox;
mod other_nodes;
mod permit;
mod pool;
mod progress;
mod registry;
mod turn;
mod verbs;
mod worker;
mod worker_node;

use thoughtwire_proto::{AgentProfile, OFFERED};

use crate::turn_message::AgentError;

pub(crate) use inbox::{InboxEntry, WorkerInbox};
pub(crate) use other_nodes::NodeOffers;
pub(crate) use permit::{PermitCell, WorkerPermit};
pub(crate) use pool::WorkerChoice;
pub(crate) use registry::OfferRegistry;
pub(crate) use turn::WorkerTurn;
pub(crate) use worker_node::WorkerNode;

/// Whether programs outside the server run an agent.
pub(crate) fn is_offered(profile: &AgentProfile) -> bool {
    profile.spec.model.as_deref() == Some(OFFERED)
}

/// Status that clients are shown while no worker offers the agent that they talk to.
pub(crate) fn no_worker_status(agent: &AgentProfile) -> String {
    format!(
        "{} is run by a program that is not here now; what is said to it waits until it is",
        agent.spec.name
    )
}

/// Error of a turn whose worker left and did not come back.
fn worker_lost() -> AgentError {
    AgentError::new(
        "agent_lost",
        "The program that runs this agent went away in the middle of the turn \
         and did not come back.",
    )
}
