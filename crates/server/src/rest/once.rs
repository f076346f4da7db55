//! Idempotency keys of requests that the hub does not know as commands.

use axum::http::HeaderMap;
use serde_json::Value;
use thoughtwire_hub::{command_digest, command_reused};
use thoughtwire_proto::{Refusal, RefusalCode, UserId};
use thoughtwire_store::Receipt;

use super::{IDEMPOTENCY_KEY, Refused, Rest, bad, idempotency_key};

/// Refuses an idempotency key where a repetition could not be answered as the first request was.
pub(super) fn refuse(headers: &HeaderMap, reason: &str) -> Result<(), Refusal> {
    if headers.contains_key(IDEMPOTENCY_KEY) {
        return Err(bad(&format!("this request takes no Idempotency-Key: {reason}")));
    }
    Ok(())
}

/// The receipt that a request's effect is saved with, if the request has a key. The store writes
/// the answer into it.
pub(super) fn receipt(
    headers: &HeaderMap,
    user: &UserId,
    name: &str,
    parts: &[&str],
) -> Result<Option<Receipt>, Refused> {
    let receipt = |id| Receipt {
        user: user.clone(),
        id,
        digest: command_digest(name, parts),
        answer: String::new(),
    };
    Ok(idempotency_key(headers)?.map(receipt))
}

/// The answer to the first request with this key, if there was one.
pub(super) async fn before(
    rest: &Rest,
    receipt: Option<&Receipt>,
) -> Result<Option<Value>, Refused> {
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
