//! Reading the store without holding up whoever else is on the thread.

use std::sync::Arc;

use thoughtwire_store::{Store, StoreError};

/// Runs a read on the blocking pool; where it stands, if the store was opened by hand.
pub(crate) async fn read<T: Send + 'static>(
    store: &Arc<Store>,
    read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    if store.is_by_hand() {
        return read(store);
    }
    let _turn = store.turn_to_read().await;
    let store = Arc::clone(store);
    // Only a runtime that is shutting down takes no more.
    tokio::task::spawn_blocking(move || read(&store)).await.unwrap_or(Err(StoreError::Stopped))
}
