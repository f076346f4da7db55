//! Sessions as lists show them.

use thoughtwire_hub::Hub;
use thoughtwire_proto::{Refusal, SessionId, SessionListing, UserId};
use thoughtwire_store::SessionFilter;

/// All of a user's sessions, newest activity first.
pub(crate) async fn all(hub: &Hub, user: &UserId) -> Result<Vec<SessionListing>, Refusal> {
    some(hub, user, SessionFilter::default()).await
}

/// Those that a filter lets through.
pub(crate) async fn some(
    hub: &Hub,
    user: &UserId,
    filter: SessionFilter,
) -> Result<Vec<SessionListing>, Refusal> {
    let store = hub.store().for_user(user.as_str());
    Ok(store.directory().sessions(user, &filter).await?)
}

/// One of a user's sessions.
pub(crate) async fn one(
    hub: &Hub,
    user: &UserId,
    session: &SessionId,
) -> Result<Option<SessionListing>, Refusal> {
    let filter = SessionFilter { id: Some(session.clone()), ..SessionFilter::default() };
    Ok(some(hub, user, filter).await?.pop())
}
