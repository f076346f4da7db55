//! Idempotency keys: a command that carries one takes effect once.

use std::collections::HashSet;

use thoughtwire_proto::{CommandId, Refusal, RefusalCode, SessionReply};

/// A command's id with the digest of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Id that the client chose.
    pub id: CommandId,
    /// Digest of the command's content.
    pub digest: String,
}

/// Keys that a live session keeps in memory: about 100 kB of them at most.
pub const MAX_KEYS: usize = 1_000;

/// Ids of all commands that took effect in a session, if there are at most [`MAX_KEYS`].
#[derive(Debug, Default)]
pub struct SeenKeys(Option<HashSet<String>>);

impl SeenKeys {
    /// Takes the stored ids; `None` if there are too many.
    #[must_use]
    pub fn new(ids: Option<Vec<String>>) -> Self {
        Self(ids.map(HashSet::from_iter))
    }

    /// Notes a command that was accepted. An id whose append fails stays noted and costs one
    /// lookup.
    pub(crate) fn add(&mut self, id: &CommandId) {
        if let Some(ids) = &mut self.0 {
            ids.insert(id.to_string());
            if ids.len() > MAX_KEYS {
                self.0 = None;
            }
        }
    }

    /// Whether the command certainly did not take effect before, so that no lookup is needed.
    pub(crate) fn is_new(&self, id: &CommandId) -> bool {
        self.0.as_ref().is_some_and(|ids| !ids.contains(id.as_str()))
    }
}

/// The first reply as a repetition of the command gets it.
#[must_use]
pub fn repeated(reply: SessionReply) -> SessionReply {
    match reply {
        SessionReply::Input { seq, input, disposition, .. } => {
            SessionReply::Input { seq, input, disposition, duplicate: true }
        }
        SessionReply::Done { seq, .. } => SessionReply::Done { seq, duplicate: true },
    }
}

/// Refusal of a command id that was used before with other content.
#[must_use]
pub fn key_reused(id: &CommandId) -> Refusal {
    Refusal::new(
        RefusalCode::IdReused,
        format!("command id {id:?} was used before with other content; use a new id"),
    )
}
