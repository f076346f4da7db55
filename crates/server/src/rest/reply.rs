//! Answers and headers that handlers share.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::extract::rejection::JsonRejection;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thoughtwire_proto::rest::ErrorBody;
use thoughtwire_proto::{CommandId, Refusal, RefusalCode, Retry};
use thoughtwire_store::StoreError;

use super::bad;

/// The name of the header that makes a request take effect once.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A refusal as an HTTP answer: `{"error":{"code","reason"}}`.
pub(crate) struct RestRefusal(pub(crate) Refusal);

/// The result of a handler.
pub(super) type RestResult<T> = Result<T, RestRefusal>;

impl From<Refusal> for RestRefusal {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<StoreError> for RestRefusal {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for RestRefusal {
    fn into_response(self) -> Response {
        let Self(refusal) = self;
        let mut response = (status(refusal.code), Json(ErrorBody::from(&refusal))).into_response();
        mark_refused(&mut response, refusal.code);
        response
    }
}

/// Notes in an answer which refusal it is, for the metrics, and tells the client when to repeat the
/// request, if a repetition can help.
pub(crate) fn mark_refused(response: &mut Response, code: RefusalCode) {
    response.extensions_mut().insert(code);
    if code.retry() == Retry::Later {
        response.headers_mut().insert("retry-after", axum::http::HeaderValue::from_static("1"));
    }
}

/// Returns the HTTP status of a refusal.
pub(crate) fn status(code: RefusalCode) -> StatusCode {
    match code {
        RefusalCode::BadFrame
        | RefusalCode::UnknownType
        | RefusalCode::BadRequest
        | RefusalCode::EmptyText => StatusCode::BAD_REQUEST,
        RefusalCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalCode::Unauthorized => StatusCode::UNAUTHORIZED,
        RefusalCode::Forbidden => StatusCode::FORBIDDEN,
        RefusalCode::UnknownAgent
        | RefusalCode::UnknownSession
        | RefusalCode::UnknownInput
        | RefusalCode::UnknownCall
        | RefusalCode::UnknownKey => StatusCode::NOT_FOUND,
        RefusalCode::NameTaken
        | RefusalCode::TurnRunning
        | RefusalCode::NoTurn
        | RefusalCode::NotAttached
        | RefusalCode::NotOffered => StatusCode::CONFLICT,
        RefusalCode::IdReused => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalCode::TooManySessions | RefusalCode::QueueFull | RefusalCode::TooFast => {
            StatusCode::TOO_MANY_REQUESTS
        }
        RefusalCode::StoreFull | RefusalCode::ArchivalFull => StatusCode::INSUFFICIENT_STORAGE,
        RefusalCode::StoreFailed | RefusalCode::StoreUnknown | RefusalCode::Internal => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        RefusalCode::Moved | RefusalCode::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        RefusalCode::Unsupported => StatusCode::NOT_IMPLEMENTED,
    }
}

/// An answer of status 201.
pub(super) struct Created<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

/// An answer of status 200 with a `Set-Cookie` header.
pub(super) struct WithCookie<T> {
    /// The header's value.
    pub(super) cookie: String,
    /// The answer without the header.
    pub(super) answer: T,
}

impl<T: IntoResponse> IntoResponse for WithCookie<T> {
    fn into_response(self) -> Response {
        ([(axum::http::header::SET_COOKIE, self.cookie)], self.answer).into_response()
    }
}

/// A JSON body, or the reason why it cannot be read. A handler unpacks it with [`read`].
pub(crate) type JsonBody<T> = Result<Json<T>, JsonRejection>;

/// Unpacks a JSON body.
pub(crate) fn read<T>(body: JsonBody<T>) -> Result<T, RestRefusal> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Refusal::new(RefusalCode::TooLarge, "the body is larger than a frame may be")
                .into())
        }
        Err(rejection) => Err(bad(&rejection.body_text()).into()),
    }
}

/// The header `Idempotency-Key` of a request that takes effect once for each key.
pub(crate) struct IdempotencyHeader(HeaderMap);

impl<S: Sync> FromRequestParts<S> for IdempotencyHeader {
    type Rejection = RestRefusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, RestRefusal> {
        let values = parts.headers.get_all(IDEMPOTENCY_KEY).iter().cloned();
        let name = axum::http::HeaderName::from_static(IDEMPOTENCY_KEY);
        Ok(Self(values.map(|value| (name.clone(), value)).collect()))
    }
}

impl IdempotencyHeader {
    /// Reads the key, if there is one.
    ///
    /// # Errors
    /// When there are several, or it cannot be an id.
    pub(super) fn read(&self) -> Result<Option<CommandId>, RestRefusal> {
        let Some(key) = self.text()? else { return Ok(None) };
        CommandId::new(key)
            .map(Some)
            .map_err(|error| bad(&format!("Idempotency-Key: {error}")).into())
    }

    /// Returns the key as it was sent, of any length, if there is one.
    ///
    /// # Errors
    /// When there are several, or it is no text.
    pub(crate) fn text(&self) -> Result<Option<&str>, RestRefusal> {
        let mut keys = self.0.get_all(IDEMPOTENCY_KEY).iter();
        let Some(key) = keys.next() else { return Ok(None) };
        if keys.next().is_some() {
            return Err(bad("the request has more than one Idempotency-Key").into());
        }
        let key = key.to_str().map_err(|_| bad("Idempotency-Key is not readable text"))?;
        Ok(Some(key))
    }
}

/// Refuses the header `Idempotency-Key` where a repetition could not be answered as the first
/// request was.
pub(super) fn refuse_idempotency_key(headers: &HeaderMap, reason: &str) -> Result<(), Refusal> {
    if headers.contains_key(IDEMPOTENCY_KEY) {
        return Err(bad(&format!("this request takes no Idempotency-Key: {reason}")));
    }
    Ok(())
}

/// The variable parts of a path. Parts that cannot be read are refused with `bad_request`.
pub(crate) struct PathParams<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathParams<T> {
    type Rejection = RestRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RestRefusal> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(rejection) => Err(bad(&rejection.body_text()).into()),
        }
    }
}

/// The parameters behind the `?`. Parameters that cannot be read are refused with `bad_request`.
pub(crate) struct QueryParams<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for QueryParams<T> {
    type Rejection = RestRefusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, RestRefusal> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(bad(&rejection.body_text()).into()),
        }
    }
}
