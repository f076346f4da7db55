//! A server that is reached over streamable HTTP.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url, redirect};
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage};
use rmcp::service::ServiceError;
use rmcp::transport::common::client_side_sse::{BoxedSseResponse, ExponentialBackoff};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse,
};
use rmcp::transport::{DynamicTransportError, StreamableHttpClientTransport};

type HttpError = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How a broken event stream is taken up again: after 0.5, 1, 2 and 4 seconds. Without an end,
/// a call would wait for a server that is no more.
const STREAM_RETRIES: usize = 5;
const STREAM_RETRY: Duration = Duration::from_millis(250);
const MOST_REDIRECTS: usize = 5;

/// Prepares a connection; errors name headers but never show their values.
pub(super) fn transport(
    url: &str,
    headers: &BTreeMap<String, String>,
) -> Result<StreamableHttpClientTransport<Http>, String> {
    Url::parse(url).map_err(|error| format!("its URL cannot be used: {error}"))?;
    let mut custom = Headers::new();
    for (name, value) in headers {
        let parsed = name.parse::<HeaderName>().ok().zip(value.parse::<HeaderValue>().ok());
        let (parsed, mut value) =
            parsed.ok_or_else(|| format!("its header `{}` cannot be sent", name.escape_debug()))?;
        value.set_sensitive(true);
        custom.insert(parsed, value);
    }
    // Fails if a provider is there already, which is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        // As rmcp's own client: a pooled connection that was not read to its end stalls the next request.
        .pool_max_idle_per_host(0)
        .redirect(redirect::Policy::custom(follow))
        .build()
        .map_err(|error| format!("HTTP cannot be used: {}", chain(&error)))?;
    let mut retries = ExponentialBackoff::default();
    retries.max_times = Some(STREAM_RETRIES);
    retries.base_duration = STREAM_RETRY;
    // The keeper renews a session, and the list of tools with it.
    let mut config = StreamableHttpClientTransportConfig::with_uri(url)
        .custom_headers(custom)
        .reinit_on_expired_session(false);
    config.retry_config = Arc::new(retries);
    Ok(StreamableHttpClientTransport::with_client(Http(client), config))
}

/// Follows what keeps the request whole and its headers with the same server.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let whole =
        matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let home =
        attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if whole && home && attempt.previous().len() <= MOST_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// reqwest for rmcp, with two changes: errors do not show the URL, whose query may hold a key, and
/// an answer that names no request counts as the end of the session. Servers on the official
/// TypeScript SDK answer so when they do not know a session, and the request would wait forever.
#[derive(Clone)]
pub(super) struct Http(Client);

impl StreamableHttpClient for Http {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let limit = StreamableHttpClientTransportConfig::default().max_sse_event_size;
        self.post_message_with_max_sse_event_size(uri, message, session, auth, headers, limit).await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        auth: Option<String>,
        headers: Headers,
        limit: usize,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let in_session = session.is_some() && matches!(message, JsonRpcMessage::Request(_));
        let answer = self
            .0
            .post_message_with_max_sse_event_size(uri, message, session, auth, headers, limit)
            .await
            .map_err(unnamed)?;
        let unrelated = matches!(&answer, StreamableHttpPostResponse::Json(JsonRpcMessage::Error(error), _) if error.id.is_none());
        if in_session && unrelated { Err(HttpError::SessionExpired) } else { Ok(answer) }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<(), HttpError> {
        self.0.delete_session(uri, session, auth, headers).await.map_err(unnamed)
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<BoxedSseResponse, HttpError> {
        self.0.get_stream(uri, session, last_event, auth, headers).await.map_err(unnamed)
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        auth: Option<String>,
        headers: Headers,
        limit: usize,
    ) -> Result<BoxedSseResponse, HttpError> {
        self.0
            .get_stream_with_max_sse_event_size(uri, session, last_event, auth, headers, limit)
            .await
            .map_err(unnamed)
    }
}

fn unnamed(error: HttpError) -> HttpError {
    if let HttpError::Client(error) = error {
        HttpError::Client(error.without_url())
    } else {
        error
    }
}

/// Whether a request failed in a way that says the server or the session is no more, rather than
/// that this one request was not liked.
pub(super) fn lost(error: &ServiceError) -> bool {
    let ServiceError::TransportSend(error) = error else {
        return matches!(error, ServiceError::TransportClosed);
    };
    // What is not HTTP is a pipe, and a pipe that takes nothing is broken.
    error.error.downcast_ref::<HttpError>().is_none_or(|error| {
        matches!(
            error,
            HttpError::Client(_)
                | HttpError::Io(_)
                | HttpError::Sse(_)
                | HttpError::SessionExpired
                | HttpError::UnexpectedEndOfStream
                | HttpError::TransportChannelClosed
        )
    })
}

/// What a transport says, without the layers around it.
pub(super) fn reason(error: &DynamicTransportError) -> String {
    match error.error.downcast_ref::<HttpError>() {
        Some(HttpError::Client(error)) => chain(error),
        Some(HttpError::AuthRequired(_)) => {
            "HTTP 401 Unauthorized; give it a header such as `Authorization`".to_owned()
        }
        Some(HttpError::InsufficientScope(_)) => {
            "HTTP 403 Forbidden; its key does not allow this".to_owned()
        }
        Some(HttpError::HttpStatus(error)) => format!("HTTP {}", error.status),
        Some(error) => chain(error),
        None => chain(error.error.as_ref()),
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
