//! Which addresses may be reached, whatever names say.

use std::net::{IpAddr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Which addresses may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tools) enum Reach {
    /// Only those of the public internet.
    Public,
    /// All of them: for a proxy that its operator named, and for tests.
    Any,
    /// Of this machine one: it stands for a public one.
    #[cfg(test)]
    Only(SocketAddr),
}

impl Reach {
    fn includes(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address),
            Self::Any => true,
            #[cfg(test)]
            Self::Only(one) => one.ip() == address,
        }
    }
}

/// Judges an address before anything is sent to it; the error is for the model.
pub(super) fn allowed(url: &Url, reach: Reach) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "`url` begins with {}:, where http: or https: is needed.",
            url.scheme()
        ));
    }
    match literal(url) {
        Some(address) if !reach.includes(address) => {
            Err(format!("{address} is no public address; only those are read."))
        }
        Some(_) | None => Ok(()),
    }
}

/// The address that a URL names by its number.
fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

/// Judges what a URL's name stands for, where a proxy would resolve it: it is refused if it stands
/// for anything that may not be reached. A name that is known to the proxy alone passes.
pub(super) async fn judge_name(url: &Url, reach: Reach) -> Result<(), String> {
    let Some(host) = url.host_str().filter(|_| literal(url).is_none()) else { return Ok(()) };
    let Ok(found) = tokio::net::lookup_host((host, 0)).await else { return Ok(()) };
    for address in found {
        if !reach.includes(address.ip()) {
            return Err(format!("{host} has no public address; only those are read."));
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
            // Global unicast only, without documentation and the tunnels that carry IPv4 addresses.
            (0x2000..0x4000).contains(&first)
                && !(first == 0x2001 && (second == 0x0db8 || second == 0))
                && first != 0x2002
        }
    }
}

/// Resolves names to what may be reached, and to nothing else: a name can point anywhere.
pub(super) struct Resolver(pub(super) Reach);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let reachable: Vec<SocketAddr> =
                found.into_iter().filter(|address| reach.includes(address.ip())).collect();
            if reachable.is_empty() {
                return Err(format!(
                    "{} has no public address; only those are read",
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
