//! Tickets: credentials that are used once.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A ticket that nobody has used.
#[derive(Debug, Clone)]
pub struct NewTicket {
    /// Digest of the ticket.
    pub digest: String,
    /// Description of whom it lets in, for the caller.
    pub bearer: String,
    /// Time for which it is valid.
    pub lasts: Duration,
}

/// The unused tickets of the only process that has the data. A restart ends them.
#[derive(Debug, Default)]
pub(crate) struct LocalTickets(Mutex<HashMap<String, (String, Instant)>>);

impl LocalTickets {
    /// Adds a ticket. False when there are `most` others.
    pub(crate) fn add(&self, ticket: NewTicket, most: usize) -> bool {
        let (mut given, now) = (self.0.lock(), Instant::now());
        if given.len() >= most {
            given.retain(|_, (_, until)| *until > now);
        }
        let has_room = given.len() < most;
        if has_room {
            given.insert(ticket.digest, (ticket.bearer, now + ticket.lasts));
        }
        has_room
    }

    /// Takes a ticket out. Gives its bearer if it is valid.
    pub(crate) fn take(&self, digest: &str) -> Option<String> {
        let (bearer, until) = self.0.lock().remove(digest)?;
        (until > Instant::now()).then_some(bearer)
    }

    /// Ends all tickets.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}
