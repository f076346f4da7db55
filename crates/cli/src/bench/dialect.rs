//! The protocols as a load needs them: which frames to send, and how to classify received ones.
//!
//! Frames are classified by their first bytes, not parsed. The server writes keys in a fixed
//! order; a frame that begins otherwise is ignored, which shows as a loss.

use memchr::memmem::find;
use serde_json::json;

/// The protocol of a run.
#[derive(Debug)]
pub(crate) enum BenchWire {
    Native,
    Memgpt,
    Sparky,
    Plain { hello: Vec<String>, go: String },
}

/// A session as its protocol names it: a session's id, an agent's name or a chat's id.
#[derive(Debug, Clone)]
pub(crate) struct BenchSessionName(pub(crate) String);

/// The position at which a reader resumes after its connection broke.
#[derive(Debug, Clone)]
pub(crate) struct ResumePoint {
    pub(crate) epoch: String,
    pub(crate) seq: u64,
}

/// The class of a received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameClass {
    /// The reader is attached and caught up.
    Ready,
    /// Native: the answer to an attach.
    Attached,
    /// Contains new pieces. Native events have a seq.
    Pieces(Option<u64>),
    /// Includes all pieces so far.
    SoFar,
    /// The complete text of an input's pieces.
    Whole(Option<u64>),
    /// A turn completed.
    Ended(Option<u64>),
    /// A turn ended with another outcome, or a command was refused.
    Failed(Option<u64>),
    /// Irrelevant to the load.
    Other(Option<u64>),
}

impl BenchWire {
    /// The path of the endpoint, with the name of a reader that will resume.
    pub(crate) fn path(&self, known_as: Option<&str>) -> String {
        match (self, known_as) {
            (Self::Native, _) => "/v1/ws".to_owned(),
            (Self::Memgpt, Some(name)) => format!("/memgpt?client={name}"),
            (Self::Memgpt, None) => "/memgpt".to_owned(),
            (Self::Sparky, _) => "/ws/chat".to_owned(),
            // `--url` includes the path.
            (Self::Plain { .. }, _) => String::new(),
        }
    }

    /// The first frames that a reader sends.
    ///
    /// With Sparky, the readers of a chat share one Sparky session. A reader that will resume has
    /// its own Sparky session, and therefore its own confirmed position.
    pub(crate) fn greeting(
        &self,
        place: &BenchSessionName,
        known_as: Option<&str>,
        cursor: Option<&ResumePoint>,
    ) -> Vec<String> {
        let session = &place.0;
        match self {
            Self::Native => vec![match cursor {
                None => json!({"type": "attach", "session": session}).to_string(),
                Some(ResumePoint { epoch, seq }) => {
                    json!({"type": "attach", "session": session, "after": seq, "epoch": epoch})
                        .to_string()
                }
            }],
            Self::Memgpt => vec![
                json!({"type": "command", "command": "load_agent", "name": session}).to_string(),
            ],
            Self::Sparky => {
                let name = known_as.unwrap_or(session);
                vec![
                    json!({"type": "connect", "data": {"session_id": name, "chat_id": session}})
                        .to_string(),
                ]
            }
            Self::Plain { hello, .. } => hello.clone(),
        }
    }

    /// Whether a reader counts as attached once it has sent its greeting.
    pub(crate) fn is_ready_at_once(&self) -> bool {
        matches!(self, Self::Plain { .. })
    }

    /// The frame of an input.
    pub(crate) fn input(&self, place: &BenchSessionName, number: u64) -> String {
        match self {
            Self::Native => json!({"type": "send", "id": format!("b{number}"), "session": place.0,
                "text": "go"})
            .to_string(),
            Self::Memgpt => json!({"type": "user_message", "message": "go",
                "agent_name": place.0})
            .to_string(),
            Self::Sparky => json!({"type": "message", "data": {"text": "go"}}).to_string(),
            Self::Plain { go, .. } => go.clone(),
        }
    }

    /// Whether a separate frame reports the end of a turn; otherwise its last piece is its end.
    pub(crate) fn tells_ends(&self) -> bool {
        match self {
            Self::Native | Self::Memgpt => true,
            Self::Sparky | Self::Plain { .. } => false,
        }
    }

    /// Whether a reader can resume, and whether pieces may then repeat.
    pub(crate) fn resumes(&self) -> ResumeSupport {
        match self {
            Self::Native => ResumeSupport::Exactly,
            Self::Memgpt | Self::Sparky => ResumeSupport::Repeating,
            Self::Plain { .. } => ResumeSupport::Never,
        }
    }

    /// Classifies a frame. `deltas` says whether the load streams deltas.
    pub(crate) fn classify(&self, frame: &[u8], deltas: bool) -> FrameClass {
        match self {
            Self::Native => native(frame, deltas),
            Self::Memgpt => memgpt(frame),
            Self::Sparky => sparky(frame),
            Self::Plain { .. } => FrameClass::Pieces(None),
        }
    }
}

/// The resume guarantee of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResumeSupport {
    Exactly,
    Repeating,
    Never,
}

fn native(frame: &[u8], deltas: bool) -> FrameClass {
    let Some(kind) = frame.strip_prefix(b"{\"type\":\"") else { return FrameClass::Other(None) };
    if kind.starts_with(b"delta\"") {
        return FrameClass::Pieces(None);
    }
    if kind.starts_with(b"event\"") {
        let seq = seq(kind);
        let event = find(kind, b"\"event\":{\"kind\":\"")
            .and_then(|at| kind.get(at + 17..))
            .unwrap_or_default();
        return if event.starts_with(b"message\"") {
            if deltas { FrameClass::Whole(seq) } else { FrameClass::Pieces(seq) }
        } else if event.starts_with(b"turn_ended\"") {
            if find(event, b"\"outcome\":\"completed\"").is_some() {
                FrameClass::Ended(seq)
            } else {
                FrameClass::Failed(seq)
            }
        } else {
            FrameClass::Other(seq)
        };
    }
    if kind.starts_with(b"partial\"") {
        FrameClass::SoFar
    } else if kind.starts_with(b"caught_up\"") {
        FrameClass::Ready
    } else if kind.starts_with(b"attached\"") {
        FrameClass::Attached
    } else if kind.starts_with(b"refused\"") || kind.starts_with(b"detached\"") {
        FrameClass::Failed(None)
    } else {
        FrameClass::Other(None)
    }
}

/// The number after `"seq":`.
fn seq(frame: &[u8]) -> Option<u64> {
    let digits = frame.get(find(frame, b"\"seq\":")? + 6..)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

fn memgpt(frame: &[u8]) -> FrameClass {
    let Some(kind) = frame.strip_prefix(b"{\"type\": \"") else { return FrameClass::Other(None) };
    if kind.starts_with(b"agent_response\"") {
        FrameClass::Pieces(None)
    } else if kind.starts_with(b"agent_response_end\"") {
        FrameClass::Ended(None)
    } else if kind.starts_with(b"command_response\"") && find(kind, b"\"OK").is_some() {
        FrameClass::Ready
    } else if kind.starts_with(b"agent_response_start\"") {
        FrameClass::Other(None)
    } else {
        // All other frames are errors, of which this protocol has three kinds.
        FrameClass::Failed(None)
    }
}

fn sparky(frame: &[u8]) -> FrameClass {
    let Some(kind) = frame.strip_prefix(b"{\"type\": \"") else { return FrameClass::Other(None) };
    if kind.starts_with(b"message\"") {
        FrameClass::Pieces(None)
    } else if kind.starts_with(b"ready\"") {
        FrameClass::Ready
    } else if kind.starts_with(b"error\"") {
        FrameClass::Failed(None)
    } else {
        FrameClass::Other(None)
    }
}
