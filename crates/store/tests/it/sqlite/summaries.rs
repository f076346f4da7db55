//! The cache of memory summaries.

use std::sync::Arc;

use crate::support::{agent, note, open};

#[tokio::test]
async fn a_summary_is_read_once_while_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (ada, bob) = (agent(&store, "ada").await, agent(&store, "bob").await);
    let first = store.memory().summary(&ada.id).await.unwrap();
    store.memory().add_notes(&bob.id, vec![note("tea")], u64::MAX, None).await.unwrap();
    let again = store.memory().summary(&ada.id).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    store.memory().add_notes(&ada.id, vec![note("tea")], u64::MAX, None).await.unwrap();
    let changed = store.memory().summary(&ada.id).await.unwrap();
    assert_eq!((first.archived, changed.archived), (0, 1));
}
