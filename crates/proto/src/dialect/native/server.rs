//! Frames from servers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::encode::emission;
use super::fields::FrameFields;
use super::offer;
use super::part::{FramePart, fit};
use super::wire::{AgentRead, ServerWire, to_text};
use crate::dialect::FrameLimit;
use crate::{
    AgentId, AgentProfile, Attached, CommandId, Delta, Directive, Disposition, Emission, Epoch,
    Input, ItemId, Partial, Record, Refusal, RefusalCode, Retry, Seq, SessionEmission, SessionId,
    SessionListing, Start, TurnId, WorkerId,
};

/// A frame from a server to a client.
///
/// ```
/// use thoughtwire_proto::dialect::native::ServerFrame;
///
/// let frame = ServerFrame::decode(r#"{"type":"caught_up","session":"s-1","seq":7}"#)?;
/// assert_eq!(frame.encode(), r#"{"type":"caught_up","session":"s-1","seq":7}"#);
/// // A type from a newer server is kept, not an error.
/// let newer = ServerFrame::decode(r#"{"type":"weather","sky":"blue"}"#)?;
/// assert!(matches!(newer, ServerFrame::Other(_)));
/// # Ok::<(), thoughtwire_proto::Refusal>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum ServerFrame {
    /// `welcome`: the first frame of every connection.
    Welcome {
        /// Name of the protocol: [`super::PROTOCOL`].
        protocol: String,
        /// The server's name and version.
        server: String,
        /// The connection's limits.
        limits: ConnectionLimits,
    },
    /// `attached`: confirms an `attach`.
    Attached(AttachedFrame),
    /// `caught_up`: every event up to the head of the attachment was sent.
    CaughtUp {
        /// The session.
        session: SessionId,
        /// The last position sent.
        seq: Seq,
    },
    /// `ack`: confirms a command that had an `id`.
    Ack(Ack),
    /// `refused`: refuses a command or a frame.
    Refused(RefusedFrame),
    /// `event`, `delta`, `partial`, `status`, `presence`: an emission of an attached session.
    SessionEmission(SessionEmission),
    /// `session`: a new or changed session, after `watch`.
    Session(SessionListing),
    /// `session_gone`: a session was deleted, after `watch`.
    SessionGone {
        /// The session.
        session: SessionId,
    },
    /// `run`, `cancel`, `approval_settled`, `tool_returned`, `offer_ended`: a directive to a
    /// worker.
    Directed(Directive),
    /// `detached`: the server ended an attachment.
    Detached {
        /// The session.
        session: SessionId,
        /// The reason.
        reason: String,
    },
    /// `pong`.
    Pong {
        /// The `id` of the `ping`.
        id: Option<CommandId>,
    },
    /// `goaway`: the server is about to stop.
    GoAway {
        /// The reason.
        reason: String,
        /// Time to wait before reconnecting, in milliseconds.
        retry_after_ms: u64,
    },
    /// `part`: one part of a frame that is larger than the limit.
    Part(FramePart),
    /// A frame of a type that this version does not know, kept as sent.
    Other(Map<String, Value>),
}

/// Limits of one connection. A limit may be absent.
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema, ts_rs::TS),
    schemars(rename = "Limits"),
    ts(optional_fields, rename = "Limits")
)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionLimits {
    /// Maximum size of a frame in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_bytes: Option<u64>,
    /// Maximum number of attached sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_sessions: Option<u64>,
    /// Maximum number of queued inputs of one session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_inputs: Option<u64>,
}

/// Start of an attachment, as `attached` says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedFrame {
    /// The `id` of the `attach`.
    pub id: Option<CommandId>,
    /// The session.
    pub session: SessionId,
    /// Its agent.
    pub agent: AgentId,
    /// Epoch of the log.
    pub epoch: Epoch,
    /// First position that the log still has.
    pub first: Seq,
    /// The newest position.
    pub head: Seq,
    /// False if the cursor could not be used and the whole log follows.
    pub recovered: bool,
    /// The running turn.
    pub turn: Option<TurnId>,
}

/// Confirmation of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Ack {
    /// The command's id.
    pub id: CommandId,
    /// The result.
    pub acked: Acked,
    /// True if this id was seen before and nothing was done again.
    pub duplicate: bool,
}

/// Result that an [`Ack`] confirms.
#[derive(Debug, Clone, PartialEq)]
pub enum Acked {
    /// An agent was created. [`crate::AgentSpec::extra`] is not sent.
    Agent(Box<AgentProfile>),
    /// A session was opened.
    Session(SessionId),
    /// An input was accepted and is on disk.
    Input {
        /// Position of its `user_message`.
        seq: Seq,
        /// Disposition of the input.
        disposition: Disposition,
        /// The input's id.
        input: Option<ItemId>,
    },
    /// Turns of an agent will be assigned to this worker.
    Offered {
        /// The agent.
        agent: Box<AgentProfile>,
        /// The worker's name.
        worker: WorkerId,
        /// Turns that are still assigned to this worker.
        turns: Vec<TurnId>,
    },
    /// The turn continues, because these inputs joined it.
    Steered {
        /// The event's position.
        seq: Option<Seq>,
        /// The inputs.
        inputs: Vec<Input>,
    },
    /// The command took effect.
    Done {
        /// Position of the event, if the command wrote one.
        seq: Option<Seq>,
    },
}

/// Refusal of a command or a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedFrame {
    /// The command's id, if it had one.
    pub id: Option<CommandId>,
    /// The code; one of [`RefusalCode`], unless the server is newer.
    pub code: String,
    /// A sentence that says what is wrong and what to do.
    pub reason: String,
    /// Whether the same command may succeed later.
    pub retry: Retry,
}

impl AttachedFrame {
    /// Makes the frame from a reply.
    #[must_use]
    pub fn new(id: Option<CommandId>, attached: Attached) -> Self {
        let Attached { session, agent, epoch, first, head, recovered, turn, after: _, unended: _ } =
            attached;
        Self { id, session, agent, epoch, first, head, recovered, turn }
    }

    /// The attachment in the vocabulary. `start` is what the client asked for; it determines the
    /// position after which events follow.
    #[must_use]
    pub fn attached(&self, start: &Start) -> Attached {
        let before_first = self.first.previous();
        let after = match start {
            Start::After(cursor) if self.recovered => cursor.seq,
            Start::After(_) => before_first,
            Start::Last(count) => Seq(self.head.0.saturating_sub(*count)).max(before_first),
            Start::Head | Start::Proven(_) => self.head,
        };
        let Self { id: _, session, agent, epoch, first, head, recovered, turn } = self.clone();
        let unended = Vec::new();
        Attached { session, agent, epoch, first, head, recovered, after, turn, unended }
    }
}

impl RefusedFrame {
    /// The frame for a refusal.
    #[must_use]
    pub fn new(id: Option<CommandId>, refusal: Refusal) -> Self {
        Self {
            id,
            code: refusal.code.as_str().to_owned(),
            reason: refusal.reason,
            retry: refusal.code.retry(),
        }
    }

    /// The code; `None` if this version does not know it.
    #[must_use]
    pub fn known(&self) -> Option<RefusalCode> {
        RefusalCode::ALL.into_iter().find(|code| code.as_str() == self.code)
    }
}

impl ServerFrame {
    /// Reads a frame. An unknown type is kept as [`ServerFrame::Other`].
    ///
    /// # Errors
    /// Those of [`super::ClientFrame::decode`], except for unknown types.
    pub fn decode(text: &str) -> Result<Self, Refusal> {
        Self::from_fields(FrameFields::parse(text)?)
    }

    pub(super) fn from_fields(mut fields: FrameFields) -> Result<Self, Refusal> {
        let fields = &mut fields;
        Ok(match fields.kind() {
            "welcome" => Self::Welcome {
                protocol: fields.need("protocol")?,
                server: fields.need("server")?,
                limits: fields.need("limits")?,
            },
            "attached" => Self::Attached(AttachedFrame {
                id: fields.take("id")?,
                session: fields.need("session")?,
                agent: fields.need("agent")?,
                epoch: fields.need("epoch")?,
                first: fields.need("first")?,
                head: fields.need("head")?,
                recovered: fields.need("recovered")?,
                turn: fields.take("turn")?,
            }),
            "caught_up" => {
                Self::CaughtUp { session: fields.need("session")?, seq: fields.need("seq")? }
            }
            "ack" => Self::Ack(Ack {
                id: fields.need("id")?,
                acked: Acked::read(fields)?,
                duplicate: fields.take("duplicate")?.unwrap_or_default(),
            }),
            "refused" => Self::Refused(RefusedFrame {
                id: fields.take("id")?,
                code: fields.need("code")?,
                reason: fields.need("reason")?,
                retry: if fields.need("retry")? { Retry::Later } else { Retry::Never },
            }),
            "event" | "delta" | "partial" | "status" | "presence" => {
                Self::SessionEmission(SessionEmission {
                    session: fields.need("session")?,
                    emission: read_emission(fields)?,
                })
            }
            "session" => Self::Session(fields.need("listing")?),
            "session_gone" => Self::SessionGone { session: fields.need("session")? },
            "detached" => {
                Self::Detached { session: fields.need("session")?, reason: fields.need("reason")? }
            }
            "run" | "cancel" | "approval_settled" | "tool_returned" | "offer_ended" => {
                Self::Directed(offer::read_directive(fields)?)
            }
            "pong" => Self::Pong { id: fields.take("id")? },
            "goaway" => Self::GoAway {
                reason: fields.need("reason")?,
                retry_after_ms: fields.need("retry_after_ms")?,
            },
            "part" => Self::Part(FramePart {
                session: fields.take("session")?,
                seq: fields.take("seq")?,
                part: fields.need("part")?,
                parts: fields.need("parts")?,
                data: fields.need("data")?,
            }),
            _ => Self::Other(std::mem::take(fields).into_object()),
        })
    }

    /// Writes the frame.
    #[must_use]
    pub fn encode(&self) -> String {
        to_text(&self.wire())
    }

    /// Writes the frame as it is sent: in parts if it is larger than the limit.
    #[must_use]
    pub fn encode_within(&self, limit: FrameLimit) -> Vec<String> {
        fit(self.encode(), limit)
    }

    pub(super) fn wire(&self) -> ServerWire<'_> {
        match self {
            Self::Welcome { protocol, server, limits } => {
                ServerWire::Welcome { protocol, server, limits }
            }
            Self::Attached(AttachedFrame {
                id,
                session,
                agent,
                epoch,
                first,
                head,
                recovered,
                turn,
            }) => ServerWire::Attached {
                id: id.as_ref(),
                session,
                agent,
                epoch,
                first: *first,
                head: *head,
                recovered: *recovered,
                turn: turn.as_ref(),
            },
            Self::CaughtUp { session, seq } => ServerWire::CaughtUp { session, seq: *seq },
            Self::Ack(ack) => ack.wire(),
            Self::Refused(RefusedFrame { id, code, reason, retry }) => ServerWire::Refused {
                id: id.as_ref(),
                code,
                reason,
                retry: matches!(retry, Retry::Later),
            },
            Self::SessionEmission(SessionEmission { session, emission: shown }) => {
                emission(session, shown)
            }
            Self::Session(listing) => ServerWire::Session { listing },
            Self::SessionGone { session } => ServerWire::SessionGone { session },
            Self::Detached { session, reason } => ServerWire::Detached { session, reason },
            Self::Directed(directive) => offer::wire(directive),
            Self::Pong { id } => ServerWire::Pong { id: id.as_ref() },
            Self::GoAway { reason, retry_after_ms } => {
                ServerWire::Goaway { reason, retry_after_ms: *retry_after_ms }
            }
            Self::Part(FramePart { session, seq, part, parts, data }) => ServerWire::Part {
                session: session.as_ref(),
                seq: *seq,
                part: *part,
                parts: *parts,
                data,
            },
            Self::Other(object) => ServerWire::Other(object),
        }
    }
}

impl Ack {
    fn wire(&self) -> ServerWire<'_> {
        let (mut agent, mut session, mut seq, mut disposition, mut input) =
            (None, None, None, None, None);
        let (mut worker, mut turns, mut steered): (_, Option<&[TurnId]>, &[Input]) =
            (None, None, &[]);
        match &self.acked {
            Acked::Agent(profile) => {
                agent = Some(profile.as_ref().into());
                session = Some(&profile.main_session);
            }
            Acked::Session(opened) => session = Some(opened),
            Acked::Input { seq: at, disposition: became, input: item } => {
                (seq, disposition, input) = (Some(*at), Some(*became), item.as_ref());
            }
            Acked::Offered { agent: profile, worker: name, turns: running } => {
                agent = Some(profile.as_ref().into());
                session = Some(&profile.main_session);
                (worker, turns) = (Some(name), Some(running.as_slice()));
            }
            Acked::Steered { seq: at, inputs } => (seq, steered) = (*at, inputs),
            Acked::Done { seq: at } => seq = *at,
        }
        ServerWire::Ack {
            id: &self.id,
            agent,
            session,
            seq,
            disposition,
            input,
            worker,
            turns,
            steered,
            duplicate: self.duplicate,
        }
    }
}

impl Acked {
    fn read(fields: &mut FrameFields) -> Result<Self, Refusal> {
        if fields.has("agent") {
            let agent: AgentRead = fields.need("agent")?;
            let agent = Box::new(agent.into_profile(fields.need("session")?));
            return Ok(match fields.take("worker")? {
                Some(worker) => Self::Offered { agent, worker, turns: fields.need("turns")? },
                None => Self::Agent(agent),
            });
        }
        if fields.has("disposition") {
            let (seq, disposition) = (fields.need("seq")?, fields.need("disposition")?);
            return Ok(Self::Input { seq, disposition, input: fields.take("input")? });
        }
        match (fields.take("session")?, fields.take("steered")?) {
            (Some(session), _) => Ok(Self::Session(session)),
            (None, Some(inputs)) => Ok(Self::Steered { seq: fields.take("seq")?, inputs }),
            (None, None) => Ok(Self::Done { seq: fields.take("seq")? }),
        }
    }
}

fn read_emission(fields: &mut FrameFields) -> Result<Emission, Refusal> {
    Ok(match fields.kind() {
        "event" => {
            let (seq, at, turn) = (fields.need("seq")?, fields.need("at")?, fields.take("turn")?);
            Emission::Record(Record { seq, at, turn, event: fields.need("event")? })
        }
        "delta" => Emission::Delta(Delta {
            turn: fields.need("turn")?,
            item: fields.need("item")?,
            n: fields.need("n")?,
            kind: fields.need("kind")?,
            text: fields.need("text")?,
            continues: fields.take("continues")?,
        }),
        "partial" => Emission::Partial(Partial {
            turn: fields.need("turn")?,
            item: fields.need("item")?,
            n: fields.need("n")?,
            kind: fields.need("kind")?,
            text: fields.need("text")?,
            continues: fields.take("continues")?,
        }),
        "status" => Emission::Status { turn: fields.take("turn")?, text: fields.need("text")? },
        _ => Emission::Presence { clients: fields.need("clients")? },
    })
}
