//! What went wrong with a provider, in sentences for people.

use std::time::Duration;

use serde_json::Value;

use super::{Address, Wire};
use crate::model::{Awaited, ModelError};

/// How far a reply had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing was said yet: the same request may be made again.
    Nothing,
    /// Something was.
    Begun,
}

/// How providers say that a prompt is too long for the model, in small letters: `OpenAI` (its code,
/// chat completions and vLLM, Responses), Anthropic, Gemini, Ollama and llama.cpp.
const TOO_LONG: [&str; 10] = [
    "context_length_exceeded",
    "maximum context length",
    "exceeds the context window",
    "prompt is too long",
    "exceed context limit",
    "exceeds the maximum number of tokens",
    "exceeds the available context size",
    "exceed_context_size_error",
    "exceeds the context length",
    "exceeded max context length",
];

/// Says what went wrong, and what to do about it.
pub(crate) fn explain(error: &genai::Error, address: &Address, progress: Progress) -> ModelError {
    // In a stream, HTTP errors come wrapped.
    if let genai::Error::WebStream { error: inner, .. } = error
        && let Some(inner) = inner.downcast_ref::<genai::Error>()
    {
        return explain(inner, address, progress);
    }
    if let Some(status) = error.status() {
        return refused(error, status.as_u16(), address);
    }
    if let genai::Error::ChatResponse { body, .. } = error {
        return reported(&Said::in_body(body), address);
    }
    if let (genai::Error::StreamParse { serde_error, .. }, Wire::Responses) = (error, address.wire)
    {
        // The library skips what it cannot read here, and reports a failed response so.
        return reported(&Said { words: serde_error.to_string(), ..Said::default() }, address);
    }
    let (at, variable) = (address.shown(), address.wire.url_variable());
    match transport(error) {
        Some(cause) if cause.is_connect() && cause.is_timeout() => ModelError::TimedOut {
            reason: format!(
                "The model at {at} took too long to take the connection. Check the network and {variable}."
            ),
            awaited: Awaited::Connection,
        },
        Some(cause) if cause.is_connect() => ModelError::Unreachable(format!(
            "The model at {at} cannot be reached. Check the network and {variable}."
        )),
        Some(_) => broken_off(address, progress),
        None => {
            let endpoint = address.wire.described();
            ModelError::Failed(format!(
                "The model at {at} gave an answer that cannot be read. Is {variable} {endpoint}?"
            ))
        }
    }
}

/// The connection closed too early.
pub(super) fn broken_off(address: &Address, progress: Progress) -> ModelError {
    let at = address.shown();
    match progress {
        Progress::Nothing => ModelError::Unreachable(format!(
            "The model at {at} hung up before it said anything. Ask again."
        )),
        Progress::Begun => ModelError::Cut(format!(
            "The connection to the model at {at} broke. What came of the reply is kept; ask again."
        )),
    }
}

/// The answer was a status other than success.
fn refused(error: &genai::Error, status: u16, address: &Address) -> ModelError {
    let (at, wire) = (address.shown(), address.wire);
    let said = Said::in_error(error);
    let words = address.quoted(&said.sentence());
    let shown = error.status().map(|status| status.to_string()).unwrap_or_default();
    let retry_after = retry_after(error).or(said.wait);
    match status {
        // Providers quote a part of the key in these.
        401 | 403 => {
            let variable = wire.key_variable().unwrap_or(wire.url_variable());
            ModelError::RefusedKey(format!(
                "The model at {at} did not take the key ({shown}). Check {variable}."
            ))
        }
        // Google refuses a wrong key so.
        400 if said.kind.contains("api_key_invalid") => {
            let variable = wire.key_variable().unwrap_or(wire.url_variable());
            ModelError::RefusedKey(format!(
                "The model at {at} did not take the key ({shown}). Check {variable}."
            ))
        }
        _ if said.is_too_long() => too_long(&words, address),
        429 | 502 | 503 | 504 | 529 => ModelError::Busy {
            reason: format!(
                "The model at {at} is too busy or its quota is used up ({shown}): {words} Try again later."
            ),
            retry_after,
        },
        500.. => ModelError::Faulty {
            reason: format!("The model at {at} failed ({shown}): {words}"),
            retry_after,
        },
        404 => {
            let variable = wire.url_variable();
            ModelError::Failed(format!(
                "The model at {at} was not found ({shown}): {words} Check the model's name and {variable}."
            ))
        }
        _ => ModelError::Failed(format!("The model at {at} failed ({shown}): {words}")),
    }
}

/// The error came in the stream.
fn reported(said: &Said, address: &Address) -> ModelError {
    let at = address.shown();
    let words = address.quoted(&said.sentence());
    let is = |kinds: &[&str]| kinds.iter().any(|kind| said.kind.contains(kind));
    if said.is_too_long() {
        too_long(&words, address)
    } else if is(&["overloaded", "rate_limit", "unavailable", "resource_exhausted"]) {
        ModelError::Busy {
            reason: format!("The model at {at} is too busy: {words} Try again later."),
            retry_after: said.wait,
        }
    } else if is(&["server_error", "api_error", "internal"]) {
        ModelError::Faulty {
            reason: format!("The model at {at} failed: {words}"),
            retry_after: said.wait,
        }
    } else {
        ModelError::Failed(format!("The model at {at} failed: {words}"))
    }
}

fn too_long(words: &str, address: &Address) -> ModelError {
    let at = address.shown();
    ModelError::TooLong(format!(
        "The conversation is too long for the model at {at}: {words} Begin a new one, or take a larger model."
    ))
}

/// What a provider said about an error.
#[derive(Default)]
struct Said {
    words: String,
    /// Its type, code and status, in small letters.
    kind: String,
    /// How long it asks to wait.
    wait: Option<Duration>,
}

impl Said {
    fn in_error(error: &genai::Error) -> Self {
        let (genai::Error::HttpError { body, .. }
        | genai::Error::WebModelCall {
            webc_error: genai::webc::Error::ResponseFailedStatus { body, .. },
            ..
        }) = error
        else {
            return Self::default();
        };
        serde_json::from_str(body).map_or_else(
            |_| Self { words: body.clone(), ..Self::default() },
            |body| Self::in_body(&body),
        )
    }

    fn in_body(body: &Value) -> Self {
        if body.get("finishReason").is_some() {
            // The library's own words for a reply of Gemini's in which there is none.
            return Self {
                words: "It gave no answer; it may have blocked the prompt.".to_owned(),
                ..Self::default()
            };
        }
        let body = body.get(0).unwrap_or(body);
        let error = body.get("error").filter(|error| !error.is_null()).unwrap_or(body);
        let words = error
            .get("message")
            .or(Some(error))
            .and_then(Value::as_str)
            .map_or_else(|| error.to_string(), str::to_owned);
        let details = error.get("details").and_then(Value::as_array).into_iter().flatten();
        let wait = details
            .clone()
            .filter_map(|detail| {
                detail.get("retryDelay")?.as_str()?.strip_suffix('s')?.parse().ok()
            })
            .next();
        let kinds =
            ["type", "code", "status"].into_iter().filter_map(|key| error.get(key)?.as_str());
        let kind = kinds
            .chain(details.filter_map(|detail| detail.get("reason")?.as_str()))
            .collect::<Vec<_>>()
            .join(" ");
        Self {
            words,
            kind: kind.to_ascii_lowercase(),
            wait: wait.and_then(|wait| Duration::try_from_secs_f64(wait).ok()),
        }
    }

    fn sentence(&self) -> String {
        let words = self.words.trim();
        if words.is_empty() || words.ends_with(['.', '!', '?']) {
            words.to_owned()
        } else {
            format!("{words}.")
        }
    }

    fn is_too_long(&self) -> bool {
        let words = self.words.to_lowercase();
        TOO_LONG.iter().any(|phrase| words.contains(phrase) || self.kind.contains(phrase))
    }
}

/// The transport's own error, however deep it is wrapped.
fn transport(error: &genai::Error) -> Option<&reqwest::Error> {
    if let genai::Error::WebModelCall { webc_error: genai::webc::Error::Reqwest(error), .. } = error
    {
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

fn retry_after(error: &genai::Error) -> Option<Duration> {
    let headers = error.headers()?;
    let number = |name: &str| {
        headers
            .get(name)?
            .to_str()
            .ok()?
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|number| (0.0..86_400_000.0).contains(number))
    };
    number("retry-after-ms")
        .map(|millis| Duration::from_secs_f64(millis / 1_000.0))
        .or_else(|| number("retry-after").map(Duration::from_secs_f64))
}
