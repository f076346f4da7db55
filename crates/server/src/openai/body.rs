//! Bodies of requests.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::OpenAiRefusal;

/// A JSON body. One that cannot be read is refused in the form of OpenAI's API.
pub(super) struct OpenAiBody<T>(pub(super) T);

impl<S: Sync + Send, T: DeserializeOwned> FromRequest<S> for OpenAiBody<T> {
    type Rejection = OpenAiRefusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, OpenAiRefusal> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(OpenAiRefusal::of_request(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "too_large",
                    "the body is larger than a frame may be",
                ))
            }
            Err(rejection) => Err(OpenAiRefusal::of_request(
                StatusCode::BAD_REQUEST,
                "bad_request",
                rejection.body_text(),
            )),
        }
    }
}
