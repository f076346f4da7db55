//! Frames between nodes about workers: a node tells each other one of the workers that are
//! connected to it, and carries what those nodes and these workers tell each other.
//!
//! The worker's node decides on its places. A node that has a turn for a worker asks for a place,
//! hands the turn over when it has one, and gives the place back when the turn has ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster::NodeRefusal;
use crate::{AgentId, Input, Seq, SessionId, Timestamp, ToolDeclaration, TurnId, WorkerId};

/// A frame from the node to which workers are connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OfferRequest {
    /// A worker offers an agent, or offers it again.
    Offer {
        /// Number of the offer among those of this connection between the nodes.
        number: u64,
        /// Number of the worker's connection.
        connection: u64,
        /// The agent.
        agent: AgentId,
        /// The worker's name.
        worker: WorkerId,
        /// Time of the offer. Of two workers with one name the later one counts.
        since: Timestamp,
        /// The terms.
        terms: NodeTerms,
    },
    /// A worker's connection has ended.
    Leave {
        /// Number of the connection.
        connection: u64,
        /// The agent that it offered.
        agent: AgentId,
        /// The worker's name.
        worker: WorkerId,
    },
    /// A worker uses a verb in a turn.
    Say {
        /// Number of the verb.
        number: u64,
        /// Number of the worker's connection.
        connection: u64,
        /// The worker's native frame.
        frame: String,
    },
    /// A worker has a place.
    Granted {
        /// Number of the place.
        number: u64,
        /// The agent.
        agent: AgentId,
        /// The worker's name.
        worker: WorkerId,
    },
}

/// Terms of an offer as they travel between nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeTerms {
    /// Maximum number of turns at once.
    pub turns: usize,
    /// Maximum number of records of the session's past that come with a turn.
    pub history: usize,
    /// Whether the agent's memory blocks come with a turn.
    pub memory: bool,
    /// Tools that the worker runs itself.
    pub tools: Vec<ToolDeclaration>,
    /// Whether the worker goes on with turns that another one began.
    pub resumable: bool,
    /// Positions that the worker has, by session; absent if it keeps no past of its own.
    pub known: Option<BTreeMap<SessionId, Seq>>,
}

/// A frame to the node to which workers are connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OfferAnswer {
    /// A worker's offer is known.
    Offered {
        /// Number of the offer.
        number: u64,
        /// Number of the worker's connection.
        connection: u64,
        /// The agent.
        agent: AgentId,
        /// The worker's name.
        worker: WorkerId,
        /// Turns that are or may become the worker's.
        turns: Vec<TurnId>,
        /// Numbers of the places of this worker that are in use already.
        places: Vec<u64>,
    },
    /// A directive for a worker.
    Directed {
        /// Number of the worker's connection.
        connection: u64,
        /// The native frame.
        frame: String,
    },
    /// A verb took effect.
    Said {
        /// Number of the verb.
        number: u64,
        /// Position of its event.
        seq: Option<Seq>,
        /// Inputs that steer the turn.
        steered: Vec<Input>,
        /// Whether it took effect before.
        duplicate: bool,
    },
    /// A verb was refused.
    SayRefused {
        /// Number of the verb.
        number: u64,
        /// Why.
        refusal: NodeRefusal,
    },
    /// A session wants a place at a worker.
    Wanted {
        /// Number of the place.
        number: u64,
        /// The agent.
        agent: AgentId,
        /// The session.
        session: SessionId,
        /// The turn to resume, if one goes on.
        turn: Option<TurnId>,
        /// Whether only a worker will do that resumes the turns of others.
        resumable: bool,
    },
    /// A place is wanted or used no longer.
    Freed {
        /// Number of the place.
        number: u64,
    },
}
