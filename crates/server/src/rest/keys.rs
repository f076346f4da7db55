//! Keys, tickets and logins: how others are let in.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::IntoResponse as _;
use serde::Deserialize;
use serde_json::json;
use thoughtwire_store::KeyId;

use super::{Answered, Path, Rest, Shared, bad, once, read};
use crate::access::{COOKIE_NAME, Identity, LASTS, NewKey, TICKET_LASTS};
use crate::config::Auth;

pub(super) async fn list(State(rest): Shared) -> Answered {
    Ok(Json(json!({"keys": rest.access.keyring.list()})).into_response())
}

pub(super) async fn add(
    State(rest): Shared,
    headers: HeaderMap,
    body: Result<Json<NewKey>, JsonRejection>,
) -> Answered {
    once::refuse(&headers, "a key is shown once; list the keys, and revoke what is too much")?;
    let (key, opens) = rest.access.keyring.add(&rest.access.local, read(body)?).await?;
    Ok((StatusCode::CREATED, Json(json!({"key": key, "secret": opens}))).into_response())
}

pub(super) async fn revoke(State(rest): Shared, Path(key): Path<String>) -> Answered {
    let id = KeyId::new(key).map_err(|error| bad(&format!("the key's id: {error}")))?;
    rest.access.keyring.revoke(&id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Ends all logins and tickets.
pub(super) async fn rotate(State(rest): Shared, headers: HeaderMap) -> Answered {
    once::refuse(&headers, "a rotation may be repeated as it is")?;
    rest.access.rotate(rest.hub.store()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Who the caller is, and what it may do.
pub(super) async fn whoami(State(rest): Shared, caller: Identity) -> Answered {
    let auth = rest.access.guard.auth;
    Ok(Json(json!({"user": caller.user, "scopes": caller.scopes, "expires_at": caller.until, "auth": auth})).into_response())
}

/// A credential for one connection, which a URL may bear.
pub(super) async fn ticket(State(rest): Shared, caller: Identity, headers: HeaderMap) -> Answered {
    once::refuse(&headers, "a ticket opens once, and ends by itself; ask for another one")?;
    let ticket = rest.access.tickets.give(caller)?;
    Ok((
        StatusCode::CREATED,
        Json(json!({"ticket": ticket, "expires_in_seconds": TICKET_LASTS.as_secs()})),
    )
        .into_response())
}

#[derive(Deserialize)]
pub(super) struct LoginBody {
    key: String,
}

/// Exchanges a key for a cookie that no script can read.
pub(super) async fn login(
    State(rest): Shared,
    headers: HeaderMap,
    body: Result<Json<LoginBody>, JsonRejection>,
) -> Answered {
    once::refuse(&headers, "each login is one of its own")?;
    let LoginBody { key } = read(body)?;
    if rest.access.guard.auth == Auth::None {
        return Err(bad("this server needs no key: everybody who can connect is its owner").into());
    }
    rest.access.guard.same_origin(&headers)?;
    let identity = rest.access.token(key.trim())?;
    let (cookie, until) = rest.access.login.write(&identity)?;
    let cookie = format!(
        "{COOKIE_NAME}={cookie}; Max-Age={}; {}",
        LASTS.as_secs(),
        attributes(&rest, &headers)
    );
    let body = json!({"user": identity.user, "scopes": identity.scopes, "expires_at": until});
    Ok(([(SET_COOKIE, cookie)], Json(body)).into_response())
}

/// Has the browser forget the cookie.
pub(super) async fn logout(State(rest): Shared, headers: HeaderMap) -> Answered {
    once::refuse(&headers, "a logout changes nothing the second time")?;
    rest.access.guard.same_origin(&headers)?;
    let cookie = format!("{COOKIE_NAME}=; Max-Age=0; {}", attributes(&rest, &headers));
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}

/// `Secure` where the browser came over TLS, ours or that of the proxy in front.
fn attributes(rest: &Rest, headers: &HeaderMap) -> String {
    const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    let proxied = rest.access.guard.trust_proxy
        && headers.get(PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let secure = if rest.secure || proxied { "; Secure" } else { "" };
    format!("Path={}; HttpOnly; SameSite=Strict{secure}", rest.base_path.root())
}
