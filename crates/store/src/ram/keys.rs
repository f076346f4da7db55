//! Keys and secrets in memory.

use super::RamHandle;
use super::faults::WriteUse;
use crate::{Commit, Key, KeyId, KeyStore, NewTicket, StoreChange, StoreError, StoreRead};

/// [`KeyStore`] in memory.
pub(super) struct RamKeys(pub(super) RamHandle);

impl KeyStore for RamKeys {
    fn add(&self, key: Key, digest: String) -> Commit<()> {
        self.0.write(WriteUse::nothing(), move |tables| {
            if tables.keys.iter().any(|(known, other)| *known == digest || other.id == key.id) {
                return Err(StoreError::Failed(format!("key {} exists already", key.id)));
            }
            tables.keys.push((digest, key));
            tables.record(StoreChange::Keys);
            Ok(())
        })
    }

    fn delete(&self, id: &KeyId) -> Commit<bool> {
        let id = id.clone();
        self.0.write(WriteUse::nothing(), move |tables| {
            let before = tables.keys.len();
            tables.keys.retain(|(_, key)| key.id != id);
            let is_deleted = tables.keys.len() < before;
            if is_deleted {
                tables.record(StoreChange::Keys);
            }
            Ok(is_deleted)
        })
    }

    fn list(&self) -> StoreRead<Vec<(String, Key)>> {
        self.0.read(&[], |tables| {
            let mut keys = tables.keys.clone();
            keys.sort_by_key(|(_, key)| (key.created_at, key.id.clone()));
            Ok(keys)
        })
    }

    fn secret(&self, name: &'static str, fresh: Vec<u8>) -> Commit<Vec<u8>> {
        self.0.write(WriteUse::nothing(), move |tables| {
            Ok(tables.secrets.entry(name).or_insert(fresh).clone())
        })
    }

    fn replace_secret(&self, name: &'static str, fresh: Vec<u8>) -> Commit<()> {
        self.0.write(WriteUse::nothing(), move |tables| {
            tables.secrets.insert(name, fresh);
            tables.tickets.clear();
            tables.record(StoreChange::Keys);
            Ok(())
        })
    }

    fn add_ticket(&self, ticket: NewTicket, most: usize) -> Commit<bool> {
        self.0.write(WriteUse::nothing(), move |tables| Ok(tables.tickets.add(ticket, most)))
    }

    fn take_ticket(&self, digest: String) -> Commit<Option<String>> {
        self.0.write(WriteUse::nothing(), move |tables| Ok(tables.tickets.take(&digest)))
    }
}
