//! Receipts: what makes a command that carries an id take effect once.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thoughtwire_proto::{
    CommandId, Disposition, ItemId, Refusal, RefusalCode, Seq, SessionReply, UserId,
};
use thoughtwire_store::Receipt;

use crate::session::Once;

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Kept {
    Input {
        seq: Seq,
        input: ItemId,
        disposition: Disposition,
    },
    Done {
        seq: Option<Seq>,
    },
    /// An agent or session was made; it is looked up again by its id.
    Made {
        id: String,
    },
}

/// Ids that a live session knows by heart: about 100 kB of them at most.
pub(crate) const BY_HEART: usize = 1_000;

/// The ids of all commands that took effect in a session, if they are few enough to be known by heart.
pub(crate) struct Known(Option<HashSet<String>>);

impl Known {
    /// What the store has of them; nothing where they are too many.
    pub(crate) fn new(ids: Option<Vec<String>>) -> Self {
        Self(ids.map(HashSet::from_iter))
    }

    /// A command is on its way to the disk. Should it not get there, its id stays: that costs one look.
    pub(crate) fn add(&mut self, id: &CommandId) {
        if let Some(ids) = &mut self.0 {
            ids.insert(id.to_string());
            if ids.len() > BY_HEART {
                self.0 = None;
            }
        }
    }

    /// Whether a command certainly did not take effect before, so that the store need not be asked.
    pub(crate) fn is_new(&self, id: &CommandId) -> bool {
        self.0.as_ref().is_some_and(|ids| !ids.contains(id.as_str()))
    }
}

/// The digest of a command's content: its name and its parts, each with its length in front.
#[must_use]
pub fn digest(name: &str, parts: &[impl AsRef<str>]) -> String {
    let mut hash = Sha256::new();
    for part in std::iter::once(name).chain(parts.iter().map(AsRef::as_ref)) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    format!("{:x}", hash.finalize())
}

pub(crate) fn to_json(reply: &SessionReply) -> String {
    let kept = match reply {
        SessionReply::Input { seq, input, disposition, .. } => {
            Kept::Input { seq: *seq, input: input.clone(), disposition: *disposition }
        }
        SessionReply::Done { seq, .. } => Kept::Done { seq: *seq },
    };
    // Invariant: `Kept` has only strings and numbers, which always serialise.
    serde_json::to_string(&kept).unwrap_or_default()
}

/// A receipt for something made, by its id.
pub(crate) fn made(user: &UserId, once: Once, id: &str) -> Receipt {
    let answer = serde_json::to_string(&Kept::Made { id: id.to_owned() }).unwrap_or_default();
    Receipt { user: user.clone(), id: once.id, digest: once.digest, answer }
}

/// A receipt for something done.
pub(crate) fn done(user: &UserId, once: Once, seq: Option<Seq>) -> Receipt {
    let answer = serde_json::to_string(&Kept::Done { seq }).unwrap_or_default();
    Receipt { user: user.clone(), id: once.id, digest: once.digest, answer }
}

/// The first reply, for a repetition.
pub(crate) fn repeated(reply: SessionReply) -> SessionReply {
    match reply {
        SessionReply::Input { seq, input, disposition, .. } => {
            SessionReply::Input { seq, input, disposition, duplicate: true }
        }
        SessionReply::Done { seq, .. } => SessionReply::Done { seq, duplicate: true },
    }
}

/// Answers a repetition from its receipt.
pub(crate) fn answer_again(receipt: &Receipt, once: &Once) -> Result<SessionReply, Refusal> {
    if receipt.digest != once.digest {
        return Err(reused(&once.id));
    }
    match serde_json::from_str(&receipt.answer) {
        Ok(Kept::Input { seq, input, disposition }) => {
            Ok(SessionReply::Input { seq, input, disposition, duplicate: true })
        }
        Ok(Kept::Done { seq }) => Ok(SessionReply::Done { seq, duplicate: true }),
        Ok(Kept::Made { .. }) | Err(_) => Err(Refusal::new(
            RefusalCode::Internal,
            "the receipt of this command id cannot be read",
        )),
    }
}

/// The id of what the first use of a command id made.
pub(crate) fn made_before(receipt: &Receipt, once: &Once) -> Result<String, Refusal> {
    if receipt.digest != once.digest {
        return Err(reused(&once.id));
    }
    match serde_json::from_str(&receipt.answer) {
        Ok(Kept::Made { id }) => Ok(id),
        Ok(Kept::Input { .. } | Kept::Done { .. }) | Err(_) => Err(reused(&once.id)),
    }
}

/// The refusal of a command id that was used before with other content.
#[must_use]
pub fn reused(id: &CommandId) -> Refusal {
    Refusal::new(
        RefusalCode::IdReused,
        format!("command id {id:?} was used before with other content; use a new id"),
    )
}
