//! Logging in from Sparky's page. A key is the password, and the key decides whose it is. Without
//! keys there is nothing to prove: the name says which name space is meant.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thoughtwire_proto::{Refusal, check_name};

use super::{Told, own_space};
use crate::access::{Identity, named_by, naming, unauthorized};
use crate::config::Auth;
use crate::rest::{Rest, Shared, bad, read};

#[derive(Deserialize)]
pub(in crate::rest) struct LoginBody {
    username: String,
    password: String,
}

#[derive(Deserialize)]
pub(in crate::rest) struct RegisterBody {
    username: String,
    #[serde(default)]
    email: String,
    password: String,
}

#[derive(Deserialize)]
pub(in crate::rest) struct RefreshBody {
    refresh_token: String,
}

#[derive(Serialize)]
struct Tokens {
    access_token: String,
    refresh_token: String,
    token_type: &'static str,
}

impl Tokens {
    /// One token for both: it is renewed for as long as its login lasts.
    fn of(token: String) -> Response {
        let tokens =
            Self { refresh_token: token.clone(), access_token: token, token_type: "bearer" };
        Json(tokens).into_response()
    }
}

#[derive(Serialize)]
struct User {
    id: String,
    username: String,
    email: String,
    is_active: bool,
    is_verified: bool,
    roles: [&'static str; 1],
}

impl User {
    fn new(id: String, email: String) -> Self {
        let username = id.clone();
        Self { id, username, email, is_active: true, is_verified: true, roles: ["user"] }
    }
}

fn checked(username: &str) -> Result<&str, Refusal> {
    let username = username.trim();
    check_name(username).map_err(|wrong| bad(&format!("the username: {wrong}")))?;
    Ok(username)
}

/// Whoever has the password; a refusal says what a password is here.
fn known(rest: &Rest, password: &str) -> Result<Identity, Refusal> {
    rest.access.token(password.trim()).map_err(|_| {
        unauthorized(
            "Incorrect username or password: the password is a key, as `thoughtwire keys add` shows it",
        )
    })
}

pub(in crate::rest) async fn login(
    State(rest): Shared,
    body: Result<Json<LoginBody>, JsonRejection>,
) -> Told {
    let LoginBody { username, password } = read(body)?;
    let token = match rest.access.guard.auth {
        Auth::None => naming(checked(&username)?),
        Auth::Keys => rest.access.login.write(&known(&rest, &password)?)?.0,
    };
    Ok(Tokens::of(token))
}

pub(in crate::rest) async fn register(
    State(rest): Shared,
    body: Result<Json<RegisterBody>, JsonRejection>,
) -> Told {
    let RegisterBody { username, email, password } = read(body)?;
    let id = match rest.access.guard.auth {
        Auth::None => checked(&username)?.to_owned(),
        Auth::Keys => known(&rest, &password)
            .map_err(|_| {
                bad(
                    "users are not made here: ask for a key of `thoughtwire keys add --user NAME`, \
                     and log in with the key as the password",
                )
            })?
            .user
            .to_string(),
    };
    Ok((StatusCode::CREATED, Json(User::new(id, email))).into_response())
}

pub(in crate::rest) async fn refresh(
    State(rest): Shared,
    body: Result<Json<RefreshBody>, JsonRejection>,
) -> Told {
    let RefreshBody { refresh_token } = read(body)?;
    let token = match rest.access.guard.auth {
        Auth::None => {
            let name = named_by(&refresh_token)
                .ok_or_else(|| unauthorized("Invalid refresh token: log in again"))?;
            naming(checked(name)?)
        }
        Auth::Keys => rest.access.login.write(&rest.access.token(&refresh_token)?)?.0,
    };
    Ok(Tokens::of(token))
}

/// The page forgets its tokens by itself; there is nothing to do here.
pub(in crate::rest) async fn logout() -> Response {
    Json(json!({"message": "Logged out successfully"})).into_response()
}

pub(in crate::rest) async fn me(State(rest): Shared, caller: Identity, headers: HeaderMap) -> Told {
    let id = own_space(&rest.access, &caller, &headers);
    Ok(Json(User::new(id, String::new())).into_response())
}
