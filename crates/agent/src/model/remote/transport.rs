//! HTTP transport to providers. Answers are streamed and bounded.

use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::Value;

use super::explain::{not_sent, refused, retry_after, unreadable};
use super::provider_error::ProviderError;
use super::{Address, ReplyProgress, connection_broke, too_much};
use crate::model::{ModelError, Timeouts};

/// Largest part of an error body that is read, in bytes.
const REFUSAL_BYTES: usize = 64 << 10;
/// Time limit for the rest of an error body.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(5);
/// Largest number of redirects that one request follows.
const MAX_REDIRECTS: usize = 5;

/// The HTTP client that all models share. Clones share its connections.
#[derive(Clone)]
pub(crate) struct ModelHttp(Client);

impl ModelHttp {
    pub(crate) fn new(timeouts: Timeouts) -> Result<Self, ModelError> {
        // The process may have chosen a provider already; then that one is used.
        rustls::crypto::ring::default_provider().install_default().ok();
        // Only the HTTP client can distinguish connecting from waiting; all other time-outs are
        // around it.
        let client = Client::builder()
            .connect_timeout(timeouts.connect)
            .redirect(Policy::custom(follow))
            // Reads are bounded, but decompression is not.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .build()
            .map_err(|error| ModelError::Failed(format!("no HTTP client can be made: {error}")))?;
        Ok(Self(client))
    }

    /// Sends a request. Returns the answer after its head, if its status is success.
    pub(crate) async fn post(
        &self,
        address: &Address,
        path: &str,
        headers: &[(&'static str, &'static str)],
        body: &Value,
    ) -> Result<ReplyBody, ModelError> {
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
        let mut body = ReplyBody(response);
        if !status.is_success() {
            let text = if is_encoded { String::new() } else { body.refusal().await };
            let cause = ProviderError::in_body(&text);
            return Err(refused(status.as_u16(), &status.to_string(), &cause, wait, address));
        }
        if is_encoded {
            let cause =
                ProviderError::in_words("It is compressed, but no compression was requested.");
            return Err(unreadable(Some(&cause), address));
        }
        Ok(body)
    }
}

/// Follows a redirect to the same host only, because the key must not reach another one.
fn follow(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    let is_same_host =
        attempt.previous().first().is_some_and(|first| first.host() == attempt.url().host());
    if is_same_host && attempt.previous().len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// The body of an answer. Dropping it cancels the request.
pub(crate) struct ReplyBody(Response);

impl ReplyBody {
    #[cfg(test)]
    pub(super) fn of(response: Response) -> Self {
        Self(response)
    }

    /// The next bytes. Absent at the end.
    pub(super) async fn next(
        &mut self,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, reqwest::Error> {
        self.0.chunk().await
    }

    /// All bytes of the body. Fails if there are more than `max`.
    pub(crate) async fn whole(
        mut self,
        max: usize,
        address: &Address,
    ) -> Result<Vec<u8>, ModelError> {
        let mut bytes = Vec::new();
        loop {
            match self.next().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(chunk.as_ref()),
                Ok(None) => return Ok(bytes),
                Err(_) => return Err(connection_broke(address, ReplyProgress::Nothing)),
            }
            if bytes.len() > max {
                return Err(too_much("bytes", address));
            }
        }
    }

    /// The beginning of an error body as text.
    async fn refusal(&mut self) -> String {
        let mut bytes = Vec::new();
        let reading = async {
            while bytes.len() < REFUSAL_BYTES {
                let Ok(Some(chunk)) = self.next().await else { return };
                bytes.extend_from_slice(chunk.as_ref());
            }
        };
        // After the time limit, the part that arrived is used.
        tokio::time::timeout(REFUSAL_PATIENCE, reading).await.ok();
        bytes.truncate(REFUSAL_BYTES);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
