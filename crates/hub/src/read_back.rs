//! Writes whose outcome is unknown: reading back decides it.

use thoughtwire_store::StoreError;

/// Outcome of a write, which is known after this if the data can be read. `find` reads what the
/// write leaves behind; `None` if that is not there, and then nobody may rely on the write.
///
/// # Errors
/// Those of the write, and those of the read.
pub(crate) async fn read_back<T>(
    outcome: Result<T, StoreError>,
    find: impl Future<Output = Result<Option<T>, StoreError>>,
) -> Result<T, StoreError> {
    match outcome {
        Err(StoreError::Unknown(reason)) => find.await?.ok_or(StoreError::Unknown(reason)),
        known => known,
    }
}
