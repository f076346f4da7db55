//! The `fetch_url` tool: a web page as text.
//!
//! It is off unless its permission says otherwise, because it carries the agent's knowledge to
//! other machines. It never connects to this machine or its network, whatever names or redirects
//! say. A page therefore cannot make an agent read what only its owner's machine can. Proxies from
//! the environment are ignored, because they would resolve the names; the operator can configure
//! one.

mod address;
mod page;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Proxy, Response, Url, redirect};
use tokio::sync::Semaphore;

pub(super) use address::FetchScope;
use address::{PublicResolver, check_host, check_url};

/// Largest part of a page that is read, in bytes.
const PAGE_BYTES: usize = 2 << 20;
/// Time limit of a page, from the request to its last byte.
const TIME_LIMIT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 5;
/// Number of pages converted at once, over all agents, because each occupies a processor.
const CONCURRENT_CONVERSIONS: usize = 2;

/// Fetches pages for all agents.
pub(crate) struct Fetcher {
    /// The proxy that the operator configured.
    proxy: Option<String>,
    reading: Arc<Semaphore>,
}

impl Fetcher {
    pub(crate) fn new(proxy: Option<String>) -> Self {
        Self { proxy, reading: Arc::new(Semaphore::new(CONCURRENT_CONVERSIONS)) }
    }

    /// Fetches a page. The error is a sentence for the model. Dropping the future cancels the
    /// request and the conversion.
    pub(super) async fn fetch(&self, url: &str, scope: FetchScope) -> Result<String, String> {
        let url = Url::parse(url.trim()).map_err(|error| {
            format!("`url` is no address: {error}. Give one with http:// or https://.")
        })?;
        let read = async {
            let response = self.request(url, scope).await?;
            let status = response.status();
            if !status.is_success() {
                return Err(format!("The server answered {status}."));
            }
            let kind = header(&response, CONTENT_TYPE).to_ascii_lowercase();
            let encoding = header(&response, CONTENT_ENCODING).to_ascii_lowercase();
            if !matches!(encoding.as_str(), "" | "identity") {
                return Err(format!("The page is sent as {encoding}, which was not requested."));
            }
            Ok((kind, body(response).await?))
        };
        let read = tokio::time::timeout(TIME_LIMIT, read).await;
        let (kind, body) = read
            .map_err(|_| format!("The page did not arrive within {} s.", TIME_LIMIT.as_secs()))??;
        if kind.contains("html") {
            return self.text(body).await;
        }
        let is_text = ["json", "xml"].iter().any(|part| kind.contains(part));
        if kind.is_empty() || kind.starts_with("text/") || is_text {
            return Ok(String::from_utf8_lossy(&body).into_owned());
        }
        Err(format!("The page is {kind}, which is not text."))
    }

    /// Follows redirects and checks each target like the first URL.
    async fn request(&self, mut url: Url, scope: FetchScope) -> Result<Response, String> {
        let client = self.client(scope)?;
        for _ in 0..=MAX_REDIRECTS {
            check_url(&url, scope)?;
            if self.proxy.is_some() {
                check_host(&url, scope).await?;
            }
            // GET has no effect that an idempotency key would guard.
            let sent = client.get(url.clone()).send().await;
            let response = sent.map_err(|error| self.failed(&error))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let target = header(&response, LOCATION);
            if target.is_empty() {
                return Ok(response);
            }
            url = url.join(&target).map_err(|error| {
                format!("The page redirects to something that is not a URL: {error}.")
            })?;
        }
        Err(format!("The page redirects more than {MAX_REDIRECTS} times."))
    }

    fn client(&self, scope: FetchScope) -> Result<Client, String> {
        let failed = |error: reqwest::Error| format!("No HTTP client can be made: {error}.");
        // The process may have chosen a provider already; then that one is used.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut client = Client::builder()
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(PublicResolver(scope)))
            .no_proxy()
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .user_agent(concat!("thoughtwire/", env!("CARGO_PKG_VERSION")));
        if let Some(proxy) = &self.proxy {
            // The proxy itself may be anywhere, even on this machine.
            client = client
                .proxy(Proxy::all(proxy.as_str()).map_err(failed)?)
                .dns_resolver(Arc::new(PublicResolver(FetchScope::Any)));
        }
        client.build().map_err(failed)
    }

    fn failed(&self, error: &reqwest::Error) -> String {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let names =
            ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
        let is_proxied = names.iter().any(|name| std::env::var_os(name).is_some());
        let hint = match &self.proxy {
            None if is_proxied && error.is_connect() => {
                " Proxies from the environment are not used for pages; the operator can set \
                 `fetch_proxy`."
            }
            None | Some(_) => "",
        };
        format!("The page cannot be read: {cause}.{hint}")
    }

    /// Converts a page to text on a separate thread.
    async fn text(&self, body: Vec<u8>) -> Result<String, String> {
        /// Stops the thread when the future is dropped.
        struct StopOnDrop(Arc<AtomicBool>);
        impl Drop for StopOnDrop {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let stop = StopOnDrop(Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&stop.0);
        let stopped = || "The page was not read because the server is stopping.".to_owned();
        let permit = Arc::clone(&self.reading).acquire_owned().await.map_err(|_| stopped())?;
        let reading = tokio::task::spawn_blocking(move || {
            // Held until the thread is done, even if the future is dropped.
            let _permit = permit;
            page::text(&String::from_utf8_lossy(&body), &asked)
        });
        reading.await.ok().flatten().ok_or_else(stopped)
    }
}

fn header(response: &Response, name: reqwest::header::HeaderName) -> String {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().trim().to_owned()
}

/// The beginning of a body, up to the limit of a page.
async fn body(response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece =
            piece.map_err(|error| format!("The page cannot be read: {}.", error.without_url()))?;
        let room = PAGE_BYTES - body.len();
        body.extend(piece.iter().take(room));
        if body.len() == PAGE_BYTES {
            break;
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A server that answers every request with `answer`, then with `repeated` without end.
    async fn server(answer: Vec<u8>, repeated: Option<Vec<u8>>) -> SocketAddr {
        server_on("127.0.0.1", answer, repeated).await
    }

    async fn server_on(host: &str, answer: Vec<u8>, repeated: Option<Vec<u8>>) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind((host, 0)).await.expect("a port");
        let at = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (answer, repeated) = (answer.clone(), repeated.clone());
                tokio::spawn(async move {
                    drop(socket.read(&mut [0; 4096]).await);
                    drop(socket.write_all(&answer).await);
                    while let Some(piece) = &repeated {
                        if socket.write_all(piece).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        at
    }

    fn answer(head: &str, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "HTTP/1.1 200 OK\r\n{head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    async fn fetch(url: &str, scope: FetchScope) -> Result<String, String> {
        Fetcher::new(None).fetch(url, scope).await
    }

    #[tokio::test]
    async fn refusals_give_a_reason() {
        for (url, sentence) in [
            ("file:///etc/passwd", "begins with file:"),
            ("http://127.0.0.1:1/", "no public address"),
            ("http://2130706433/", "no public address"),
            ("http://0x7f.1/", "no public address"),
            ("http://[::1]/", "no public address"),
            ("http://[::ffff:10.0.0.1]/", "no public address"),
            ("http://localhost/", "no public address"),
            ("nonsense", "no address"),
        ] {
            let refused = fetch(url, FetchScope::Public).await;
            assert!(
                refused.as_ref().is_err_and(|reason| reason.contains(sentence)),
                "{url}: {refused:?}"
            );
        }
    }

    #[tokio::test]
    async fn pages_are_read_as_text() {
        let page = b"<h1>Tea</h1><p>Leaves &amp; water.</p><script>no()</script>";
        for (head, read) in [
            ("content-type: text/html; charset=utf-8", Ok("# Tea\n\nLeaves & water.")),
            ("content-type: TEXT/HTML", Ok("# Tea\n\nLeaves & water.")),
            ("content-type: text/plain", Ok(std::str::from_utf8(page).expect("text"))),
            ("content-type: image/png", Err("image/png")),
            ("content-type: text/html\r\ncontent-encoding: gzip", Err("gzip")),
        ] {
            let at = server(answer(head, page), None).await;
            let found = fetch(&format!("http://{at}/"), FetchScope::Any).await;
            match read {
                Ok(text) => assert_eq!(found.as_deref(), Ok(text), "{head}"),
                Err(word) => {
                    assert!(
                        found.as_ref().is_err_and(|why| why.contains(word)),
                        "{head}: {found:?}"
                    );
                }
            }
        }
    }

    #[tokio::test]
    async fn every_redirect_target_is_checked() {
        let answer = answer("content-type: text/plain", b"secret");
        let secret = server_on("127.0.0.2", answer, None).await;
        for target in [
            format!("http://{secret}/"),
            "file:///etc/passwd".to_owned(),
            "http://[::1]:1/".to_owned(),
        ] {
            let redirect =
                format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
            let at = server(redirect.into_bytes(), None).await;
            // The first server stands in for a public one.
            let refused = fetch(&format!("http://{at}/"), FetchScope::Only(at)).await;
            assert!(refused.is_err(), "{target}: {refused:?}");
        }
        let endless =
            b"HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n".to_vec();
        let at = server(endless, None).await;
        let refused = fetch(&format!("http://{at}/"), FetchScope::Any).await;
        assert!(
            refused.as_ref().is_err_and(|why| why.contains("more than 5 times")),
            "{refused:?}"
        );
    }

    #[tokio::test]
    async fn an_endless_page_is_cut_at_the_limit() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<p>".to_vec();
        let at = server(head, Some(b"word ".repeat(1000))).await;
        let text = fetch(&format!("http://{at}/"), FetchScope::Any).await.expect("a page");
        assert!(
            text.starts_with("word word") && text.ends_with("[the page goes on]"),
            "{}",
            text.len()
        );
    }

    #[tokio::test]
    async fn conversion_is_bounded_and_stops_with_its_future() {
        let fetcher = Fetcher::new(None);
        let permits = Arc::clone(&fetcher.reading).acquire_many_owned(2).await.expect("permits");
        let page = b"<div>".repeat(PAGE_BYTES / 5);
        {
            let mut waiting = std::pin::pin!(fetcher.text(page.clone()));
            assert!(futures::poll!(&mut waiting).is_pending());
        }
        drop(permits);
        let text = fetcher.text(page).await.expect("a page");
        assert!(text.ends_with("[the page goes on]"), "{text}");
        assert_eq!(fetcher.reading.available_permits(), CONCURRENT_CONVERSIONS);
    }

    #[tokio::test]
    async fn only_a_configured_proxy_is_used_and_its_targets_are_checked() {
        let at = server(answer("content-type: text/plain", b"from the proxy"), None).await;
        let named = Fetcher::new(Some(format!("http://{at}")));
        let found = named.fetch("http://93.184.216.34/", FetchScope::Public).await;
        assert_eq!(found.as_deref(), Ok("from the proxy"));
        for url in ["http://127.0.0.1/", "http://localhost/", "http://169.254.169.254/"] {
            let refused = named.fetch(url, FetchScope::Public).await;
            assert!(
                refused.as_ref().is_err_and(|why| why.contains("no public address")),
                "{refused:?}"
            );
        }
    }
}
