//! Proofs of reading by clients of the older wires.

use std::sync::{Arc, Mutex};

use thoughtwire_hub::Hub;
use thoughtwire_proto::Timestamp;
use thoughtwire_store::Proven;

use super::ledger::Ledger;

/// Keeps a proof, and notes that it is kept.
pub(crate) async fn keep(
    hub: Hub,
    ledger: Arc<Mutex<Ledger>>,
    whose: (usize, u32),
    rows: Vec<Proven>,
    closed_at: Option<Timestamp>,
) {
    if rows.is_empty() {
        return;
    }
    hub.prove(rows.clone(), closed_at).await;
    ledger.lock().unwrap().proved(whose, &rows);
}
