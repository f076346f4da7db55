//! Callers of the endpoints.

use axum::extract::Request;
use thoughtwire_proto::Refusal;
use thoughtwire_store::Scope;

use crate::access::{Identity, KEY_NEEDED, unauthorized};
use crate::rest::RestState;

/// Authenticates the caller of a request, who needs the scope `chat`.
///
/// # Errors
/// When the request has no valid key, or its key has not the scope.
pub(crate) fn chat_caller(rest: &RestState, request: &Request) -> Result<Identity, Refusal> {
    let identity = rest
        .access
        .request(request.headers(), request.uri())?
        .ok_or_else(|| unauthorized(KEY_NEEDED))?;
    identity.demand(Scope::Chat)?;
    Ok(identity)
}
