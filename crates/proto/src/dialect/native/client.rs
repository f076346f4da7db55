//! Frames from clients.

use serde_json::Value;

use super::fields::{Any, FrameFields, bad, cursor};
use super::id_scan::find_id;
use super::offer;
use super::wire::{ClientWire, to_text};
use crate::{
    AgentSpec, CallId, Command, CommandId, ConnectionCommand, DirectoryCommand, HistoryEntry,
    ItemId, Offer, Policy, Refusal, SessionCommand, SessionId, Start, Style, ToolDeclaration,
    ToolStatus, TurnId, Verb, Verdict,
};

/// A frame from a client to a server.
///
/// ```
/// use thoughtwire_proto::dialect::native::{ClientBody, ClientFrame};
/// use thoughtwire_proto::{Cursor, Seq, Start};
///
/// let start = Start::After(Cursor { epoch: None, seq: Seq::ZERO });
/// let body = ClientBody::Attach { session: "s-1".parse()?, start, tools: vec![] };
/// let attach = ClientFrame { id: None, body };
/// assert_eq!(attach.encode(), r#"{"type":"attach","session":"s-1","after":0}"#);
/// assert_eq!(ClientFrame::decode(&attach.encode())?, attach);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ClientFrame {
    /// The client's id for this command. It is its idempotency key, and its answer carries it.
    pub id: Option<CommandId>,
    /// The frame's content.
    pub body: ClientBody,
}

/// Content of a client's frame, by `type`.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientBody {
    /// `hello`: authenticates the connection.
    Hello {
        /// The key.
        token: Option<String>,
        /// The client's name for itself.
        client: Option<String>,
    },
    /// `attach`: subscribe to a session.
    Attach {
        /// The session.
        session: SessionId,
        /// Position to start from. [`Start::Proven`] is only for the older dialects; it is written
        /// as the head.
        start: Start,
        /// Tools that this client runs.
        tools: Vec<ToolDeclaration>,
    },
    /// `detach`: end the attachment.
    Detach {
        /// The session.
        session: SessionId,
    },
    /// `create_agent`: create an agent and its main session.
    CreateAgent {
        /// Its name.
        name: String,
        /// The first text of its `persona` block.
        persona: Option<String>,
        /// The first text of its `human` block.
        human: Option<String>,
        /// Its model as `provider/name`.
        model: Option<String>,
        /// How it speaks.
        style: Option<Style>,
    },
    /// `create_session`: open a session with an agent.
    CreateSession {
        /// The agent's name or id.
        agent: String,
        /// The session's title.
        title: Option<String>,
        /// Instructions, which are added to the agent's persona.
        instructions: Option<String>,
        /// Messages from before the session.
        history: Vec<HistoryEntry>,
    },
    /// `delete_session`: delete a session and its log.
    DeleteSession {
        /// The session.
        session: SessionId,
    },
    /// `send`: send an input.
    Send {
        /// The session.
        session: SessionId,
        /// The text.
        text: String,
        /// References to files.
        attachments: Vec<String>,
        /// Treatment of the input if a turn runs; absent for `queue`.
        policy: Option<Policy>,
    },
    /// `withdraw`: remove an input from the queue.
    Withdraw {
        /// The session; absent to try every attached one.
        session: Option<SessionId>,
        /// The input.
        input: ItemId,
    },
    /// `cancel`: end the running turn.
    Cancel {
        /// The session.
        session: SessionId,
        /// The turn, to end only that one.
        turn: Option<TurnId>,
    },
    /// `decide`: answer a request for approval.
    Decide {
        /// The session; absent to try every attached one.
        session: Option<SessionId>,
        /// The call.
        call: CallId,
        /// The decision.
        decision: Verdict,
        /// With `done`: the call's result, for the model.
        result: Option<String>,
    },
    /// `tool_return`: the result of a tool that this client ran.
    ToolReturn {
        /// The session; absent to try every attached one.
        session: Option<SessionId>,
        /// The call.
        call: CallId,
        /// Whether the call succeeded.
        status: ToolStatus,
        /// The result or the error.
        text: String,
        /// The result in a richer form.
        content: Option<Value>,
    },
    /// `rename`: give a session a title.
    Rename {
        /// The session.
        session: SessionId,
        /// The title.
        title: String,
    },
    /// `watch`: subscribe to the list of sessions.
    Watch,
    /// `offer`: run turns for an agent.
    Offer(Box<Offer>),
    /// `say`: send a verb about a turn that this connection runs.
    Say {
        /// The turn.
        turn: TurnId,
        /// The verb.
        verb: Verb,
    },
    /// `ping`: answered by `pong`.
    Ping,
}

/// A client's frame that cannot be decoded, with the id for its refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct Undecoded {
    /// The frame's `id` if it has a valid one, even if the rest cannot be parsed.
    pub id: Option<CommandId>,
    /// The refusal.
    pub refusal: Refusal,
}

impl ClientFrame {
    /// Every `type` of this direction.
    pub(super) const KINDS: [&str; 16] = [
        "hello",
        "attach",
        "detach",
        "create_agent",
        "create_session",
        "delete_session",
        "send",
        "withdraw",
        "cancel",
        "decide",
        "tool_return",
        "rename",
        "watch",
        "offer",
        "say",
        "ping",
    ];

    /// Reads a frame.
    ///
    /// # Errors
    /// [`BadFrame`](crate::RefusalCode::BadFrame) if it is not a JSON object,
    /// [`TooLarge`](crate::RefusalCode::TooLarge) if it is nested too deeply,
    /// [`UnknownType`](crate::RefusalCode::UnknownType) for an unknown type, else
    /// [`BadRequest`](crate::RefusalCode::BadRequest) with the key's name.
    pub fn decode(text: &str) -> Result<Self, Undecoded> {
        FrameFields::parse(text)
            .map_err(|refusal| Undecoded { id: find_id(text.as_bytes()), refusal })
            .and_then(Self::from_fields)
    }

    pub(super) fn from_fields(mut fields: FrameFields) -> Result<Self, Undecoded> {
        let id = fields.take("id").map_err(|refusal| Undecoded { id: None, refusal })?;
        match ClientBody::read(&mut fields) {
            Ok(ClientBody::Say { verb, .. }) if id.is_none() && verb.needs_id() => {
                let reason = "say needs \"id\" with this \"verb\", so that it can be said again \
                              without being said twice";
                Err(Undecoded { id, refusal: bad(reason.to_owned()) })
            }
            Ok(body) => Ok(Self { id, body }),
            Err(refusal) => Err(Undecoded { id, refusal }),
        }
    }

    /// Writes the frame.
    #[must_use]
    pub fn encode(&self) -> String {
        to_text(&self.wire())
    }

    pub(super) fn wire(&self) -> ClientWire<'_> {
        let id = self.id.as_ref();
        match &self.body {
            ClientBody::Hello { token, client } => {
                ClientWire::Hello { id, token: token.as_deref(), client: client.as_deref() }
            }
            ClientBody::Attach { session, start, tools } => {
                let (after, epoch, last) = match start {
                    Start::Head | Start::Proven(_) => (None, None, None),
                    Start::After(cursor) => (Some(cursor.seq), cursor.epoch.as_ref(), None),
                    Start::Last(count) => (None, None, Some(*count)),
                };
                ClientWire::Attach { id, session, after, epoch, last, tools }
            }
            ClientBody::Detach { session } => ClientWire::Detach { id, session },
            ClientBody::CreateAgent { name, persona, human, model, style } => {
                ClientWire::CreateAgent {
                    id,
                    name,
                    persona: persona.as_deref(),
                    human: human.as_deref(),
                    model: model.as_deref(),
                    style: *style,
                }
            }
            ClientBody::CreateSession { agent, title, instructions, history } => {
                ClientWire::CreateSession {
                    id,
                    agent,
                    title: title.as_deref(),
                    instructions: instructions.as_deref(),
                    history,
                }
            }
            ClientBody::DeleteSession { session } => ClientWire::DeleteSession { id, session },
            ClientBody::Send { session, text, attachments, policy } => {
                ClientWire::Send { id, session, text, attachments, policy: *policy }
            }
            ClientBody::Withdraw { session, input } => {
                ClientWire::Withdraw { id, session: session.as_ref(), input }
            }
            ClientBody::Cancel { session, turn } => {
                ClientWire::Cancel { id, session, turn: turn.as_ref() }
            }
            ClientBody::Decide { session, call, decision, result } => ClientWire::Decide {
                id,
                session: session.as_ref(),
                call,
                decision: *decision,
                result: result.as_deref(),
            },
            ClientBody::ToolReturn { session, call, status, text, content } => {
                ClientWire::ToolReturn {
                    id,
                    session: session.as_ref(),
                    call,
                    status: *status,
                    text,
                    content: content.as_ref(),
                }
            }
            ClientBody::Rename { session, title } => ClientWire::Rename { id, session, title },
            ClientBody::Watch => ClientWire::Watch { id },
            ClientBody::Offer(offer) => ClientWire::Offer { id, offer },
            ClientBody::Say { turn, verb } => ClientWire::Say { id, turn, verb },
            ClientBody::Ping => ClientWire::Ping { id },
        }
    }
}

impl ClientBody {
    fn read(fields: &mut FrameFields) -> Result<Self, Refusal> {
        Ok(match fields.kind() {
            "hello" => Self::Hello { token: fields.take("token")?, client: fields.take("client")? },
            "attach" => {
                let session = fields.need("session")?;
                let start = match (cursor(fields)?, fields.take("last")?) {
                    (None, None) => Start::Head,
                    (Some(cursor), None) => Start::After(cursor),
                    (None, Some(count)) => Start::Last(count),
                    (Some(_), Some(_)) => {
                        return Err(bad("attach takes \"after\" or \"last\", not both".to_owned()));
                    }
                };
                Self::Attach { session, start, tools: fields.take("tools")?.unwrap_or_default() }
            }
            "detach" => Self::Detach { session: fields.need("session")? },
            "create_agent" => Self::CreateAgent {
                name: fields.need("name")?,
                persona: fields.take("persona")?,
                human: fields.take("human")?,
                model: fields.take("model")?,
                style: fields.take("style")?,
            },
            "create_session" => Self::CreateSession {
                agent: fields.need("agent")?,
                title: fields.take("title")?,
                instructions: fields.take("instructions")?,
                history: fields.take("history")?.unwrap_or_default(),
            },
            "delete_session" => Self::DeleteSession { session: fields.need("session")? },
            "send" => Self::Send {
                session: fields.need("session")?,
                text: fields.need("text")?,
                attachments: fields.take("attachments")?.unwrap_or_default(),
                policy: fields.take("policy")?,
            },
            "withdraw" => {
                Self::Withdraw { session: fields.take("session")?, input: fields.need("input")? }
            }
            "cancel" => {
                Self::Cancel { session: fields.need("session")?, turn: fields.take("turn")? }
            }
            "decide" => Self::Decide {
                session: fields.take("session")?,
                call: fields.need("call")?,
                decision: fields.need("decision")?,
                result: fields.take("result")?,
            },
            "tool_return" => Self::ToolReturn {
                session: fields.take("session")?,
                call: fields.need("call")?,
                status: fields.need("status")?,
                text: fields.need("text")?,
                content: fields.take::<Any>("content")?.map(|Any(content)| content),
            },
            "rename" => {
                Self::Rename { session: fields.need("session")?, title: fields.need("title")? }
            }
            "watch" => Self::Watch,
            "offer" => Self::Offer(Box::new(offer::read(fields)?)),
            "say" => Self::Say { turn: fields.need("turn")?, verb: offer::read_verb(fields)? },
            "ping" => Self::Ping,
            _ => return Err(fields.unknown()),
        })
    }

    /// The frame's command. `hello` and `ping` have none.
    pub(super) fn into_command(self) -> Option<Command> {
        Some(match self {
            Self::Hello { .. } | Self::Ping => return None,
            Self::Attach { session, start, tools } => {
                Command::Connection(ConnectionCommand::Attach { session, start, tools })
            }
            Self::Detach { session } => Command::Connection(ConnectionCommand::Detach { session }),
            Self::CreateAgent { name, persona, human, model, style } => {
                Command::Directory(DirectoryCommand::CreateAgent(Box::new(AgentSpec {
                    name,
                    persona,
                    human,
                    model,
                    style,
                    ..AgentSpec::default()
                })))
            }
            Self::CreateSession { agent, title, instructions, history } => {
                Command::Directory(DirectoryCommand::CreateSession {
                    agent,
                    title,
                    instructions,
                    history,
                })
            }
            Self::DeleteSession { session } => SessionCommand::Delete.on(session),
            Self::Send { session, text, attachments, policy } => {
                let policy = policy.unwrap_or_default();
                SessionCommand::Send { text, attachments, policy }.on(session)
            }
            Self::Withdraw { session, input } => {
                on_or_attached(session, SessionCommand::Withdraw { input })
            }
            Self::Cancel { session, turn } => SessionCommand::Cancel { turn }.on(session),
            Self::Decide { session, call, decision, result } => {
                on_or_attached(session, SessionCommand::Decide { call, decision, result })
            }
            Self::ToolReturn { session, call, status, text, content } => {
                on_or_attached(session, SessionCommand::ToolReturn { call, status, text, content })
            }
            Self::Rename { session, title } => SessionCommand::Rename { title }.on(session),
            Self::Watch => Command::Connection(ConnectionCommand::Watch),
            Self::Offer(offer) => Command::Connection(ConnectionCommand::Offer(offer)),
            Self::Say { turn, verb } => Command::Connection(ConnectionCommand::Say { turn, verb }),
        })
    }
}

/// The command for a session, or for the attached session that has its input or call.
fn on_or_attached(session: Option<SessionId>, command: SessionCommand) -> Command {
    match session {
        Some(session) => command.on(session),
        None => Command::Connection(ConnectionCommand::InAttached(command)),
    }
}
