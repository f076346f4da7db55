//! Keys: credentials by their digests, and the data directory's own secrets.

use thoughtwire_proto::{Key, KeyId};

use crate::{Commit, NewTicket, StoreRead};

/// The keys of all users. Only digests of the credentials are stored.
pub trait KeyStore: Send + Sync {
    /// Adds a key under the digest of its credential.
    fn add(&self, key: Key, digest: String) -> Commit<()>;

    /// Deletes a key. Resolves to whether it existed.
    fn delete(&self, id: &KeyId) -> Commit<bool>;

    /// Lists all keys with their digests, oldest first.
    fn list(&self) -> StoreRead<Vec<(String, Key)>>;

    /// Gets a secret of the data directory. The first call saves `fresh`; later ones get the same.
    fn secret(&self, name: &'static str, fresh: Vec<u8>) -> Commit<Vec<u8>>;

    /// Replaces a secret of the data directory. Signatures made with the old one become void, and
    /// all tickets end.
    fn replace_secret(&self, name: &'static str, fresh: Vec<u8>) -> Commit<()>;

    /// Adds a ticket. Resolves to false when there are `most` unused ones.
    fn add_ticket(&self, ticket: NewTicket, most: usize) -> Commit<bool>;

    /// Takes a ticket out, for whichever process asks first. Resolves to its bearer if it is valid.
    fn take_ticket(&self, digest: String) -> Commit<Option<String>>;
}
