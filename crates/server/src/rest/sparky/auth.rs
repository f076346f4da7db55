//! Logins of Sparky's page. A key is the password, and determines the user. Without keys nothing is
//! checked, and the user name selects the name space.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use thoughtwire_proto::rest::Auth;
use thoughtwire_proto::{Refusal, check_name};

use super::{SparkyNotice, SparkyResult, own_space};
use crate::access::{Identity, named_by, naming, unauthorized};
use crate::rest::{Created, JsonBody, RestState, SharedRest, bad, read};

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
pub(in crate::rest) struct SparkyLogin {
    username: String,
    password: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(transform = thoughtwire_proto::schema::optional("email")))]
#[derive(Deserialize)]
pub(in crate::rest) struct SparkyRegistration {
    username: String,
    #[serde(default)]
    email: String,
    password: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
pub(in crate::rest) struct SparkyRefresh {
    refresh_token: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(in crate::rest) struct SparkyTokens {
    access_token: String,
    refresh_token: String,
    #[cfg_attr(test, schemars(extend("const" = "bearer")))]
    token_type: &'static str,
}

impl SparkyTokens {
    /// Uses one token for both, since it is renewed for as long as its login lasts.
    fn new(token: String) -> Self {
        Self { refresh_token: token.clone(), access_token: token, token_type: "bearer" }
    }
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(in crate::rest) struct SparkyUser {
    id: String,
    username: String,
    email: String,
    is_active: bool,
    is_verified: bool,
    roles: [&'static str; 1],
}

impl SparkyUser {
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

/// Finds the owner of a password. The refusal explains that a key is the password.
fn known(rest: &RestState, password: &str) -> Result<Identity, Refusal> {
    rest.access.token(password.trim()).map_err(|_| {
        unauthorized(
            "Incorrect username or password: the password is a key, as `thoughtwire keys add` \
             shows it",
        )
    })
}

pub(in crate::rest) async fn login(
    State(rest): SharedRest,
    body: JsonBody<SparkyLogin>,
) -> SparkyResult<Json<SparkyTokens>> {
    let SparkyLogin { username, password } = read(body)?;
    let token = match rest.access.guard.auth {
        Auth::None => naming(checked(&username)?),
        Auth::Keys => rest.access.login.write(&known(&rest, &password)?)?.0,
    };
    Ok(Json(SparkyTokens::new(token)))
}

pub(in crate::rest) async fn register(
    State(rest): SharedRest,
    body: JsonBody<SparkyRegistration>,
) -> SparkyResult<Created<SparkyUser>> {
    let SparkyRegistration { username, email, password } = read(body)?;
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
    Ok(Created(SparkyUser::new(id, email)))
}

pub(in crate::rest) async fn refresh(
    State(rest): SharedRest,
    body: JsonBody<SparkyRefresh>,
) -> SparkyResult<Json<SparkyTokens>> {
    let SparkyRefresh { refresh_token } = read(body)?;
    let token = match rest.access.guard.auth {
        Auth::None => {
            let name = named_by(&refresh_token)
                .ok_or_else(|| unauthorized("Invalid refresh token: log in again"))?;
            naming(checked(name)?)
        }
        Auth::Keys => rest.access.login.write(&rest.access.token(&refresh_token)?)?.0,
    };
    Ok(Json(SparkyTokens::new(token)))
}

/// Does nothing, since the page deletes its tokens by itself.
pub(in crate::rest) async fn logout() -> Json<SparkyNotice> {
    Json(SparkyNotice { message: "Logged out successfully" })
}

pub(in crate::rest) async fn me(
    State(rest): SharedRest,
    caller: Identity,
    headers: HeaderMap,
) -> SparkyResult<Json<SparkyUser>> {
    let id = own_space(&rest.access, &caller, &headers);
    Ok(Json(SparkyUser::new(id, String::new())))
}
