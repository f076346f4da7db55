//! Permits for connections: the server, each user and each address have a limited number.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// The permits of one kind, by holder: a user, an address, or the server itself.
pub(crate) struct ConnectionPermits<K> {
    /// Number of permits that each holder has now.
    taken: Arc<Mutex<HashMap<K, usize>>>,
    most: usize,
}

/// One permit. Given back when it is dropped.
pub(crate) struct ConnectionPermit<K: Hash + Eq> {
    permits: ConnectionPermits<K>,
    of: K,
}

impl<K> Clone for ConnectionPermits<K> {
    fn clone(&self) -> Self {
        Self { taken: Arc::clone(&self.taken), most: self.most }
    }
}

impl<K: Hash + Eq + Clone> ConnectionPermits<K> {
    /// Makes permits of which each holder may have `most`.
    pub(crate) fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }

    /// Takes a permit. `None` when the holder has as many as it may have.
    pub(crate) fn take(&self, of: K) -> Option<ConnectionPermit<K>> {
        let mut taken = self.taken.lock();
        if taken.get(&of).is_some_and(|count| *count >= self.most) || self.most == 0 {
            return None;
        }
        *taken.entry(of.clone()).or_default() += 1;
        Some(ConnectionPermit { permits: self.clone(), of })
    }
}

impl<K: Hash + Eq> ConnectionPermit<K> {
    /// The holder.
    pub(crate) fn of(&self) -> &K {
        &self.of
    }
}

impl<K: Hash + Eq> Drop for ConnectionPermit<K> {
    fn drop(&mut self) {
        let mut taken = self.permits.taken.lock();
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
        // The loopback is a single address.
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
        let permits = ConnectionPermits::new(2);
        let (one, _two) = (permits.take("ada"), permits.take("ada"));
        assert!(one.is_some() && permits.take("ada").is_none());
        assert!(permits.take("bob").is_some(), "another holder has permits of its own");
        drop(one);
        assert!(permits.take("ada").is_some());
        assert!(ConnectionPermits::new(0).take("ada").is_none());
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
