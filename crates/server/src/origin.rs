//! Hosts and origins, read as strictly as a browser writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name of a host (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 253;

/// A host and its port, as in a `Host` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) host: Host,
    /// Absent where the scheme's default is meant.
    pub(crate) port: Option<u16>,
}

/// A host: an address, or a name in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Address(IpAddr),
    Name(String),
}

/// The origin of a web page: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: Scheme,
    pub(crate) authority: Authority,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Authority {
    /// Reads `HOST` or `HOST:PORT`; nothing where the text is anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            // The standard library takes no zone, and neither does a URL.
            (Host::Address(IpAddr::V6(address.parse::<Ipv6Addr>().ok()?).to_canonical()), port)
        } else {
            let at = text.find(':').unwrap_or(text.len());
            let (name, port) = text.split_at_checked(at)?;
            (Host::parse_name(name)?, port)
        };
        let port = match port.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if port.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }
}

impl Host {
    fn parse_name(text: &str) -> Option<Self> {
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Some(Self::Address(IpAddr::V4(text.parse::<Ipv4Addr>().ok()?)));
        }
        let is_label = |label: &str| {
            let mut bytes = label.bytes();
            !label.is_empty()
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        // An empty label at the end, which is a trailing dot, makes it another host to a browser.
        (text.len() <= LONGEST_NAME && text.split('.').all(is_label))
            .then(|| Self::Name(text.to_ascii_lowercase()))
    }

    /// Whether only this machine is meant by it, whatever a name server says.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

impl Origin {
    /// Reads `http://AUTHORITY` or `https://AUTHORITY`; nothing where the text is anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        Some(Self { scheme, authority: Authority::parse(authority)? })
    }

    /// Whether a request with this `Host` went to where the page came from.
    pub(crate) fn is_at(&self, host: &Authority) -> bool {
        let usual = match self.scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        self.authority.host == host.host
            && self.authority.port.unwrap_or(usual) == host.port.unwrap_or(usual)
    }
}

fn parse_port(text: &str) -> Option<u16> {
    if text.len() > 5 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_as_in_a_url() {
        let name = |text: &str| Host::Name(text.to_owned());
        let address = |text: &str| Host::Address(text.parse().unwrap());
        type Row = (&'static str, Option<(Host, Option<u16>)>);
        let rows: [Row; 45] = [
            ("localhost", Some((name("localhost"), None))),
            ("LocalHost:8282", Some((name("localhost"), Some(8282)))),
            ("a_b.c-d.lan:65535", Some((name("a_b.c-d.lan"), Some(65535)))),
            ("127.0.0.1:80", Some((address("127.0.0.1"), Some(80)))),
            ("[::1]", Some((address("::1"), None))),
            ("[::1]:8282", Some((address("::1"), Some(8282)))),
            ("[::ffff:127.0.0.1]", Some((address("127.0.0.1"), None))),
            ("xn--bcher-kva.example", Some((name("xn--bcher-kva.example"), None))),
            ("", None),
            (":8282", None),
            ("localhost:", None),
            ("localhost:0", None),
            ("localhost:65536", None),
            ("localhost:000080", None),
            ("localhost:+80", None),
            ("localhost:-1", None),
            ("localhost:80:80", None),
            ("localhost:8o", None),
            ("localhost.", None),
            ("localhost.:8282", None),
            (".localhost", None),
            ("a..localhost", None),
            ("localhost ", None),
            (" localhost", None),
            ("local\thost", None),
            ("localhost/", None),
            ("localhost?x", None),
            ("localhost#x", None),
            ("localhost\\x", None),
            ("localhost,evil.example", None),
            ("localhost:1@evil.example", None),
            ("user@localhost", None),
            ("evil.example@localhost", None),
            ("[::1].evil.example", None),
            ("[::1]evil.example", None),
            ("[::1]]", None),
            ("[::1", None),
            ("::1", None),
            ("[]", None),
            ("[::1%25lo]", None),
            ("[fe80::1%eth0]", None),
            ("[localhost]", None),
            ("127.1", None),
            ("127.0.0.01", None),
            ("bücher.example", None),
        ];
        for (text, expected) in rows {
            let read = Authority::parse(text).map(|read| (read.host, read.port));
            assert_eq!(read, expected, "{text:?}");
        }
        assert_eq!(Authority::parse(&"a".repeat(254)), None);
    }

    #[test]
    fn only_the_loopback_is_this_machine() {
        for (text, is_loopback) in [
            ("localhost", true),
            ("x.localhost:1", true),
            ("127.8.9.10", true),
            ("[::1]:5", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.evil.example", false),
            ("notlocalhost", false),
            ("127.0.0.1.evil.example", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("2130706433", false),
            ("0x7f.1", false),
        ] {
            let read = Authority::parse(text);
            assert_eq!(read.is_some_and(|read| read.host.is_loopback()), is_loopback, "{text}");
        }
    }

    #[test]
    fn an_origin_is_at_the_host_with_its_port() {
        let is_at = |origin: &str, host: &str| {
            Origin::parse(origin)
                .is_some_and(|origin| origin.is_at(&Authority::parse(host).unwrap()))
        };
        for (origin, host, expected) in [
            ("http://box.lan:8282", "box.lan:8282", true),
            ("http://box.lan", "box.lan", true),
            ("http://box.lan", "box.lan:80", true),
            ("https://box.lan", "BOX.lan:443", true),
            ("http://[::1]:1", "[::1]:1", true),
            ("https://box.lan", "box.lan:80", false),
            ("http://box.lan", "box.lan:8282", false),
            ("http://box.lan:8282", "box.lan", false),
            ("http://other.lan", "box.lan", false),
            ("http://box.lan/", "box.lan", false),
            ("http://box.lan:1@evil.example", "box.lan:1", false),
            ("http://evil.example@box.lan", "box.lan", false),
            ("file://box.lan", "box.lan", false),
            ("null", "box.lan", false),
            ("//box.lan", "box.lan", false),
            ("http:box.lan", "box.lan", false),
        ] {
            assert_eq!(is_at(origin, host), expected, "{origin} at {host}");
        }
    }
}
