//! Keys and logins that other nodes add, revoke and replace.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_store::{Store, StoreChange, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::Access;
use crate::phase::Phase;

/// Pause before keys that could not be read are read again.
const RETRY_DELAY: Duration = Duration::from_millis(500);

impl Access {
    /// Takes over the keys and the logins' secret whenever another node has changed them, until the
    /// server has stopped.
    pub(crate) async fn follow_other_nodes(
        self,
        store: Arc<Store>,
        mut phase: watch::Receiver<Phase>,
    ) {
        let Some(mut changes) = store.changes().follow() else { return };
        // Something may have changed since they were first read.
        let mut is_due = true;
        loop {
            if is_due {
                match self.reload(&store).await {
                    Ok(()) => is_due = false,
                    Err(error) => {
                        tracing::warn!(%error, "keys could not be read; trying again at once");
                    }
                }
            }
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(StoreChange::Keys) | Err(RecvError::Lagged(_)) => is_due = true,
                    Ok(
                        StoreChange::Agent { .. }
                        | StoreChange::AgentDeleted { .. }
                        | StoreChange::SessionDeleted { .. }
                        | StoreChange::Listings(_)
                        | StoreChange::AllListings
                        | StoreChange::NodeGone { .. }
                        | StoreChange::Overlong(_)
                        | StoreChange::ChatOpened { .. },
                    ) => {}
                    Err(RecvError::Closed) => return,
                },
                () = tokio::time::sleep(RETRY_DELAY), if is_due => {}
                _ = phase.wait_for(|phase| *phase == Phase::Stopped) => return,
            }
        }
    }

    async fn reload(&self, store: &Store) -> Result<(), StoreError> {
        self.keyring.reload().await?;
        self.login.reload(store).await
    }
}
