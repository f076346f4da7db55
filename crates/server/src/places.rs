//! Places of which each of many may have only so many: connections in all, of a user, of an address.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// How many places each has taken.
pub(crate) struct Places<K> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    most: usize,
}

/// One of somebody's places; given back when it is dropped.
pub(crate) struct Place<K: Hash + Eq> {
    places: Places<K>,
    of: K,
}

impl<K> Clone for Places<K> {
    fn clone(&self) -> Self {
        Self { taken: Arc::clone(&self.taken), most: self.most }
    }
}

impl<K: Hash + Eq + Clone> Places<K> {
    /// Each may have `most`.
    pub(crate) fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }

    /// A place of somebody's, if they have not as many as they may.
    pub(crate) fn take(&self, of: K) -> Option<Place<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get(&of).is_some_and(|count| *count >= self.most) || self.most == 0 {
            return None;
        }
        *taken.entry(of.clone()).or_default() += 1;
        Some(Place { places: self.clone(), of })
    }
}

impl<K: Hash + Eq> Place<K> {
    /// Whose it is.
    pub(crate) fn of(&self) -> &K {
        &self.of
    }
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.of) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_so_many_and_gets_them_back() {
        let places = Places::new(2);
        let (one, _two) = (places.take("ada"), places.take("ada"));
        assert!(one.is_some() && places.take("ada").is_none());
        assert!(places.take("bob").is_some(), "another has places of their own");
        drop(one);
        assert!(places.take("ada").is_some());
        assert!(Places::new(0).take("ada").is_none());
    }
}
