//! Rules that a request must meet before it is handled: for a server without keys, and for
//! requests that a browser makes.

use std::net::SocketAddr;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use subtle::ConstantTimeEq;
use thoughtwire_proto::{Refusal, RefusalCode};

use crate::config::Auth;
use crate::origin::{Authority, Host, Origin};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Settings that requests are checked against.
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

/// Purpose of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    /// A person's browser may be sent there from any page: the page, its files, what is not there.
    Page,
    /// Everything that reads or changes something.
    Api,
}

impl Guard {
    /// Checks what any request must satisfy, before its path is looked at.
    ///
    /// Without keys everybody who gets through is the owner, so this is what keeps a web page from
    /// driving a local agent: a foreign `Host` (DNS rebinding), a foreign `Origin`, a proxy that
    /// made the world local.
    pub(crate) fn admit<B>(&self, request: &Request<B>, surface: Surface) -> Result<(), Refusal> {
        let headers = request.headers();
        let origin = one(headers, &ORIGIN)?;
        let host_text = one(headers, &HOST)?;
        let host = host_text.and_then(Authority::parse);
        self.check_fetch(request, surface, origin, host.as_ref())?;
        if self.auth == Auth::Keys {
            return Ok(());
        }
        if !self.trust_proxy
            && let Some(sign) = sign_of_proxy(request)
        {
            return Err(forbidden(format!(
                "the request came through a proxy ({sign}), and without keys everybody behind the \
                 proxy would be the owner: start the server with --trust-proxy and make a key \
                 with `thoughtwire keys add`, or connect without the proxy"
            )));
        }
        let Some(text) = host_text else {
            return Err(forbidden("the request has no `Host` header".to_owned()));
        };
        let host = host.filter(|host| self.knows_host(host)).ok_or_else(|| {
            forbidden(format!(
                "`Host: {text}` is not a name of this machine's loopback; add it to `allow_host` \
                 if it is yours"
            ))
        })?;
        // A target in absolute form (RFC 9112, section 3.2.2) names the host once more.
        if let Some(target) = request.uri().authority()
            && Authority::parse(target.as_str()).as_ref() != Some(&host)
        {
            return Err(forbidden(format!(
                "the request asks for {target} and its `Host` is {text}; they must be the same"
            )));
        }
        match origin {
            None => Ok(()),
            Some(origin) if self.knows_origin(origin, &host) => Ok(()),
            Some(origin) => Err(foreign(origin, "come in")),
        }
    }

    /// Refuses what a browser says it asks for a page of another site, or of another origin of the
    /// same site, unless that origin is allowed. A link to the page itself may be followed.
    ///
    /// A browser sends no `Origin` with an image or a link, so `<img src=…/v1/backup>` shows only
    /// here.
    fn check_fetch<B>(
        &self,
        request: &Request<B>,
        surface: Surface,
        origin: Option<&str>,
        host: Option<&Authority>,
    ) -> Result<(), Refusal> {
        let headers = request.headers();
        let Some(site) = foreign_site(headers) else { return Ok(()) };
        if let Some(origin) = origin {
            // With keys a WebSocket is judged by its credential, which may come in its first frame.
            let is_socket = headers.get(SEC_FETCH_MODE).is_some_and(|mode| mode == "websocket");
            if is_socket || host.is_some_and(|host| self.knows_origin(origin, host)) {
                return Ok(());
            }
            return Err(foreign(origin, "ask this server"));
        }
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let is_link = headers.get(SEC_FETCH_MODE).is_some_and(|mode| mode == "navigate")
            && headers.get(SEC_FETCH_DEST).is_none_or(|dest| dest == "document");
        if surface == Surface::Page && is_read && is_link {
            return Ok(());
        }
        Err(forbidden(format!(
            "a page of another origin caused this request (Sec-Fetch-Site: {site}), and such pages \
             may not ask this server; use --allow-origin, and have the page use `fetch` with CORS"
        )))
    }

    /// Whether a token is the owner's.
    pub(crate) fn is_owner(&self, token: &str) -> bool {
        token.as_bytes().ct_eq(self.token.as_bytes()).into()
    }

    /// Refuses what a page of another origin asks in its reader's name.
    pub(crate) fn same_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(origin) = one(headers, &ORIGIN)? else { return Ok(()) };
        // A proxy in front may have written another `Host`; the browser knows better.
        let says_same = headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin")
            && foreign_site(headers).is_none();
        let host = one(headers, &HOST)?.and_then(Authority::parse);
        let is_at_host =
            Origin::parse(origin).zip(host).is_some_and(|(origin, host)| origin.is_at(&host));
        if says_same || is_at_host || self.allows(origin) {
            return Ok(());
        }
        Err(foreign(origin, "use this login"))
    }

    /// The request's origin, where pages of it may read answers (CORS).
    pub(crate) fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = one(headers, &ORIGIN).ok()??;
        if self.allows(origin) { headers.get(ORIGIN).cloned() } else { None }
    }

    fn allows(&self, origin: &str) -> bool {
        // Every sandboxed frame and file has the origin `null`: that does not say whose page it is.
        !origin.eq_ignore_ascii_case("null")
            && self
                .allow_origin
                .iter()
                .any(|known| known.trim_end_matches('/').eq_ignore_ascii_case(origin))
    }

    fn knows_host(&self, host: &Authority) -> bool {
        let is_configured = self
            .allow_host
            .iter()
            .filter_map(|known| Authority::parse(known))
            .any(|known| known.host == host.host && (known.port.is_none() || known == *host));
        if host.host.is_loopback() || is_configured {
            return true;
        }
        // An address cannot be rebound, so one that we listen on is as good as configured.
        match host.host {
            Host::Address(address) => self
                .listen
                .iter()
                .any(|listen| listen.ip() == address || listen.ip().is_unspecified()),
            Host::Name(_) => false,
        }
    }

    fn knows_origin(&self, origin: &str, host: &Authority) -> bool {
        if self.allows(origin) {
            return true;
        }
        let is_keyless = self.auth == Auth::None;
        Origin::parse(origin).is_some_and(|origin| {
            origin.is_at(host) || is_keyless && origin.authority.host.is_loopback()
        })
    }
}

/// The one value of a header that may be there once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(forbidden(format!("the request has more than one `{name}` header")));
    }
    value
        .to_str()
        .map(Some)
        .map_err(|_| forbidden(format!("the request's `{name}` header is not readable text")))
}

/// Returns `Sec-Fetch-Site` if it is neither this origin nor the person at the browser.
fn foreign_site(headers: &HeaderMap) -> Option<String> {
    let sites = headers.get_all(SEC_FETCH_SITE).iter();
    sites
        .map(|site| String::from_utf8_lossy(site.as_bytes()).trim().to_ascii_lowercase())
        .find(|site| !matches!(site.as_str(), "same-origin" | "none"))
}

/// Returns the sign of a proxy, if a request has one.
fn sign_of_proxy<B>(request: &Request<B>) -> Option<String> {
    // A bare `proxy_pass` of nginx uses HTTP/1.0.
    if request.version() < Version::HTTP_11 {
        return Some("it speaks HTTP/1.0".to_owned());
    }
    let is_sign = |name: &&HeaderName| {
        let name = name.as_str();
        let starts = ["x-forwarded-", "x-original-", "cf-", "tailscale-"];
        // As `X-Client-IP`, `Fastly-Client-IP` and `X-Cluster-Client-IP` do.
        let ends = ["client-ip", "connecting-ip"];
        matches!(name, "forwarded" | "via" | "x-real-ip" | "x-forwarded")
            || starts.iter().any(|start| name.starts_with(start))
            || ends.iter().any(|end| name.ends_with(end))
    };
    let sign = request.headers().keys().find(is_sign)?;
    Some(format!("it has the header `{sign}`"))
}

/// The token of an `Authorization: Bearer` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn foreign(origin: &str, what: &str) -> Refusal {
    forbidden(format!(
        "pages of origin {origin} may not {what}; start the server with --allow-origin {origin} \
         if they may"
    ))
}

fn forbidden(reason: String) -> Refusal {
    Refusal::new(RefusalCode::Forbidden, reason)
}

#[cfg(test)]
mod tests;
