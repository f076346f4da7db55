//! Keys, tickets and logins.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::NoContent;
use thoughtwire_proto::KeyId;
use thoughtwire_proto::rest::{
    Auth, CallerInfo, KeyCreated, KeyList, KeyLogin, LoginAnswer, NewKey, TicketCreated,
};

use super::{
    Created, JsonBody, PathParams, RestResult, RestState, SharedRest, WithCookie, bad, read,
    refuse_idempotency_key,
};
use crate::access::{COOKIE_NAME, Identity, LASTS, TICKET_LASTS};

pub(super) async fn list(State(rest): SharedRest) -> Json<KeyList> {
    Json(KeyList { keys: rest.access.keyring.list() })
}

pub(super) async fn add(
    State(rest): SharedRest,
    headers: HeaderMap,
    body: JsonBody<NewKey>,
) -> RestResult<Created<KeyCreated>> {
    refuse_idempotency_key(
        &headers,
        "a key is shown once; list the keys, and revoke what is too much",
    )?;
    let (key, secret) = rest.access.keyring.add(&rest.access.local, read(body)?).await?;
    Ok(Created(KeyCreated { key, secret }))
}

pub(super) async fn revoke(
    State(rest): SharedRest,
    PathParams(key): PathParams<String>,
) -> RestResult<NoContent> {
    let id = KeyId::new(key).map_err(|error| bad(&format!("the key's id: {error}")))?;
    rest.access.keyring.revoke(&id).await?;
    Ok(NoContent)
}

/// Ends all logins and tickets.
pub(super) async fn rotate(State(rest): SharedRest, headers: HeaderMap) -> RestResult<NoContent> {
    refuse_idempotency_key(&headers, "a rotation may be repeated as it is")?;
    rest.access.rotate(rest.hub.store()).await?;
    Ok(NoContent)
}

/// Describes the caller and its permissions.
pub(super) async fn whoami(State(rest): SharedRest, caller: Identity) -> Json<CallerInfo> {
    let auth = rest.access.guard.auth;
    let Identity { user, scopes, until, .. } = caller;
    Json(CallerInfo { user, scopes, expires_at: until, auth })
}

/// Makes a credential for one connection, which a URL may contain.
pub(super) async fn ticket(
    State(rest): SharedRest,
    caller: Identity,
    headers: HeaderMap,
) -> RestResult<Created<TicketCreated>> {
    refuse_idempotency_key(
        &headers,
        "a ticket opens once, and ends by itself; ask for another one",
    )?;
    let ticket = rest.access.tickets.give(&caller).await?;
    Ok(Created(TicketCreated { ticket, expires_in_seconds: TICKET_LASTS.as_secs() }))
}

/// Exchanges a key for a cookie that no script can read.
pub(super) async fn login(
    State(rest): SharedRest,
    headers: HeaderMap,
    body: JsonBody<KeyLogin>,
) -> RestResult<WithCookie<Json<LoginAnswer>>> {
    refuse_idempotency_key(&headers, "each login is one of its own")?;
    let KeyLogin { key } = read(body)?;
    if rest.access.guard.auth == Auth::None {
        return Err(bad("this server needs no key: everybody who can connect is its owner").into());
    }
    rest.access.guard.same_origin(&headers)?;
    let identity = rest.access.token(key.trim())?;
    let (cookie, expires_at) = rest.access.login.write(&identity)?;
    let cookie = format!(
        "{COOKIE_NAME}={cookie}; Max-Age={}; {}",
        LASTS.as_secs(),
        attributes(&rest, &headers)
    );
    let Identity { user, scopes, .. } = identity;
    Ok(WithCookie { cookie, answer: Json(LoginAnswer { user, scopes, expires_at }) })
}

/// Has the browser delete the cookie.
pub(super) async fn logout(
    State(rest): SharedRest,
    headers: HeaderMap,
) -> RestResult<WithCookie<NoContent>> {
    refuse_idempotency_key(&headers, "a logout changes nothing the second time")?;
    rest.access.guard.same_origin(&headers)?;
    let cookie = format!("{COOKIE_NAME}=; Max-Age=0; {}", attributes(&rest, &headers));
    Ok(WithCookie { cookie, answer: NoContent })
}

/// Returns the attributes of the cookie: `Secure` if the browser used TLS to us or to the proxy.
fn attributes(rest: &RestState, headers: &HeaderMap) -> String {
    const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    let proxied = rest.access.guard.trust_proxy
        && headers.get(PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let secure = if rest.secure || proxied { "; Secure" } else { "" };
    format!("Path={}; HttpOnly; SameSite=Strict{secure}", rest.base_path.root())
}
