//! An agent's memory: blocks, recall and archival notes.

use serde::{Deserialize, Serialize};

use crate::{Seq, SessionId, Timestamp};

/// A block of core memory.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", schemars(transform = crate::schema::optional("description")))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreBlock {
    /// Label, such as `persona`.
    pub label: String,
    /// Text.
    pub text: String,
    /// Most characters of the text.
    pub limit: usize,
    /// Purpose, as the model is told. Files of agents may leave it out.
    #[serde(default)]
    pub description: String,
}

/// An agent's core memory.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockList {
    /// Blocks in order of creation.
    pub blocks: Vec<CoreBlock>,
}

/// One block of core memory.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockBody {
    /// The block as it is now.
    pub block: CoreBlock,
}

/// Changes to a block. An absent key stays as it is.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockPatch {
    /// New text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Most characters of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Purpose, as the model is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A note in archival memory.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivalNote {
    /// Number; later notes have higher ones.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    pub id: i64,
    /// Time of the note.
    pub at: Timestamp,
    /// Text.
    pub text: String,
    /// Origin of an imported note, such as a file's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Why it was found, where a search asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<HitReasons>,
}

/// A page of notes.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotePage {
    /// Notes: the best matches first, or in order of creation without a query.
    pub notes: Vec<ArchivalNote>,
    /// Number of notes in all.
    pub total: usize,
}

/// Notes to add, all or none.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewNotes {
    /// The notes.
    pub notes: Vec<NoteDraft>,
}

/// A note to add.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoteDraft {
    /// Text.
    pub text: String,
    /// Origin, such as a file's name. The same text with the same origin is added once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Time of the note; absent for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Result of adding notes.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotesAdded {
    /// Number of new notes.
    pub added: usize,
    /// Number of notes that were there before.
    pub duplicates: usize,
}

/// The reasons for which a search found a text, in points. The best text by words alone has 100
/// from `words` and `neighbours` together.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HitReasons {
    /// Words of the query in the text.
    pub words: i32,
    /// The text's meaning; negative where it speaks against the text. 0 without an embedding model.
    pub meaning: i32,
    /// Words of the query in the texts before and after it.
    pub neighbours: i32,
}

/// A message that a search of recall memory found.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecallHit {
    /// Session of the message.
    pub session: SessionId,
    /// Position in the session's log.
    pub seq: Seq,
    /// Time of the message.
    pub at: Timestamp,
    /// `user` or `assistant`.
    #[cfg_attr(feature = "schema", schemars(with = "crate::Role"), ts(as = "crate::Role"))]
    pub role: String,
    /// Text.
    pub text: String,
    /// Why it was found, where a search asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<HitReasons>,
}

/// Result of a search of recall memory.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecallPage {
    /// Messages, the best match first.
    pub results: Vec<RecallHit>,
    /// Number of matches in all.
    pub total: usize,
}
