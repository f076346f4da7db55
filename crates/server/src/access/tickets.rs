//! Tickets: credentials for one connection that expire soon, so a URL may contain them.
//!
//! The store keeps them until they are used, so that each node of a cluster takes the tickets of
//! all. Like a login, a ticket and its connection end with the caller's key, and with the secret of
//! the logins.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_proto::{Refusal, RefusalCode};
use thoughtwire_store::{NewTicket, Store};

use super::keyring::digest;
use super::login::KnownCaller;
use super::{Identity, Keyring, Login, random, unauthorized};

/// Life of a ticket.
pub(crate) const TICKET_LASTS: Duration = Duration::from_secs(30);
/// Most unused tickets.
const MOST: usize = 10_000;

#[derive(Clone)]
pub(crate) struct Tickets(Arc<Store>);

impl Tickets {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self(store)
    }

    /// Makes a ticket for a caller.
    ///
    /// # Errors
    /// When there are too many that nobody used, or it cannot be saved.
    pub(crate) async fn give(&self, caller: &Identity) -> Result<String, Refusal> {
        let ticket = random()?;
        let new = NewTicket {
            digest: digest(&ticket),
            bearer: serde_json::to_string(&KnownCaller::from(caller))
                .map_err(|error| unreadable(&error))?,
            lasts: TICKET_LASTS,
        };
        if !self.0.keys().add_ticket(new, MOST).await? {
            return Err(Refusal::new(
                RefusalCode::TooFast,
                "there are too many tickets that nobody used; come again in half a minute",
            ));
        }
        Ok(ticket)
    }

    /// Takes a ticket; it cannot be used again.
    ///
    /// # Errors
    /// When it is not valid, or the store cannot be reached.
    pub(super) async fn take(
        &self,
        ticket: &str,
        login: &Login,
        keyring: &Keyring,
    ) -> Result<Identity, Refusal> {
        let bearer = self.0.keys().take_ticket(digest(ticket)).await?.ok_or_else(|| {
            unauthorized("the ticket is unknown, was used or is older than 30 seconds")
        })?;
        let caller = || serde_json::from_str(&bearer).map_err(|error| unreadable(&error));
        if let Ok(identity) = login.recall(caller()?, keyring) {
            return Ok(identity);
        }
        // Another node may have just added the key.
        keyring.reload().await?;
        login.recall(caller()?, keyring)
    }
}

fn unreadable(error: &serde_json::Error) -> Refusal {
    Refusal::new(RefusalCode::Internal, format!("the ticket's caller: {error}"))
}
