//! The list of sessions as somebody sees it who looks at it on one node all the time.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thoughtwire_hub::{Changed, Hub};
use thoughtwire_proto::{SessionId, UserId};
use thoughtwire_store::SessionFilter;
use tokio::sync::broadcast::error::RecvError;

use super::super::ledger::Ledger;

/// Sessions in a list.
#[derive(Default)]
pub(crate) struct SeenList {
    pub(crate) sessions: HashSet<SessionId>,
    /// Whether a change was told that is not looked at yet.
    pub(crate) is_behind: bool,
}

/// Looks at the list, and again whenever it is said to have changed.
pub(super) async fn follow_list(
    hub: Hub,
    user: UserId,
    list: Arc<Mutex<SeenList>>,
    ledger: Arc<Mutex<Ledger>>,
) {
    let mut changes = hub.changes();
    let mut change = Ok(Changed::Lists);
    loop {
        list.lock().unwrap().is_behind = true;
        match change {
            Ok(Changed::Session { session, gone: true, .. }) => {
                list.lock().unwrap().sessions.remove(&session);
                ledger.lock().unwrap().told_gone_on_node(&session);
            }
            Ok(Changed::Session { session, .. }) => {
                let found = again(|| hub.store().directory().session(&session)).await;
                let sessions = &mut list.lock().unwrap().sessions;
                match found {
                    Some(_) => sessions.insert(session),
                    None => sessions.remove(&session),
                };
            }
            Ok(Changed::Lists) | Err(RecvError::Lagged(_)) => {
                let filter = SessionFilter::default();
                let found = again(|| hub.store().directory().sessions(&user, &filter)).await;
                list.lock().unwrap().sessions = found.into_iter().map(|listed| listed.id).collect();
            }
            Err(RecvError::Closed) => return,
        }
        list.lock().unwrap().is_behind = false;
        change = changes.recv().await;
    }
}

/// Reads until it works.
async fn again<T>(read: impl Fn() -> thoughtwire_store::StoreRead<T>) -> T {
    loop {
        match read().await {
            Ok(found) => return found,
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
