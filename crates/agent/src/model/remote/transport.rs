//! HTTP to providers: one request, whose answer is read in pieces and never to more than a bound.

use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::Value;

use super::explain::{not_sent, refused, retry_after, unreadable};
use super::said::Said;
use super::{Address, Progress, broken_off, too_much};
use crate::model::{ModelError, Timeouts};

/// Most bytes that are read of a refusal: it is a sentence.
const REFUSAL_BYTES: usize = 64 << 10;
/// How long the rest of a refusal is waited for.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(5);
/// Most redirects that one request follows.
const MAX_REDIRECTS: usize = 5;

/// The HTTP client that all models share; clones share its connections.
#[derive(Clone)]
pub(crate) struct Http(Client);

impl Http {
    pub(crate) fn new(timeouts: Timeouts) -> Result<Self, ModelError> {
        // The process may have chosen a provider already; then that one is used.
        rustls::crypto::ring::default_provider().install_default().ok();
        // Only the HTTP client can tell connecting from waiting; all other time-outs are around it.
        let client = Client::builder()
            .connect_timeout(timeouts.connect)
            .redirect(Policy::custom(follow))
            // What is read has bounds, and what unpacks itself has none.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .build()
            .map_err(|error| ModelError::Failed(format!("no HTTP client can be made: {error}")))?;
        Ok(Self(client))
    }

    /// Sends a request; gives the answer once its head has come, if its status is success.
    pub(crate) async fn post(
        &self,
        address: &Address,
        path: &str,
        headers: &[(&'static str, &'static str)],
        body: &Value,
    ) -> Result<Body, ModelError> {
        let mut request = self
            .0
            .post(address.url(path))
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        if let Some((name, value)) = address.authorization() {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(HeaderName::from_static(name), *value);
        }
        let response = request.send().await.map_err(|error| not_sent(&error, address))?;
        let status = response.status();
        let wait = retry_after(response.headers());
        let encoding = response.headers().get(CONTENT_ENCODING);
        let is_encoded = encoding.is_some_and(|encoding| encoding != "identity");
        let mut body = Body(response);
        if !status.is_success() {
            let text = if is_encoded { String::new() } else { body.refusal().await };
            let said = Said::in_body(&text);
            return Err(refused(status.as_u16(), &status.to_string(), &said, wait, address));
        }
        if is_encoded {
            let said = Said::in_words("It is compressed, which was not asked for.");
            return Err(unreadable(Some(&said), address));
        }
        Ok(body)
    }
}

/// Follows a redirect to the same host: the key is for no other one.
fn follow(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    let is_same_host =
        attempt.previous().first().is_some_and(|first| first.host() == attempt.url().host());
    if is_same_host && attempt.previous().len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// An answer's body. Dropping it ends the request.
pub(crate) struct Body(Response);

impl Body {
    /// The next bytes; none at the end.
    pub(super) async fn next(
        &mut self,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, reqwest::Error> {
        self.0.chunk().await
    }

    /// All bytes, if there are at most so many.
    pub(crate) async fn whole(
        mut self,
        most: usize,
        address: &Address,
    ) -> Result<Vec<u8>, ModelError> {
        let mut bytes = Vec::new();
        loop {
            match self.next().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(chunk.as_ref()),
                Ok(None) => return Ok(bytes),
                Err(_) => return Err(broken_off(address, Progress::Nothing)),
            }
            if bytes.len() > most {
                return Err(too_much("bytes", address));
            }
        }
    }

    /// The beginning of a refusal, as text.
    async fn refusal(&mut self) -> String {
        let mut bytes = Vec::new();
        let reading = async {
            while bytes.len() < REFUSAL_BYTES {
                let Ok(Some(chunk)) = self.next().await else { return };
                bytes.extend_from_slice(chunk.as_ref());
            }
        };
        // What came by then is said.
        tokio::time::timeout(REFUSAL_PATIENCE, reading).await.ok();
        bytes.truncate(REFUSAL_BYTES);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
