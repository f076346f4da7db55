//! What went wrong with a provider, in sentences for people.

use std::time::Duration;

use serde_json::Value;

use super::{Provider, Wire};
use crate::model::ModelError;

/// Says what went wrong, and what to do about it.
pub(crate) fn explain(error: &genai::Error, wire: &Wire) -> ModelError {
    // In a stream, HTTP errors come wrapped.
    if let genai::Error::WebStream { error: inner, .. } = error
        && let Some(inner) = inner.downcast_ref::<genai::Error>()
    {
        return explain(inner, wire);
    }
    let at = wire.shown();
    let (key_variable, url_variable) = wire.provider.variables();
    if let Some(status) = error.status() {
        let words = provider_words(error);
        let said = wire.quoted(&words);
        return match status.as_u16() {
            400 | 413 if is_too_long(&words) => {
                ModelError::TooLong(format!("The conversation is longer than the model at {at} can read: {said}"))
            }
            // Gemini's word for a wrong key.
            400 if wire.provider == Provider::Gemini && words.contains("API key") => {
                ModelError::RefusedKey(format!("The model at {at} did not take the key ({status}). Check {key_variable}."))
            }
            // Providers quote a part of the key in these.
            401 | 403 => ModelError::RefusedKey(format!("The model at {at} did not take the key ({status}). Check {key_variable}.")),
            429 | 502 | 503 | 504 | 529 => ModelError::Busy {
                reason: format!("The model at {at} is too busy or its quota is used up ({status}): {said} Try again later."),
                retry_after: retry_after(error),
            },
            500..=599 => ModelError::Broken(format!("The model at {at} failed ({status}): {said} Try again later.")),
            404 => {
                ModelError::Failed(format!("The model at {at} was not found ({status}): {said} Check the model's name and {url_variable}."))
            }
            _ => ModelError::Failed(format!("The model at {at} failed ({status}): {said}")),
        };
    }
    if let genai::Error::ChatResponse { body, .. } = error {
        let said = body.get("message").and_then(Value::as_str).map_or_else(|| body.to_string(), str::to_owned);
        return ModelError::Failed(format!("The model at {at} failed: {}", wire.quoted(&said)));
    }
    match transport(error) {
        Some(cause) if cause.is_connect() => {
            ModelError::Unreachable(format!("The model at {at} cannot be reached. Check the network and {url_variable}."))
        }
        Some(cause) if cause.is_timeout() => ModelError::Cut(format!("The model at {at} fell silent for too long. Ask again.")),
        Some(_) => ModelError::Cut(format!("The connection to the model at {at} broke. What came of the reply is kept; ask again.")),
        None => ModelError::Failed(format!("The model at {at} gave an answer that cannot be read. Is {url_variable} right?")),
    }
}

/// Whether a provider says that the prompt does not fit: `OpenAI` and those like it, Anthropic, Gemini, llama.cpp.
fn is_too_long(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    [
        "context_length_exceeded",
        "maximum context length",
        "context window",
        "prompt is too long",
        "maximum number of tokens",
        "context size",
    ]
    .iter()
    .any(|sign| words.contains(sign))
}

/// The transport's own error, however deep it is wrapped.
fn transport(error: &genai::Error) -> Option<&reqwest::Error> {
    if let genai::Error::WebModelCall { webc_error: genai::webc::Error::Reqwest(error), .. } = error {
        return Some(error);
    }
    let genai::Error::WebStream { error, .. } = error else { return None };
    let mut cause: &(dyn std::error::Error + 'static) = &**error;
    loop {
        if let Some(found) = cause.downcast_ref::<reqwest::Error>() {
            return Some(found);
        }
        cause = cause.source()?;
    }
}

/// The sentence in a provider's error body.
fn provider_words(error: &genai::Error) -> String {
    let (genai::Error::HttpError { body, .. }
    | genai::Error::WebModelCall { webc_error: genai::webc::Error::ResponseFailedStatus { body, .. }, .. }) = error
    else {
        return String::new();
    };
    let said = serde_json::from_str::<Value>(body).ok().and_then(|body| {
        let error = body.get("error").unwrap_or(&body);
        error.get("message").or(Some(error)).and_then(Value::as_str).map(str::to_owned)
    });
    let said = said.unwrap_or_else(|| body.clone());
    if said.is_empty() || said.ends_with(['.', '!', '?']) { said } else { format!("{said}.") }
}

fn retry_after(error: &genai::Error) -> Option<Duration> {
    let headers = error.headers()?;
    let number =
        |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok().filter(|number| (0.0..86_400_000.0).contains(number));
    number("retry-after-ms")
        .map(|millis| Duration::from_secs_f64(millis / 1_000.0))
        .or_else(|| number("retry-after").map(Duration::from_secs_f64))
}
