//! Places of which each of many may have only so many: connections in all, of a user, of an address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

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
        let mut taken = self.taken.lock();
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
        let mut taken = self.places.taken.lock();
        if let Some(count) = taken.get_mut(&self.of) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

/// The address under which a peer's connections are counted: one IPv6 customer has a whole /64.
pub(crate) fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        // The loopback is one address, and its neighbours are nobody's.
        IpAddr::V6(Ipv6Addr::LOCALHOST) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
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

    #[test]
    fn an_ipv6_network_is_one_address_and_a_mapped_one_is_the_ipv4_one() {
        for (peer, counted) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
            ("::1", "::1"),
        ] {
            assert_eq!(counted_as(peer.parse().unwrap()).to_string(), counted, "{peer}");
        }
    }
}
