//! Tickets: a credential that may stand in a URL, since it opens once and only for moments.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thoughtwire_proto::{Refusal, RefusalCode};
use tokio::time::Instant;

use super::{Identity, random};

/// How long a ticket may be used.
pub(crate) const TICKET_LASTS: Duration = Duration::from_secs(30);
/// The most tickets that wait to be used.
const MOST: usize = 10_000;

/// The tickets that were given out and not used yet; a server that starts anew knows none.
#[derive(Clone, Default)]
pub(crate) struct Tickets(Arc<Mutex<HashMap<String, (Identity, Instant)>>>);

impl Tickets {
    pub(crate) fn give(&self, identity: Identity) -> Result<String, Refusal> {
        let ticket = random()?;
        let mut given = self.0.lock();
        if given.len() >= MOST {
            let now = Instant::now();
            given.retain(|_, (_, until)| *until > now);
        }
        if given.len() >= MOST {
            return Err(Refusal::new(
                RefusalCode::TooFast,
                "there are too many tickets that nobody used; come again in half a minute",
            ));
        }
        given.insert(ticket.clone(), (identity, Instant::now() + TICKET_LASTS));
        Ok(ticket)
    }

    /// Forgets all tickets that nobody used yet.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    /// Uses a ticket up.
    pub(super) fn take(&self, ticket: &str) -> Option<Identity> {
        let (identity, until) = self.0.lock().remove(ticket)?;
        // What was revoked since must not come in.
        (until > Instant::now() && !identity.revoked.is_cancelled()).then_some(identity)
    }
}
