//! Who a connection or request is, once it was admitted.

use std::sync::Arc;

use thoughtwire_proto::{Refusal, RefusalCode, UserId};

use crate::config::Auth;
use crate::guard::Guard;

/// Who a connection is so far.
pub(crate) struct Entrant {
    pub(crate) user: UserId,
    /// Whether its request, or a frame since, brought what is needed.
    pub(crate) trusted: bool,
}

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
    pub(crate) fn enter(&self, current: &Entrant, token: Option<&str>, space: Option<&str>) -> Result<UserId, Refusal> {
        // A token that is brought is checked, also by who was let in without it.
        if token.is_some() || !current.trusted {
            self.guard.authenticate(token)?;
        }
        match space {
            Some(space) if self.guard.auth == Auth::None && !space.is_empty() && space != self.local.as_str() => {
                // Names of spaces cannot meet the names of users.
                let name = format!("~{space}");
                UserId::new(name).map_err(|bad| Refusal::new(RefusalCode::BadRequest, format!("user_id: {bad}")))
            }
            Some(_) | None => Ok(current.user.clone()),
        }
    }

    /// Whether a dialect's client must bring a token in a frame, because its request had none.
    pub(crate) fn needs_token(&self, bearer: Option<&str>) -> bool {
        self.guard.auth == Auth::Keys && self.guard.authenticate(bearer).is_err()
    }
}
