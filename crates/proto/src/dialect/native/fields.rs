//! Reads a frame's keys one by one. Refusals name the key that is wrong.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::server::ConnectionLimits;
use super::wire::AgentRead;
use crate::{
    ApprovalAbout, Cursor, Decision, Disposition, Epoch, Event, HistoryEntry, Id, Input, Policy,
    Refusal, RefusalCode, RetryReason, Seq, SessionId, SessionListing, StreamKind, Style,
    Timestamp, ToolDeclaration, ToolStatus, TurnId, Verdict,
};

/// Maximum number of characters of the sender's text that a refusal quotes.
const ECHOED: usize = 40;

/// An object with a `type`.
#[derive(Default)]
pub(super) struct FrameFields {
    kind: String,
    map: Map<String, Value>,
}

/// A type that a key's value may have. Its description completes the sentence "it must be …".
pub(super) trait FieldType: DeserializeOwned {
    const SHAPE: &'static str;
}

impl FrameFields {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        if text.trim().is_empty() {
            return Err(Refusal::new(
                RefusalCode::BadFrame,
                "the frame is empty; it must be a JSON object",
            ));
        }
        match serde_json::from_str(text) {
            Ok(value) => Self::of(value),
            // The parser's own limit, for which it has no error code.
            Err(error) if error.to_string().starts_with("recursion limit") => Err(Refusal::new(
                RefusalCode::TooLarge,
                "the frame is nested more than 127 levels deep",
            )),
            Err(error) => {
                Err(Refusal::new(RefusalCode::BadFrame, format!("the frame is not JSON: {error}")))
            }
        }
    }

    pub(super) fn of(value: Value) -> Result<Self, Refusal> {
        let found = match value {
            Value::Object(mut map) => {
                let kind = match map.shift_remove("type") {
                    Some(Value::String(kind)) => kind,
                    Some(_) => return Err(bad("the frame's \"type\" must be a string".to_owned())),
                    None => return Err(bad("the frame needs \"type\" (a string)".to_owned())),
                };
                return Ok(Self { kind, map });
            }
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
        };
        Err(Refusal::new(
            RefusalCode::BadFrame,
            format!("the frame is {found}; it must be a JSON object"),
        ))
    }

    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// Takes a required key.
    pub(super) fn need<T: FieldType>(&mut self, key: &str) -> Result<T, Refusal> {
        match self.map.shift_remove(key) {
            Some(value) => self.read(key, value),
            None => Err(bad(format!("{} needs {key:?} ({})", self.kind, T::SHAPE))),
        }
    }

    /// Takes an optional key. Null is refused.
    pub(super) fn take<T: FieldType>(&mut self, key: &str) -> Result<Option<T>, Refusal> {
        match self.map.shift_remove(key) {
            Some(Value::Null) => {
                Err(bad(format!("the {key:?} of {} is null; leave the key out instead", self.kind)))
            }
            Some(value) => self.read(key, value).map(Some),
            None => Ok(None),
        }
    }

    /// The refusal of an unknown type.
    pub(super) fn unknown(&self) -> Refusal {
        let kind: String = self.kind.chars().take(ECHOED).collect();
        Refusal::new(RefusalCode::UnknownType, format!("the type {kind:?} is not known here"))
    }

    /// Reads all remaining keys.
    ///
    /// # Errors
    /// The reader's error.
    pub(super) fn rest<T: DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        T::deserialize(Value::Object(std::mem::take(&mut self.map)))
            .map_err(|error| bad(format!("{}: {error}", self.kind)))
    }

    /// The whole object, with `type` first.
    pub(super) fn into_object(self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("type".to_owned(), Value::String(self.kind));
        object.extend(self.map);
        object
    }

    fn read<T: FieldType>(&self, key: &str, value: Value) -> Result<T, Refusal> {
        T::deserialize(value)
            .map_err(|_| bad(format!("the {key:?} of {} must be {}", self.kind, T::SHAPE)))
    }
}

/// A refusal because of a key.
pub(super) fn bad(reason: String) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, reason)
}

/// Any JSON value except null.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Any(pub(super) Value);

impl<K> FieldType for Id<K> {
    const SHAPE: &'static str = "a string of 1 to 64 printable characters";
}

impl FieldType for String {
    const SHAPE: &'static str = "a string";
}

impl FieldType for bool {
    const SHAPE: &'static str = "true or false";
}

impl FieldType for u64 {
    const SHAPE: &'static str = "a whole number, not negative";
}

impl FieldType for Seq {
    const SHAPE: &'static str = "a whole number, not negative";
}

impl FieldType for Timestamp {
    const SHAPE: &'static str = "an instant as RFC 3339 writes it";
}

impl FieldType for Any {
    const SHAPE: &'static str = "a JSON value";
}

impl FieldType for Policy {
    const SHAPE: &'static str = "\"queue\", \"interrupt\", \"reject\" or \"steer\"";
}

impl FieldType for Disposition {
    const SHAPE: &'static str = "\"started\", \"queued\" or \"steered\"";
}

impl FieldType for Style {
    const SHAPE: &'static str = "\"native\" or \"memgpt\"";
}

impl FieldType for Verdict {
    const SHAPE: &'static str = "\"approved\", \"denied\" or \"done\"";
}

impl FieldType for ApprovalAbout {
    const SHAPE: &'static str = "\"run\" or \"retry\"";
}

impl FieldType for RetryReason {
    const SHAPE: &'static str = "\"safe\" or \"approved\"";
}

impl FieldType for ToolStatus {
    const SHAPE: &'static str = "\"success\", \"error\" or \"unknown\"";
}

impl FieldType for StreamKind {
    const SHAPE: &'static str = "\"thought\", \"message\" or \"tool_args\"";
}

impl FieldType for Event {
    const SHAPE: &'static str = "an event: an object with a \"kind\" and that kind's keys";
}

impl FieldType for ConnectionLimits {
    const SHAPE: &'static str = "an object of whole numbers";
}

impl FieldType for AgentRead {
    const SHAPE: &'static str = "an agent: an object with at least \"id\" and \"name\"";
}

impl FieldType for SessionListing {
    const SHAPE: &'static str = "a session as lists show it";
}

impl FieldType for Vec<String> {
    const SHAPE: &'static str = "a list of strings";
}

impl FieldType for Vec<HistoryEntry> {
    const SHAPE: &'static str =
        "a list of {\"role\": \"user\" or \"assistant\", \"text\": a string}";
}

impl FieldType for Map<String, Value> {
    const SHAPE: &'static str = "an object";
}

impl FieldType for BTreeMap<SessionId, Seq> {
    const SHAPE: &'static str = "an object of sessions and positions";
}

impl FieldType for Vec<TurnId> {
    const SHAPE: &'static str = "a list of turns";
}

impl FieldType for Vec<Input> {
    const SHAPE: &'static str = "a list of inputs";
}

impl FieldType for Decision {
    const SHAPE: &'static str = "\"approved\", \"denied\", \"done\", \"expired\" or \"void\"";
}

impl FieldType for Vec<ToolDeclaration> {
    const SHAPE: &'static str =
        "a list of {\"name\": a string, \"description\"?: a string, \"parameters\"?: an object}";
}

/// Takes the two keys of a cursor. An epoch alone is refused.
pub(super) fn cursor(fields: &mut FrameFields) -> Result<Option<Cursor>, Refusal> {
    let seq = fields.take::<Seq>("after")?;
    let epoch = fields.take::<Epoch>("epoch")?;
    match (seq, epoch) {
        (Some(seq), epoch) => Ok(Some(Cursor { epoch, seq })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(bad(format!(
            "{} has \"epoch\" without \"after\"; together they are a cursor",
            fields.kind
        ))),
    }
}
