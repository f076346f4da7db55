//! Requests to a server, or to data that this process has opened.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use indicatif::ProgressBar;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use thoughtwire_proto::rest::{ErrorBody, ErrorDetail};
use thoughtwire_server::AtRest;

use crate::UsageError;
use crate::tls::{self, install_tls};

/// Longest time of one request.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest time of a copy of all data.
const BACKUP_PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// Longest time to find out whether a server answers.
const GLANCE: Duration = Duration::from_secs(2);

/// A server's address and credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    /// The base of its URLs: `http` or `https`, without a slash at the end.
    pub(crate) base: String,
    /// The bearer token.
    pub(crate) key: Option<String>,
}

/// The way to a REST interface.
pub(crate) struct RestTransport {
    server: ServerAddress,
    base: Url,
    http: reqwest::Client,
    target: Target,
}

/// The side that answers requests.
enum Target {
    /// A server.
    Network,
    /// This process.
    Data(Arc<AtRest>),
}

/// A refusal of the server.
#[derive(Debug)]
pub(crate) struct ServerRefusal {
    pub(crate) code: String,
    pub(crate) reason: String,
}

impl std::fmt::Display for ServerRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ServerRefusal {}

impl RestTransport {
    /// Makes the way to data that this process has opened.
    pub(crate) fn of(data: Arc<AtRest>) -> anyhow::Result<Self> {
        // The address is never used, since requests do not leave the process.
        let transport =
            Self::new(ServerAddress { base: "http://localhost".to_owned(), key: None })?;
        Ok(Self { target: Target::Data(data), ..transport })
    }

    /// Makes the way to a server.
    pub(crate) fn new(server: ServerAddress) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &server.key {
            let value = HeaderValue::from_str(&format!("Bearer {key}"));
            let mut value = value.map_err(|_| {
                UsageError("THOUGHTWIRE_KEY has characters that no key has".to_owned())
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // The server trusts its own machine, and a proxy in between would be another one.
        let mut builder =
            reqwest::Client::builder().default_headers(headers).timeout(PATIENCE).no_proxy();
        if server.base.starts_with("https:") {
            install_tls();
        } else {
            // Without TLS, the system may lack certificates.
            install_tls();
            builder = builder.tls_certs_only([]);
        }
        // Joining drops the last part of a base without a slash at its end.
        let base = Url::parse(&format!("{}/", server.base)).context("the server's address")?;
        Ok(Self {
            server,
            base,
            http: builder.build().context("the HTTP client cannot be made")?,
            target: Target::Network,
        })
    }

    /// The server that requests go to.
    pub(crate) fn server(&self) -> &ServerAddress {
        &self.server
    }

    /// Tells whether a server answers at all.
    pub(crate) async fn is_there(&self) -> bool {
        let Ok(url) = self.base.join("healthz") else { return false };
        self.http
            .get(url)
            .timeout(GLANCE)
            .send()
            .await
            .is_ok_and(|response| response.status().is_success())
    }

    /// Copies all data into a file; gives its length.
    pub(crate) async fn back_up(&self, file: &mut File, bar: &ProgressBar) -> anyhow::Result<u64> {
        if let Target::Data(data) = &self.target {
            return Ok(std::io::copy(&mut data.backup().await?, file)?);
        }
        let request = self.request(Method::GET, &["v1", "backup"])?.timeout(BACKUP_PATIENCE);
        let mut response = request.send().await.map_err(|error| self.unreachable(error))?;
        if !response.status().is_success() {
            return Err(
                self.refused(response.status(), &response.bytes().await.unwrap_or_default())
            );
        }
        let length = response.content_length().unwrap_or_default();
        bar.set_length(length);
        let mut written = 0;
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            file.write_all(&piece)?;
            written += piece.len() as u64;
            bar.set_position(written);
        }
        anyhow::ensure!(written == length, "the copy broke off after {written} of {length} bytes");
        Ok(written)
    }

    /// Builds a request to a path, given by its segments.
    pub(super) fn request(&self, method: Method, path: &[&str]) -> anyhow::Result<RequestBuilder> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.pop_if_empty().extend(path)),
            Err(()) => anyhow::bail!("{} is no address of a server", self.server.base),
        }
        Ok(self.http.request(method, url))
    }

    /// Sends a request and reads the JSON of the answer.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> anyhow::Result<T> {
        let body = self.send(request).await?;
        serde_json::from_slice(&body).with_context(|| {
            format!("{} does not answer like a Thoughtwire server", self.server.base)
        })
    }

    /// Sends a request and returns the body of the answer.
    pub(super) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Vec<u8>> {
        let (status, body) = match &self.target {
            Target::Network => {
                let response = request.send().await.map_err(|error| self.unreachable(error))?;
                (
                    response.status(),
                    response.bytes().await.map_err(|error| self.unreachable(error))?,
                )
            }
            Target::Data(data) => {
                let request: http::Request<reqwest::Body> = request.build()?.try_into()?;
                let (parts, body) = request.into_parts();
                let body = Bytes::copy_from_slice(body.as_bytes().unwrap_or_default());
                let (parts, body) =
                    data.call(http::Request::from_parts(parts, body)).await?.into_parts();
                (parts.status, body)
            }
        };
        if status.is_success() {
            return Ok(body.to_vec());
        }
        Err(self.refused(status, &body))
    }

    /// Reads the error of an answer whose status is no success.
    fn refused(&self, status: StatusCode, body: &[u8]) -> anyhow::Error {
        match serde_json::from_slice(body) {
            Ok(ErrorBody { error }) => {
                let ErrorDetail { code, mut reason } = error;
                if status == StatusCode::UNAUTHORIZED && self.server.key.is_none() {
                    reason.push_str(" (THOUGHTWIRE_KEY is not set)");
                }
                ServerRefusal { code, reason }.into()
            }
            Err(_) => anyhow::anyhow!(
                "{} answered {status}; is a Thoughtwire server there?",
                self.server.base
            ),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        if let Some(trouble) = tls::trouble(&self.server.base, &error) {
            trouble
        } else if error.is_connect() {
            no_server(&self.server.base)
        } else {
            anyhow::Error::from(error.without_url()).context(self.server.base.clone())
        }
    }
}

/// The error that no server is reachable, and what to do about it.
pub(crate) fn no_server(base: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "no server can be reached at {base}; start one with `thoughtwire serve`, or say where it \
         is with --url"
    )
}
