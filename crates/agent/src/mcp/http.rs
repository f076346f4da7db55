//! Transport of an MCP server over streamable HTTP.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use reqwest::header::{
    ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage, RequestId, ServerJsonRpcMessage};
use rmcp::service::ServiceError;
use rmcp::transport::common::client_side_sse::{BoxedSseResponse, ExponentialBackoff};
use rmcp::transport::common::http_header::{
    EVENT_STREAM_MIME_TYPE, HEADER_LAST_EVENT_ID, HEADER_SESSION_ID,
};
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, HttpStatusError, InsufficientScopeError, StreamableHttpClient,
    StreamableHttpClientTransportConfig, StreamableHttpError, StreamableHttpPostResponse,
};
use rmcp::transport::{DynamicTransportError, StreamableHttpClientTransport};

use super::pipe::LONGEST_LINE;
use super::wire::{OpenRequests, decode, unread};
use super::{idempotency, sse};

type HttpError = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Retries of a broken event stream: after 0.5, 1, 2 and 4 seconds. Without a limit, a call would
/// wait for a server that no longer exists.
const STREAM_RETRIES: usize = 5;
const STREAM_RETRY: Duration = Duration::from_millis(250);
const MAX_REDIRECTS: usize = 5;
const ACCEPTED: &str = "text/event-stream, application/json";
/// Number of bytes of a failed answer that are read for the error in it.
const LONGEST_ERROR: usize = 64 << 10;

/// Prepares a connection. Errors name headers but never show their values.
pub(super) fn transport(
    url: &str,
    headers: &BTreeMap<String, String>,
) -> Result<StreamableHttpClientTransport<McpHttp>, String> {
    Url::parse(url).map_err(|error| format!("its URL cannot be used: {error}"))?;
    let mut custom = Headers::new();
    for (name, value) in headers {
        let parsed = name.parse::<HeaderName>().ok().zip(value.parse::<HeaderValue>().ok());
        let (parsed, mut value) =
            parsed.ok_or_else(|| format!("its header `{}` cannot be sent", name.escape_debug()))?;
        value.set_sensitive(true);
        custom.insert(parsed, value);
    }
    // Fails if a provider is already installed, which is equally good.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        // As in rmcp's own client: a pooled connection that was not read to its end stalls the next
        // request.
        .pool_max_idle_per_host(0)
        .redirect(redirect::Policy::custom(follow))
        .build()
        .map_err(|error| format!("HTTP cannot be used: {}", chain(&error)))?;
    let mut retries = ExponentialBackoff::default();
    retries.max_times = Some(STREAM_RETRIES);
    retries.base_duration = STREAM_RETRY;
    // The supervisor renews a session, and its list of tools.
    let mut config = StreamableHttpClientTransportConfig::with_uri(url)
        .custom_headers(custom)
        .reinit_on_expired_session(false);
    config.retry_config = Arc::new(retries);
    let http = McpHttp { client, open: OpenRequests::default() };
    Ok(StreamableHttpClientTransport::with_client(http, config))
}

/// Follows redirects that keep the method and body, to the same origin only.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let whole =
        matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let home =
        attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if whole && home && attempt.previous().len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// The library's HTTP client, with answers decoded by [`super::wire`]. Errors do not show the URL,
/// whose query may hold a key.
///
/// An error that names no request counts as the end of the session: servers on the official
/// TypeScript SDK send one when they do not know a session.
#[derive(Clone)]
pub(super) struct McpHttp {
    client: Client,
    open: OpenRequests,
}

impl McpHttp {
    /// Posts a message and returns the response, whatever its status.
    async fn send(
        &self,
        uri: &str,
        message: &ClientJsonRpcMessage,
        session: Option<&str>,
        auth: Option<String>,
        mut headers: Headers,
    ) -> Result<Response, HttpError> {
        headers.extend(idempotency::header(message));
        let mut request = self.client.post(uri).header(ACCEPT, ACCEPTED);
        if let Some(auth) = auth {
            request = request.bearer_auth(auth);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(session) = session {
            request = request.header(HEADER_SESSION_ID, session);
        }
        Ok(request.json(message).send().await?)
    }

    /// Turns a failed response into its error, or into the JSON-RPC message in its body.
    async fn failure(
        &self,
        response: Response,
        in_session: bool,
        asked: Option<&RequestId>,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let status = response.status();
        let header = |name: HeaderName| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        match (status, header(WWW_AUTHENTICATE)) {
            (StatusCode::UNAUTHORIZED, Some(challenge)) => {
                return Err(HttpError::AuthRequired(AuthRequiredError::new(challenge)));
            }
            (StatusCode::FORBIDDEN, Some(challenge)) => {
                return Err(HttpError::InsufficientScope(InsufficientScopeError::new(
                    challenge, None,
                )));
            }
            (StatusCode::NOT_FOUND, _) if in_session => return Err(HttpError::SessionExpired),
            _ => {}
        }
        let retry_after = header(RETRY_AFTER);
        let is_auth = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let body = match bounded(response, LONGEST_ERROR).await {
            Ok(Some(body)) => body,
            Ok(None) | Err(_) => Vec::new(),
        };
        if in_session && asked.is_some() && names_no_request(&body) {
            return Err(HttpError::SessionExpired);
        }
        // Some servers put a JSON-RPC error into the body.
        if !is_auth && let Some(id) = asked {
            let found = decode(&body, &self.open).into_iter().find(|message| answers(message, id));
            if let Some(message) = found {
                return Ok(StreamableHttpPostResponse::Json(message, None));
            }
        }
        Err(HttpError::HttpStatus(HttpStatusError::new(status.as_u16(), retry_after)))
    }

    /// Reads the answer from a whole body.
    async fn body(
        &self,
        response: Response,
        session: Option<String>,
        in_session: bool,
        asked: Option<&RequestId>,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let Some(id) = asked else { return Ok(StreamableHttpPostResponse::Accepted) };
        let body = bounded(response, LONGEST_LINE).await?;
        let mut messages = match body {
            Some(body) if in_session && names_no_request(&body) => {
                return Err(HttpError::SessionExpired);
            }
            Some(body) => decode(&body, &self.open),
            None => Vec::new(),
        };
        if !messages.iter().any(|message| answers(message, id)) {
            let reason = "the body does not answer the request".to_owned();
            messages.push(unread(id.clone(), &reason));
        }
        if messages.len() == 1
            && let Some(message) = messages.pop()
        {
            return Ok(StreamableHttpPostResponse::Json(message, session));
        }
        let events: Vec<_> = messages.iter().map(|message| Ok(sse::event(message))).collect();
        Ok(StreamableHttpPostResponse::Sse(stream::iter(events).boxed(), session))
    }
}

/// Reads a body of at most `max` bytes. Absent if it is longer.
async fn bounded(response: Response, max: usize) -> Result<Option<Vec<u8>>, HttpError> {
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if body.len() + piece.len() > max {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

/// Whether a message is the answer to a request.
fn answers(message: &ServerJsonRpcMessage, id: &RequestId) -> bool {
    match message {
        JsonRpcMessage::Response(response) => response.id == *id,
        JsonRpcMessage::Error(error) => error.id.as_ref() == Some(id),
        JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => false,
    }
}

/// Whether a body is an error that does not name its request.
fn names_no_request(body: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else { return false };
    let is_absent = |key: &str| value.get(key).is_none_or(serde_json::Value::is_null);
    !is_absent("error") && is_absent("id") && is_absent("result")
}

/// The media type of a body without parameters, in lower case.
fn kind(response: &Response) -> String {
    let kind =
        response.headers().get(CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    let kind = kind.unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

impl StreamableHttpClient for McpHttp {
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
        self.open.sent(&message);
        let asked = match &message {
            JsonRpcMessage::Request(request) => Some(request.id.clone()),
            JsonRpcMessage::Response(_)
            | JsonRpcMessage::Notification(_)
            | JsonRpcMessage::Error(_) => None,
        };
        let answer = async {
            let response = self.send(&uri, &message, session.as_deref(), auth, headers).await?;
            let (status, in_session) = (response.status(), session.is_some());
            if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
                return Ok(StreamableHttpPostResponse::Accepted);
            }
            if !status.is_success() {
                return self.failure(response, in_session, asked.as_ref()).await;
            }
            let named = response.headers().get(HEADER_SESSION_ID);
            let named = named.and_then(|id| id.to_str().ok()).map(str::to_owned);
            if kind(&response) == EVENT_STREAM_MIME_TYPE {
                let (body, open) = (response.bytes_stream(), self.open.clone());
                let messages = sse::messages(body, limit, asked.clone(), open);
                return Ok(StreamableHttpPostResponse::Sse(messages, named));
            }
            self.body(response, named, in_session, asked.as_ref()).await
        };
        let answer = answer.await.map_err(without_url_in_error);
        if let (Err(_), Some(id)) = (&answer, &asked) {
            self.open.take(id);
        }
        answer
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<(), HttpError> {
        self.client.delete_session(uri, session, auth, headers).await.map_err(without_url_in_error)
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<BoxedSseResponse, HttpError> {
        let limit = StreamableHttpClientTransportConfig::default().max_sse_event_size;
        self.get_stream_with_max_sse_event_size(uri, session, last_event, auth, headers, limit)
            .await
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
        let mut request = self.client.get(&*uri).header(ACCEPT, ACCEPTED);
        if let Some(auth) = auth {
            request = request.bearer_auth(auth);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        for (name, value) in
            [(HEADER_SESSION_ID, session.as_deref()), (HEADER_LAST_EVENT_ID, last_event.as_deref())]
        {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let response = request.send().await.map_err(|error| without_url_in_error(error.into()))?;
        let status = response.status();
        if status == StatusCode::METHOD_NOT_ALLOWED {
            return Err(HttpError::ServerDoesNotSupportSse);
        }
        if !status.is_success() {
            return Err(HttpError::HttpStatus(HttpStatusError::new(status.as_u16(), None)));
        }
        let kind = kind(&response);
        if kind != EVENT_STREAM_MIME_TYPE {
            return Err(HttpError::UnexpectedContentType(Some(kind)));
        }
        Ok(sse::messages(response.bytes_stream(), limit, None, self.open.clone()))
    }
}

fn without_url_in_error(error: HttpError) -> HttpError {
    if let HttpError::Client(error) = error {
        HttpError::Client(error.without_url())
    } else {
        error
    }
}

/// Whether an error means that the server or the session is gone, rather than that this one request
/// failed.
pub(super) fn is_connection_lost(error: &ServiceError) -> bool {
    let ServiceError::TransportSend(error) = error else {
        return matches!(error, ServiceError::TransportClosed);
    };
    // Any other error comes from a pipe, and a pipe that cannot be written is broken.
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

/// The text of a transport error, without the layers around it.
pub(super) fn reason(error: &DynamicTransportError) -> String {
    match error.error.downcast_ref::<HttpError>() {
        Some(HttpError::Client(error)) => chain(error),
        Some(HttpError::AuthRequired(_)) => {
            "HTTP 401 Unauthorized; configure a header such as `Authorization`".to_owned()
        }
        Some(HttpError::InsufficientScope(_)) => {
            "HTTP 403 Forbidden; its key does not allow this".to_owned()
        }
        Some(HttpError::HttpStatus(error)) => format!("HTTP {}", error.status),
        Some(error) => chain(error),
        None => chain(error.error.as_ref()),
    }
}

/// An error and its causes, in one line.
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
