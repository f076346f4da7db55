//! What a request must be like to be looked at: the rules for a server without keys, and for requests that a browser makes.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use subtle::ConstantTimeEq;
use thoughtwire_proto::{Refusal, RefusalCode};

use crate::config::Auth;

/// What a request is checked against.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) auth: Auth,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) allow_origin: Vec<String>,
    pub(crate) allow_host: Vec<String>,
    /// A proxy in front is expected.
    pub(crate) trust_proxy: bool,
    /// The owner's token, as written in the data directory.
    pub(crate) token: String,
}

impl Guard {
    /// Checks what any request must satisfy, before its path is looked at.
    ///
    /// Without keys everybody who gets through is the owner, so this is what keeps a web page from
    /// driving a local agent: a foreign `Host` (DNS rebinding), a foreign `Origin`, a proxy that made
    /// the world local.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.auth == Auth::Keys {
            return Ok(());
        }
        if !self.trust_proxy
            && let Some(name) = headers
                .keys()
                .find(|name| *name == "forwarded" || name.as_str().starts_with("x-forwarded-"))
        {
            return Err(forbidden(format!(
                "the request bears `{name}`: a proxy stands in front, and without keys everybody behind it would be the owner; start the server with --trust-proxy, and keys"
            )));
        }
        let host = match headers.get(HOST) {
            Some(host) => host
                .to_str()
                .map_err(|_| forbidden("the `Host` header is not readable".to_owned()))?,
            None => return Err(forbidden("the request has no `Host` header".to_owned())),
        };
        if !self.knows_host(host) {
            return Err(forbidden(format!(
                "`Host: {host}` is not a name of this machine's loopback; add it to `allow_host` if it is yours"
            )));
        }
        match headers.get(ORIGIN) {
            None => Ok(()),
            Some(origin) => {
                let origin = origin.to_str().unwrap_or("null");
                if self.knows_origin(origin, host) {
                    Ok(())
                } else {
                    Err(forbidden(format!(
                        "pages of origin {origin} may not come in; start the server with --allow-origin {origin} if they may"
                    )))
                }
            }
        }
    }

    /// Whether a token is the owner's.
    pub(crate) fn is_owner(&self, token: &str) -> bool {
        token.as_bytes().ct_eq(self.token.as_bytes()).into()
    }

    /// Refuses what a page of another origin asks in its reader's name.
    pub(crate) fn same_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or("null");
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if self.allows(origin)
            || authority(origin).is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        {
            return Ok(());
        }
        Err(forbidden(format!(
            "pages of origin {origin} may not use this login; start the server with --allow-origin {origin} if they may"
        )))
    }

    fn allows(&self, origin: &str) -> bool {
        self.allow_origin
            .iter()
            .any(|known| known.trim_end_matches('/').eq_ignore_ascii_case(origin))
    }

    fn knows_host(&self, host: &str) -> bool {
        let name = without_port(host);
        if is_loopback(name)
            || self
                .allow_host
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(host))
        {
            return true;
        }
        // An address as a name cannot be rebound, so one that we listen on is as good as configured.
        match address(name) {
            Some(address) => self
                .listen
                .iter()
                .any(|listen| listen.ip() == address || listen.ip().is_unspecified()),
            None => false,
        }
    }

    fn knows_origin(&self, origin: &str, host: &str) -> bool {
        if self.allows(origin) {
            return true;
        }
        authority(origin).is_some_and(|authority| {
            authority.eq_ignore_ascii_case(host) || is_loopback(without_port(authority))
        })
    }
}

/// The token of an `Authorization: Bearer` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The host and port of a page's origin; none of what is no page.
fn authority(origin: &str) -> Option<&str> {
    let (scheme, authority) = origin.split_once("://")?;
    matches!(scheme, "http" | "https").then_some(authority)
}

fn without_port(authority: &str) -> &str {
    if let Some(end) = authority.find(']') {
        return authority.get(..=end).unwrap_or(authority);
    }
    authority.rsplit_once(':').map_or(authority, |(name, _)| name)
}

fn address(name: &str) -> Option<IpAddr> {
    name.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_loopback(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || address(&name).is_some_and(|address| address.is_loopback())
}

fn forbidden(reason: String) -> Refusal {
    Refusal::new(RefusalCode::Forbidden, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard {
            auth: Auth::None,
            listen: vec!["127.0.0.1:8282".parse().unwrap()],
            allow_origin: vec!["https://app.example".into()],
            allow_host: vec!["box.lan".into()],
            trust_proxy: false,
            token: "secret".into(),
        }
    }

    #[test]
    fn without_keys_only_this_machine_comes_in() {
        let rows: [(&[(&str, &str)], bool); 19] = [
            (&[("host", "localhost:8282")], true),
            (&[("host", "127.0.0.1:8282")], true),
            (&[("host", "[::1]:8282")], true),
            (&[("host", "a.localhost")], true),
            (&[("host", "box.lan:8282")], true),
            (&[("host", "evil.example")], false),
            (&[("host", "localhost.evil.example")], false),
            (&[("host", "10.0.0.1")], false),
            (&[], false),
            (&[("host", "localhost"), ("origin", "http://localhost:5173")], true),
            (&[("host", "localhost"), ("origin", "https://127.0.0.1")], true),
            (&[("host", "box.lan"), ("origin", "http://box.lan")], true),
            (&[("host", "localhost"), ("origin", "https://app.example")], true),
            (&[("host", "localhost"), ("origin", "null")], false),
            (&[("host", "localhost"), ("origin", "https://evil.example")], false),
            (&[("host", "localhost"), ("origin", "file://localhost")], false),
            (&[("host", "localhost"), ("x-forwarded-for", "1.2.3.4")], false),
            (&[("host", "localhost"), ("forwarded", "for=1.2.3.4")], false),
            (&[("host", "localhost"), ("x-forwarded-anything", "")], false),
        ];
        for (headers, admitted) in rows {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(axum::http::HeaderName::from_static(name), value.parse().unwrap());
            }
            assert_eq!(guard().admit(&map).is_ok(), admitted, "{headers:?}");
        }
    }

    #[test]
    fn a_login_is_used_by_pages_of_its_own_origin() {
        let guard = Guard { auth: Auth::Keys, ..guard() };
        assert!(guard.is_owner("secret") && !guard.is_owner("secret "));
        for (origin, passes) in [
            (None, true),
            (Some("https://box.lan:8282"), true),
            (Some("https://app.example"), true),
            (Some("http://localhost:5173"), false),
            (Some("https://box.lan"), false),
            (Some("null"), false),
        ] {
            let mut map = HeaderMap::new();
            map.insert(HOST, "box.lan:8282".parse().unwrap());
            if let Some(origin) = origin {
                map.insert(ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(guard.same_origin(&map).is_ok(), passes, "{origin:?}");
        }
    }
}
