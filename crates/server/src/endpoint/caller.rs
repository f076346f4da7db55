//! Callers of endpoints.

use axum::extract::Request;
use thoughtwire_proto::Refusal;
use thoughtwire_store::Scope;

use crate::access::{KEY_NEEDED, unauthorized};
use crate::rest::RestState;

/// Authenticates the caller of a request, who needs the scope `chat`, and notes the identity in it.
///
/// # Errors
/// When the key is missing or wrong, or lacks the scope.
pub(crate) async fn admit_caller(rest: &RestState, request: &mut Request) -> Result<(), Refusal> {
    let identity = rest.access.request(request.headers(), request.uri()).await?;
    let identity = identity.ok_or_else(|| unauthorized(KEY_NEEDED))?;
    identity.demand(Scope::Chat)?;
    request.extensions_mut().insert(identity);
    Ok(())
}
