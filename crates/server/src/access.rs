//! Who a connection or request is, once it was admitted.

use std::sync::Arc;

use thoughtwire_proto::{Refusal, RefusalCode, UserId};

use crate::config::Auth;
use crate::guard::Guard;

/// Decides which user a credential is.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) guard: Arc<Guard>,
    /// The only user of a server without keys, and the owner of one with them.
    pub(crate) local: UserId,
}

impl Access {
    /// The user of a connection that brings a token, or was let in already. A name space makes a
    /// user of its own where there are no keys.
    pub(crate) fn enter(&self, current: &UserId, token: Option<&str>, space: Option<&str>) -> Result<UserId, Refusal> {
        if self.guard.auth == Auth::Keys && token.is_some() {
            self.guard.authenticate(token)?;
        }
        match space {
            Some(space) if self.guard.auth == Auth::None && !space.is_empty() && space != self.local.as_str() => {
                // Names of spaces cannot meet the names of users.
                let name = format!("~{space}");
                UserId::new(name).map_err(|bad| Refusal::new(RefusalCode::BadRequest, format!("user_id: {bad}")))
            }
            Some(_) | None => Ok(current.clone()),
        }
    }

    /// Whether a dialect's client must bring a token in a frame, because its request had none.
    pub(crate) fn needs_token(&self, bearer: Option<&str>) -> bool {
        self.guard.auth == Auth::Keys && self.guard.authenticate(bearer).is_err()
    }
}
