//! Tickets: credentials for one connection that expire soon, so a URL may contain them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thoughtwire_proto::{Refusal, RefusalCode};
use tokio::time::Instant;

use super::{Identity, random};

/// Life of a ticket.
pub(crate) const TICKET_LASTS: Duration = Duration::from_secs(30);
/// Most unused tickets.
const MOST: usize = 10_000;

/// Tickets that are not used yet. A restart ends them.
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

    /// Ends all unused tickets.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    /// Takes a ticket; it cannot be used again.
    pub(super) fn take(&self, ticket: &str) -> Option<Identity> {
        let (identity, until) = self.0.lock().remove(ticket)?;
        // The key may have been revoked since.
        (until > Instant::now() && !identity.revoked.is_cancelled()).then_some(identity)
    }
}
