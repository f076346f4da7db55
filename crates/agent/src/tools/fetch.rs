//! `fetch_url`: a page of the web as text.
//!
//! Off unless its permission says otherwise: it carries what the agent knows to other machines. It
//! never reaches this machine or its network, whatever names or redirects say, so that a page cannot
//! have an agent read what only its owner's machine can.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};

/// The most bytes that are read of a page.
const PAGE_BYTES: usize = 2 << 20;
const WITHIN: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 5;
/// Characters to a line, where markup is turned into text.
const LINE: usize = 100;

/// Which addresses may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only those of the public internet.
    Public,
    /// All of them: for tests, whose servers are on this machine.
    #[cfg(test)]
    All,
}

/// Fetches a page; the error is for the model.
pub(crate) async fn fetch(url: &str, reach: Reach) -> Result<String, String> {
    let parsed =
        Url::parse(url.trim()).map_err(|error| format!("`url` is no address: {error}."))?;
    allowed(&parsed, reach)?;
    let policy = redirect::Policy::custom(move |attempt| match allowed(attempt.url(), reach) {
        Ok(()) if attempt.previous().len() <= REDIRECTS => attempt.follow(),
        Ok(()) => attempt.error("too many redirects"),
        Err(reason) => attempt.error(reason),
    });
    // The process may have chosen a provider already; then that one is used.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = Client::builder()
        .redirect(policy)
        .dns_resolver(std::sync::Arc::new(Resolver(reach)))
        .timeout(WITHIN)
        .user_agent(concat!("thoughtwire/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("No HTTP client can be made: {error}."))?;
    let failed = |error: &reqwest::Error| {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        format!("The page cannot be read: {cause}.")
    };
    let response = client.get(parsed).send().await.map_err(|error| failed(&error))?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("The page answers {status}."));
    }
    let kind = response
        .headers()
        .get("content-type")
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece.map_err(|error| failed(&error))?);
        if body.len() > PAGE_BYTES {
            body.truncate(PAGE_BYTES);
            break;
        }
    }
    if kind.contains("html") {
        return html2text::from_read(body.as_slice(), LINE)
            .map_err(|error| format!("The page cannot be read as text: {error}."));
    }
    if kind.is_empty() || kind.starts_with("text/") || kind.contains("json") || kind.contains("xml")
    {
        return Ok(String::from_utf8_lossy(&body).into_owned());
    }
    Err(format!("The page is {kind}, which is no text."))
}

fn allowed(url: &Url, reach: Reach) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "`url` begins with {}:, where http: or https: is needed.",
            url.scheme()
        ));
    }
    let literal =
        url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    match literal {
        Some(address) if !reach.includes(address) => {
            Err(format!("{address} is no public address; only those are read."))
        }
        Some(_) | None => Ok(()),
    }
}

impl Reach {
    fn includes(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address),
            #[cfg(test)]
            Self::All => true,
        }
    }
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
struct Resolver(Reach);

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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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

    #[tokio::test]
    async fn refusals_say_why() {
        for (url, sentence) in [
            ("file:///etc/passwd", "begins with file:"),
            ("http://127.0.0.1:1/", "no public address"),
            ("http://[::1]/", "no public address"),
            ("http://localhost/", "no public address"),
            ("nonsense", "no address"),
        ] {
            let refused = fetch(url, Reach::Public).await;
            assert!(
                refused.as_ref().is_err_and(|reason| reason.contains(sentence)),
                "{url}: {refused:?}"
            );
        }
    }

    #[tokio::test]
    async fn pages_are_read_as_text() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            for body in [
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n",
                "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n",
            ] {
                let Ok((mut socket, _)) = listener.accept().await else { return };
                drop(socket.read(&mut [0; 1024]).await);
                let page = "<h1>Tea</h1><p>Leaves &amp; water.</p><script>no()</script>";
                let answer = format!(
                    "{body}connection: close\r\ncontent-length: {}\r\n\r\n{page}",
                    page.len()
                );
                drop(socket.write_all(answer.as_bytes()).await);
            }
        });
        let url = format!("http://{at}/");
        let text = fetch(&url, Reach::All).await.expect("a page");
        assert!(
            text.contains("Tea") && text.contains("Leaves & water.") && !text.contains("no()"),
            "{text}"
        );
        let refused = fetch(&url, Reach::All).await;
        assert!(refused.as_ref().is_err_and(|reason| reason.contains("image/png")), "{refused:?}");
    }
}
