//! `MemGPT`'s frames, in both directions.
//!
//! Observed in the modules `memgpt.server.websocket_protocol` (0.2.5) and
//! `memgpt.server.ws_api.protocol` (0.2.11, 0.3.25). They have eleven functions, eight for frames
//! of the server and three for frames of the client. 0.2.5 names an agent by `agent_name`, later
//! versions by `agent_id`.
#![allow(clippy::wildcard_enum_match_arm, reason = "JSON has these kinds and no others")]

use crate::dialect::python::Json;
use crate::{Refusal, RefusalCode};

/// A frame of either direction.
#[derive(Debug, Clone, PartialEq)]
pub enum MemgptFrame {
    /// From a client.
    Client(MemgptClientFrame),
    /// From the server.
    Server(MemgptServerFrame),
}

/// The key by which a user message names its agent.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentKey {
    /// No key: the agent that the connection is on.
    Absent,
    /// `agent_name`, from 0.2.5. Null counts as absent.
    Name(Json),
    /// `agent_id`, from 0.2.11 on. Null counts as absent.
    Id(Json),
}

/// A frame from a client.
#[derive(Debug, Clone, PartialEq)]
pub enum MemgptClientFrame {
    /// `client_user_message`. The original accepts any JSON as the message.
    UserMessage {
        /// The message.
        message: Json,
        /// The agent.
        agent: AgentKey,
    },
    /// `client_command_create`.
    CreateAgent {
        /// The agent's description. A frame without it is refused when it is carried out.
        config: Option<Json>,
    },
    /// `client_command_load`.
    LoadAgent {
        /// The agent's name or id. A frame without it is refused when it is carried out.
        name: Option<Json>,
    },
}

/// The three message types of `agent_response`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseKind {
    /// `server_agent_internal_monologue`.
    InternalMonologue,
    /// `server_agent_assistant_message`.
    AssistantMessage,
    /// `server_agent_function_message`.
    FunctionMessage,
}

/// A frame from a server. The originals accept any JSON where a text is expected.
#[derive(Debug, Clone, PartialEq)]
pub enum MemgptServerFrame {
    /// `server_error`.
    Error(Json),
    /// `server_command_response`.
    CommandResponse(Json),
    /// `server_agent_response_error`.
    ResponseError(Json),
    /// `server_agent_response_start`.
    ResponseStart,
    /// `server_agent_response_end`.
    ResponseEnd,
    /// An `agent_response`.
    Response(ResponseKind, Json),
}

impl ResponseKind {
    const ALL: [Self; 3] = [Self::InternalMonologue, Self::AssistantMessage, Self::FunctionMessage];

    /// The value of `message_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InternalMonologue => "internal_monologue",
            Self::AssistantMessage => "assistant_message",
            Self::FunctionMessage => "function_message",
        }
    }
}

impl MemgptFrame {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`RefusalCode::BadFrame`] if it is not a JSON object, [`RefusalCode::UnknownType`] for an
    /// unknown type or command, [`RefusalCode::BadRequest`] for a missing or wrong key.
    pub fn decode(text: &str) -> Result<Self, Refusal> {
        Self::read(&Json::parse(text)?)
    }

    /// Reads a frame from its parsed form.
    ///
    /// # Errors
    /// Those of [`MemgptFrame::decode`].
    pub fn read(json: &Json) -> Result<Self, Refusal> {
        if !matches!(json, Json::Dict(_)) {
            return Err(Refusal::new(
                RefusalCode::BadFrame,
                format!("a frame is a JSON object; this is {}", json.kind()),
            ));
        }
        let kind = match json.get("type") {
            Some(Json::Text(kind)) => kind.as_str(),
            Some(other) => {
                return Err(Refusal::new(
                    RefusalCode::UnknownType,
                    format!("\"type\" is a string; this is {}", other.kind()),
                ));
            }
            None => return Err(Refusal::new(RefusalCode::BadRequest, "the frame has no \"type\"")),
        };
        let need = |key: &str| match json.get(key) {
            Some(value) => Ok(value.clone()),
            None => Err(Refusal::new(RefusalCode::BadRequest, format!("{kind} needs {key:?}"))),
        };
        Ok(match kind {
            "user_message" => {
                let agent = match (json.get("agent_name"), json.get("agent_id")) {
                    (Some(name), _) => AgentKey::Name(name.clone()),
                    (None, Some(id)) => AgentKey::Id(id.clone()),
                    (None, None) => AgentKey::Absent,
                };
                Self::Client(MemgptClientFrame::UserMessage { message: need("message")?, agent })
            }
            "command" => match need("command")? {
                Json::Text(command) if command == "create_agent" => {
                    Self::Client(MemgptClientFrame::CreateAgent {
                        config: json.get("config").cloned(),
                    })
                }
                Json::Text(command) if command == "load_agent" => {
                    Self::Client(MemgptClientFrame::LoadAgent { name: json.get("name").cloned() })
                }
                other => {
                    let reason = format!(
                        "there is no command {}; there are \"create_agent\" and \"load_agent\"",
                        other.dumps()
                    );
                    return Err(Refusal::new(RefusalCode::UnknownType, reason));
                }
            },
            "server_error" => Self::Server(MemgptServerFrame::Error(need("message")?)),
            "command_response" => Self::Server(MemgptServerFrame::CommandResponse(need("status")?)),
            "agent_response_error" => {
                Self::Server(MemgptServerFrame::ResponseError(need("message")?))
            }
            "agent_response_start" => Self::Server(MemgptServerFrame::ResponseStart),
            "agent_response_end" => Self::Server(MemgptServerFrame::ResponseEnd),
            "agent_response" => {
                let given = need("message_type")?;
                let response = ResponseKind::ALL.into_iter().find(
                    |response| matches!(&given, Json::Text(text) if text == response.as_str()),
                );
                let unknown = || {
                    Refusal::new(
                        RefusalCode::BadRequest,
                        format!("there is no message_type {}", given.dumps()),
                    )
                };
                Self::Server(MemgptServerFrame::Response(
                    response.ok_or_else(unknown)?,
                    need("message")?,
                ))
            }
            other => {
                return Err(Refusal::new(
                    RefusalCode::UnknownType,
                    format!("there is no frame of type {other:?}"),
                ));
            }
        })
    }

    /// Writes the frame with the original's order of keys and separators.
    #[must_use]
    pub fn encode(&self) -> String {
        let frame = |kind: &str, rest: Vec<(&str, Json)>| {
            let mut members = vec![("type".to_owned(), Json::text(kind))];
            members.extend(rest.into_iter().map(|(key, value)| (key.to_owned(), value)));
            Json::Dict(members).dumps()
        };
        match self {
            Self::Client(MemgptClientFrame::UserMessage { message, agent }) => {
                let mut rest = vec![("message", message.clone())];
                match agent {
                    AgentKey::Absent => {}
                    AgentKey::Name(name) => rest.push(("agent_name", name.clone())),
                    AgentKey::Id(id) => rest.push(("agent_id", id.clone())),
                }
                frame("user_message", rest)
            }
            Self::Client(MemgptClientFrame::CreateAgent { config }) => {
                let mut rest = vec![("command", Json::text("create_agent"))];
                rest.extend(config.clone().map(|config| ("config", config)));
                frame("command", rest)
            }
            Self::Client(MemgptClientFrame::LoadAgent { name }) => {
                let mut rest = vec![("command", Json::text("load_agent"))];
                rest.extend(name.clone().map(|name| ("name", name)));
                frame("command", rest)
            }
            Self::Server(MemgptServerFrame::Error(message)) => {
                frame("server_error", vec![("message", message.clone())])
            }
            Self::Server(MemgptServerFrame::CommandResponse(status)) => {
                frame("command_response", vec![("status", status.clone())])
            }
            Self::Server(MemgptServerFrame::ResponseError(message)) => {
                frame("agent_response_error", vec![("message", message.clone())])
            }
            Self::Server(MemgptServerFrame::ResponseStart) => frame("agent_response_start", vec![]),
            Self::Server(MemgptServerFrame::ResponseEnd) => frame("agent_response_end", vec![]),
            Self::Server(MemgptServerFrame::Response(response, message)) => frame(
                "agent_response",
                vec![("message_type", Json::text(response.as_str())), ("message", message.clone())],
            ),
        }
    }
}

impl MemgptServerFrame {
    /// The frame's text.
    #[must_use]
    pub fn encode(self) -> String {
        MemgptFrame::Server(self).encode()
    }

    /// A `server_error` with a text.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self::Error(Json::text(message))
    }

    /// A `command_response` with a text.
    #[must_use]
    pub fn command_response(status: impl Into<String>) -> Self {
        Self::CommandResponse(Json::text(status))
    }

    /// An `agent_response_error` with a text.
    #[must_use]
    pub fn response_error(message: impl Into<String>) -> Self {
        Self::ResponseError(Json::text(message))
    }

    /// An `agent_response` with a text.
    #[must_use]
    pub fn response(response: ResponseKind, message: impl Into<String>) -> Self {
        Self::Response(response, Json::text(message))
    }
}

/// Reads a frame of either direction and writes it back with known keys only, in the protocol's
/// order.
///
/// # Errors
/// Those of [`MemgptFrame::decode`].
pub fn normalise(line: &str) -> Result<String, Refusal> {
    MemgptFrame::decode(line).map(|frame| frame.encode())
}

/// Writes a normalised frame as it is sent.
///
/// # Errors
/// Those of [`MemgptFrame::decode`].
pub fn render(line: &str) -> Result<String, Refusal> {
    normalise(line)
}
