//! Identifiers, positions and times. They are parsed once, at the edge.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Maximum number of characters of an identifier or a name.
pub const MAX_NAME_CHARS: usize = 64;

/// An opaque identifier of one kind of thing. Cheap to clone.
///
/// Kinds cannot be confused: a [`SessionId`] is not an [`AgentId`].
///
/// ```
/// use thoughtwire_proto::SessionId;
/// let id: SessionId = "s-1".parse()?;
/// assert_eq!(id.as_str(), "s-1");
/// assert!("".parse::<SessionId>().is_err());
/// # Ok::<(), thoughtwire_proto::BadId>(())
/// ```
pub struct Id<K> {
    text: Arc<str>,
    kind: PhantomData<fn() -> K>,
}

/// Reason for which a text is not a valid identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// The text is empty.
    #[error("an id or name must not be empty")]
    Empty,
    /// The text is longer than [`MAX_NAME_CHARS`].
    #[error("an id or name has at most 64 characters")]
    TooLong,
    /// The text has control characters, which are invisible.
    #[error("an id or name must not contain control characters")]
    Control,
    /// URL parsers remove the text from a path, so that a request for it would reach another
    /// resource.
    #[error("`.` and `..` cannot be a name: they mean something else in an address")]
    Dots,
}

/// Checks the rules that ids and names share: 1 to 64 characters, none of them a control character.
///
/// # Errors
/// The rule that is broken.
pub fn check_name(text: &str) -> Result<(), BadId> {
    if text.is_empty() {
        Err(BadId::Empty)
    } else if text.chars().count() > MAX_NAME_CHARS {
        Err(BadId::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(BadId::Control)
    } else {
        Ok(())
    }
}

impl<K> Id<K> {
    /// Makes an identifier from a text.
    ///
    /// # Errors
    /// The text is empty, longer than 64 characters, or has control characters.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, BadId> {
        let text = text.into();
        check_name(&text)?;
        Ok(Self { text, kind: PhantomData })
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<K> std::str::FromStr for Id<K> {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::new(text)
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        Self { text: Arc::clone(&self.text), kind: PhantomData }
    }
}

impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<K> Eq for Id<K> {}

impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, K> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&*text).map_err(serde::de::Error::custom)
    }
}

/// Marks an [`Id`] as that of a user.
#[derive(Debug)]
pub enum UserKind {}
/// Marks an [`Id`] as that of an agent.
#[derive(Debug)]
pub enum AgentKind {}
/// Marks an [`Id`] as that of a session.
#[derive(Debug)]
pub enum SessionKind {}
/// Marks an [`Id`] as that of a turn.
#[derive(Debug)]
pub enum TurnKind {}
/// Marks an [`Id`] as that of an item.
#[derive(Debug)]
pub enum ItemKind {}
/// Marks an [`Id`] as that of a call.
#[derive(Debug)]
pub enum CallKind {}
/// Marks an [`Id`] as that of a command.
#[derive(Debug)]
pub enum CommandKind {}
/// Marks an [`Id`] as the name of a worker.
#[derive(Debug)]
pub enum WorkerKind {}

/// Id of a user, who owns agents and sessions.
pub type UserId = Id<UserKind>;
/// Id of an agent, a durable character of one user.
pub type AgentId = Id<AgentKind>;
/// Id of a session, a durable conversation with one agent.
pub type SessionId = Id<SessionKind>;
/// Id of a turn, the work on one input up to its terminal event.
pub type TurnId = Id<TurnKind>;
/// Id of a thought, a message, a user message or a call. A user message's item is its *input*.
pub type ItemId = Id<ItemKind>;
/// Id of a tool call.
pub type CallId = Id<CallKind>;
/// A client's id for a command. It is the command's idempotency key.
pub type CommandId = Id<CommandKind>;
/// Name of a worker, under which it offers to run an agent's turns.
pub type WorkerId = Id<WorkerKind>;

/// Position in one session's log. Counts from 1 without gaps. 0 is before the first record.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The position before the first record.
    pub const ZERO: Self = Self(0);

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before this one. [`Self::ZERO`] stays as it is.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Reads a position from decimal digits; `None` for anything else, also for a number with a
    /// sign.
    ///
    /// ```
    /// use thoughtwire_proto::Seq;
    /// assert_eq!(Seq::from_digits("41"), Some(Seq(41)));
    /// assert_eq!(Seq::from_digits("+41"), None);
    /// ```
    #[must_use]
    pub fn from_digits(text: &str) -> Option<Self> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_number).map(Self)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of one lifetime of a session's log. A restored backup starts a new one.
pub type Epoch = Id<EpochKind>;
/// Marks an [`Id`] as an epoch.
#[derive(Debug)]
pub enum EpochKind {}

/// The last position of a session that a client has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Epoch of the log in which `seq` counts; absent if the client does not know it.
    pub epoch: Option<Epoch>,
    /// The last position seen; [`Seq::ZERO`] if there is none.
    pub seq: Seq,
}

/// A time in milliseconds since 1970-01-01T00:00:00Z, written as RFC 3339 with milliseconds.
///
/// ```
/// use thoughtwire_proto::Timestamp;
/// let at = Timestamp::from_millis(1_767_225_600_000);
/// assert_eq!(at.to_string(), "2026-01-01T00:00:00.000Z");
/// ```
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time that is `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "1970-01-01T00:00:00.000Z"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let at: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(at.as_millisecond()))
    }
}

/// TypeScript forms of these types.
#[cfg(feature = "schema")]
mod typescript {
    use ts_rs::{Config, TS};

    use super::{Id, Seq, Timestamp};

    macro_rules! written_as {
        ($text:literal, $of:ty $(, $kind:ident)?) => {
            impl$(<$kind>)? TS for $of {
                type WithoutGenerics = Self;
                type OptionInnerType = Self;
                fn name(_: &Config) -> String {
                    $text.to_owned()
                }
                fn inline(_: &Config) -> String {
                    $text.to_owned()
                }
            }
        };
    }

    written_as!("string", Id<K>, K);
    written_as!("string", Timestamp);
    written_as!("number", Seq);
}

/// JSON Schema forms of these types.
#[cfg(feature = "schema")]
mod schemas {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{Id, MAX_NAME_CHARS, Seq, Timestamp};

    macro_rules! written_as {
        ($name:literal, [$($kind:ident)?] $of:ty, $schema:tt) => {
            impl$(<$kind>)? JsonSchema for $of {
                fn schema_name() -> Cow<'static, str> {
                    $name.into()
                }
                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        };
    }

    written_as!("Id", [K] Id<K>, {
        "description": "An opaque identifier: printable characters.",
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME_CHARS,
    });
    written_as!("Timestamp", [] Timestamp, {
        "description": "A time: RFC 3339 in UTC with milliseconds.",
        "type": "string",
        "format": "date-time",
    });
    written_as!("Seq", [] Seq, {
        "description": "A position in a session's log, from 1 without gaps. 0 is before the first.",
        "type": "integer",
        "minimum": 0,
    });
}
