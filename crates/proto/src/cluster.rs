//! Frames between nodes that share a database: one connection for each session that clients of one
//! node follow and that another node owns.
//!
//! Both sides are of the same version or of neighbouring ones, so these frames are no public
//! contract. Emissions travel as the native frames that clients get.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster_offers::{OfferAnswer, OfferRequest};
use crate::dialect::native::ServerFrame;
use crate::{
    AgentId, CommandId, Epoch, Refusal, RefusalCode, Seq, SessionCommand, SessionEmission,
    SessionId, SessionReply, ToolDeclaration, TurnId, UserId,
};

/// A frame from a node to the session's owner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum NodeRequest {
    /// Follow a session from a position. A second one replaces the first.
    Follow {
        /// The session's user.
        user: UserId,
        /// The session.
        session: SessionId,
        /// The log's lifetime that the node knows.
        epoch: Epoch,
        /// The last record that it has.
        after: Seq,
        /// Number of its clients that are attached.
        clients: u64,
        /// The tools that they run.
        tools: Vec<ToolDeclaration>,
    },
    /// Carry out a command.
    Command {
        /// Number of the command on this connection.
        number: u64,
        /// The client's name.
        from: Option<String>,
        /// The client's id of the command.
        id: Option<CommandId>,
        /// The command.
        command: SessionCommand,
    },
    /// Save an owner's edit of a memory block of the session's agent.
    EditBlock {
        /// Number of the command on this connection.
        number: u64,
        /// The edit.
        edit: NodeBlockEdit,
    },
    /// Save the text of the session's open items. The answer comes when it is on disk.
    SaveOpenText {
        /// Number of the request on this connection.
        number: u64,
    },
    /// Something about offers of workers that are connected to the node.
    Offers {
        /// The frame.
        frame: OfferRequest,
    },
}

/// An edit of a memory block as it travels between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeBlockEdit {
    /// The agent.
    pub agent: AgentId,
    /// The block's label.
    pub label: String,
    /// The text before the edit.
    pub before: String,
    /// The block from now on; absent if it is deleted.
    pub after: Option<NodeBlock>,
}

/// A memory block as it travels between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeBlock {
    /// The text.
    pub text: String,
    /// Maximum number of its characters.
    pub limit: usize,
    /// Its purpose.
    pub description: String,
}

/// A frame from the session's owner to a node.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeAnswer {
    /// Something of the session.
    Emission(SessionEmission),
    /// Any other answer.
    Said(OwnerFrame),
}

/// An answer of the owner that is no emission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OwnerFrame {
    /// The session is followed.
    Following {
        /// First position that the log still has.
        first: Seq,
        /// The newest position.
        head: Seq,
        /// Whether the records behind the given position follow. Otherwise the log is another.
        recovered: bool,
        /// The running turn.
        turn: Option<TurnId>,
    },
    /// The session cannot be followed here.
    NotFollowed {
        /// Why.
        refusal: NodeRefusal,
    },
    /// A command took effect.
    CommandDone {
        /// Its number.
        number: u64,
        /// The reply.
        reply: SessionReply,
    },
    /// A command was refused.
    CommandRefused {
        /// Its number.
        number: u64,
        /// Why.
        refusal: NodeRefusal,
    },
    /// Nothing more follows.
    FollowEnded {
        /// Why.
        reason: String,
        /// Whether the session was deleted. Otherwise another node may have it.
        deleted: bool,
    },
    /// Something for the workers that are connected to the node.
    Offers {
        /// The frame.
        frame: OfferAnswer,
    },
}

/// A refusal as it travels between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRefusal {
    /// The code.
    pub code: RefusalCode,
    /// The sentence.
    pub reason: String,
}

impl From<Refusal> for NodeRefusal {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code, reason: refusal.reason }
    }
}

impl From<NodeRefusal> for Refusal {
    fn from(refused: NodeRefusal) -> Self {
        Self::new(refused.code, refused.reason)
    }
}

impl NodeRequest {
    /// Writes the frame.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn decode(text: &str) -> Result<Self, Refusal> {
        serde_json::from_str(text)
            .map_err(|error| Refusal::new(RefusalCode::BadFrame, error.to_string()))
    }
}

impl NodeAnswer {
    /// Writes the frame.
    #[must_use]
    pub fn encode(self) -> String {
        match self {
            Self::Emission(emission) => ServerFrame::SessionEmission(emission).encode(),
            Self::Said(frame) => serde_json::to_string(&frame).unwrap_or_default(),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn decode(text: &str) -> Result<Self, Refusal> {
        let unknown = |reason: String| Refusal::new(RefusalCode::BadFrame, reason);
        match ServerFrame::decode(text)? {
            ServerFrame::SessionEmission(emission) => Ok(Self::Emission(emission)),
            ServerFrame::Other(fields) => serde_json::from_value(Value::Object(fields))
                .map(Self::Said)
                .map_err(|error| unknown(error.to_string())),
            frame @ (ServerFrame::Welcome { .. }
            | ServerFrame::Attached(_)
            | ServerFrame::CaughtUp { .. }
            | ServerFrame::Ack(_)
            | ServerFrame::Refused(_)
            | ServerFrame::Session(_)
            | ServerFrame::SessionGone { .. }
            | ServerFrame::Directed(_)
            | ServerFrame::Detached { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::GoAway { .. }
            | ServerFrame::Part(_)) => {
                Err(unknown(format!("no frame between nodes: {}", frame.encode())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Emission;

    #[test]
    fn frames_come_back_as_they_were() {
        let request = NodeRequest::Command {
            number: 7,
            from: Some("web".into()),
            id: Some("c-1".parse().unwrap()),
            command: SessionCommand::Rename { title: "Tea".into() },
        };
        assert_eq!(NodeRequest::decode(&request.encode()), Ok(request));
        let refusal = Refusal::new(RefusalCode::Moved, "elsewhere").into();
        for answer in [
            NodeAnswer::Said(OwnerFrame::CommandRefused { number: 7, refusal }),
            NodeAnswer::Said(OwnerFrame::CommandDone {
                number: 7,
                reply: SessionReply::Done { seq: Some(Seq(3)), duplicate: true },
            }),
            NodeAnswer::Emission(SessionEmission {
                session: "s-1".parse().unwrap(),
                emission: Emission::Presence { clients: 2 },
            }),
        ] {
            assert_eq!(NodeAnswer::decode(&answer.clone().encode()), Ok(answer));
        }
        assert!(NodeAnswer::decode(r#"{"type":"weather"}"#).is_err());
    }
}
