//! Addresses that may be fetched, also after names are resolved.

use std::net::{IpAddr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The addresses that may be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tools) enum FetchScope {
    /// Only addresses of the public internet.
    Public,
    /// All addresses: for a proxy that the operator configured, and for tests.
    Any,
    /// Only one address of this machine, as a stand-in for a public one.
    #[cfg(test)]
    Only(SocketAddr),
}

impl FetchScope {
    fn includes(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address),
            Self::Any => true,
            #[cfg(test)]
            Self::Only(one) => one.ip() == address,
        }
    }
}

/// Checks a URL before anything is sent to it. The error is a sentence for the model.
pub(super) fn check_url(url: &Url, scope: FetchScope) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "`url` begins with {}:, but only http: and https: can be fetched.",
            url.scheme()
        ));
    }
    match literal(url) {
        Some(address) if !scope.includes(address) => {
            Err(format!("{address} is no public address; only public addresses can be fetched."))
        }
        Some(_) | None => Ok(()),
    }
}

/// The IP address in a URL, if its host is one.
fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

/// Checks the addresses of a URL's host before a proxy resolves it. The URL is refused if any
/// address may not be fetched. A name that only the proxy knows passes.
pub(super) async fn check_host(url: &Url, scope: FetchScope) -> Result<(), String> {
    let Some(host) = url.host_str().filter(|_| literal(url).is_none()) else { return Ok(()) };
    let Ok(found) = tokio::net::lookup_host((host, 0)).await else { return Ok(()) };
    for address in found {
        if !scope.includes(address.ip()) {
            return Err(format!(
                "{host} has no public address; only public addresses can be fetched."
            ));
        }
    }
    Ok(())
}

/// Whether an address is on the public internet (the special-purpose registries of RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let benchmark = a == 198 && (18..20).contains(&b);
            let reserved = a == 0 || a >= 240 || (a == 192 && b == 0);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_documentation())
                && !(shared || benchmark || reserved)
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // Only global unicast, without documentation addresses and tunnels that carry IPv4
            // addresses.
            (0x2000..0x4000).contains(&first)
                && !(first == 0x2001 && (second == 0x0db8 || second == 0))
                && first != 0x2002
        }
    }
}

/// Resolves names to allowed addresses only, because a name can point anywhere.
pub(super) struct PublicResolver(pub(super) FetchScope);

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let scope = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let reachable: Vec<SocketAddr> =
                found.into_iter().filter(|address| scope.includes(address.ip())).collect();
            if reachable.is_empty() {
                return Err(format!(
                    "{} has no public address; only public addresses can be fetched",
                    name.as_str()
                )
                .into());
            }
            Ok(Box::new(reachable.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_reached() {
        for (address, public) in [
            ("93.184.216.34", true),
            ("2606:2800:220:1::1", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("::ffff:127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("2002:7f00:1::", false),
        ] {
            assert_eq!(is_public(address.parse().expect("an address")), public, "{address}");
        }
    }
}
