//! Events of kinds that this version does not know.

use serde::Serialize;
use serde_json::{Map, Value};

/// An event of a kind that this version does not know.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OtherEvent {
    kind: String,
    #[serde(flatten)]
    body: Map<String, Value>,
}

impl OtherEvent {
    /// An event of this kind with all its other keys. The kind must be unknown to this version.
    pub(super) fn new(kind: String, body: Map<String, Value>) -> Self {
        Self { kind, body }
    }

    /// Kind of the event, as written in its `kind` key.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }
}
