//! Receipts: what makes a command that carries an id take effect key.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thoughtwire_proto::{Disposition, ItemId, Refusal, RefusalCode, Seq, SessionReply, UserId};
use thoughtwire_session::{IdempotencyKey, key_reused};
use thoughtwire_store::Receipt;

/// An answer as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum StoredAnswer {
    Input {
        seq: Seq,
        input: ItemId,
        disposition: Disposition,
    },
    Done {
        seq: Option<Seq>,
    },
    /// An agent or session was made. A repetition looks it up by its id.
    Made {
        id: String,
    },
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
            StoredAnswer::Input { seq: *seq, input: input.clone(), disposition: *disposition }
        }
        SessionReply::Done { seq, .. } => StoredAnswer::Done { seq: *seq },
    };
    // Invariant: `StoredAnswer` has only strings and numbers, which always serialise.
    serde_json::to_string(&kept).unwrap_or_default()
}

/// A receipt for something made, by its id.
pub(crate) fn made(user: &UserId, key: IdempotencyKey, id: &str) -> Receipt {
    let answer =
        serde_json::to_string(&StoredAnswer::Made { id: id.to_owned() }).unwrap_or_default();
    Receipt { user: user.clone(), id: key.id, digest: key.digest, answer }
}

/// A receipt for something done.
pub(crate) fn done(user: &UserId, key: IdempotencyKey, seq: Option<Seq>) -> Receipt {
    let answer = serde_json::to_string(&StoredAnswer::Done { seq }).unwrap_or_default();
    Receipt { user: user.clone(), id: key.id, digest: key.digest, answer }
}

/// Answers a repetition from its receipt.
pub(crate) fn answer_again(
    receipt: &Receipt,
    key: &IdempotencyKey,
) -> Result<SessionReply, Refusal> {
    if receipt.digest != key.digest {
        return Err(key_reused(&key.id));
    }
    match serde_json::from_str(&receipt.answer) {
        Ok(StoredAnswer::Input { seq, input, disposition }) => {
            Ok(SessionReply::Input { seq, input, disposition, duplicate: true })
        }
        Ok(StoredAnswer::Done { seq }) => Ok(SessionReply::Done { seq, duplicate: true }),
        Ok(StoredAnswer::Made { .. }) | Err(_) => Err(Refusal::new(
            RefusalCode::Internal,
            "the receipt of this command id cannot be read",
        )),
    }
}

/// The input that a command sent; `None` if it was another command.
pub(crate) fn input_of(receipt: &Receipt) -> Option<ItemId> {
    match serde_json::from_str(&receipt.answer) {
        Ok(StoredAnswer::Input { input, .. }) => Some(input),
        Ok(StoredAnswer::Done { .. } | StoredAnswer::Made { .. }) | Err(_) => None,
    }
}

/// The id of what the first use of a command id made.
pub(crate) fn made_before(receipt: &Receipt, key: &IdempotencyKey) -> Result<String, Refusal> {
    if receipt.digest != key.digest {
        return Err(key_reused(&key.id));
    }
    match serde_json::from_str(&receipt.answer) {
        Ok(StoredAnswer::Made { id }) => Ok(id),
        Ok(StoredAnswer::Input { .. } | StoredAnswer::Done { .. }) | Err(_) => {
            Err(key_reused(&key.id))
        }
    }
}
