//! Idempotency keys of requests that are no commands of the hub.

use serde::de::DeserializeOwned;
use thoughtwire_hub::{command_digest, command_reused};
use thoughtwire_proto::{Refusal, RefusalCode, UserId};
use thoughtwire_store::Receipt;

use super::{IdempotencyHeader, RestRefusal, RestState};

/// Returns the receipt to save with a request's effect, if the request has a key. The store writes
/// the answer into it.
pub(super) fn receipt(
    key: &IdempotencyHeader,
    user: &UserId,
    name: &str,
    parts: &[&str],
) -> Result<Option<Receipt>, RestRefusal> {
    let receipt = |id| Receipt {
        user: user.clone(),
        id,
        digest: command_digest(name, parts),
        answer: String::new(),
    };
    Ok(key.read()?.map(receipt))
}

/// Returns the answer to the first request with this key, if there was one.
pub(super) async fn before<T: DeserializeOwned>(
    rest: &RestState,
    receipt: Option<&Receipt>,
) -> Result<Option<T>, RestRefusal> {
    let Some(receipt) = receipt else { return Ok(None) };
    let directory = rest.hub.store().directory();
    let Some(kept) = directory.receipt(&receipt.user, &receipt.id).await? else {
        return Ok(None);
    };
    if kept.digest != receipt.digest {
        return Err(command_reused(&receipt.id).into());
    }
    let unreadable =
        |_| Refusal::new(RefusalCode::Internal, "the first answer to this key cannot be read");
    Ok(Some(serde_json::from_str(&kept.answer).map_err(unreadable)?))
}
