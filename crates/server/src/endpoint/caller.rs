//! Callers of endpoints.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use thoughtwire_proto::Refusal;
use thoughtwire_store::Scope;

use crate::access::{KEY_NEEDED, unauthorized};
use crate::rest::{RestState, SharedRest};

/// Middleware that authenticates the caller of each request, who needs the scope `chat`. A refusal
/// has the form `R` of the endpoint.
pub(crate) async fn authorize<R>(
    State(rest): SharedRest,
    mut request: Request,
    next: Next,
) -> Response
where
    R: From<Refusal> + IntoResponse,
{
    match admit_caller(&rest, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => R::from(refusal).into_response(),
    }
}

/// Whether a path is that of an endpoint with this prefix, or lies below it.
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Notes the identity of a request's caller in the request.
///
/// # Errors
/// When the key is missing or wrong, or lacks the scope.
async fn admit_caller(rest: &RestState, request: &mut Request) -> Result<(), Refusal> {
    let identity = rest.access.request(request.headers(), request.uri()).await?;
    let identity = identity.ok_or_else(|| unauthorized(KEY_NEEDED))?;
    identity.demand(Scope::Chat)?;
    request.extensions_mut().insert(identity);
    Ok(())
}
