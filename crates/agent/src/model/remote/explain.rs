//! Errors of providers as sentences for people.

use std::time::Duration;

use super::Address;
use super::provider_error::ProviderError;
use crate::model::{ModelError, ModelWait};

/// Progress of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyProgress {
    /// No output yet: the same request may be repeated.
    Nothing,
    /// Some output arrived.
    Begun,
}

/// The error of a request that could not be sent.
pub(super) fn not_sent(error: &reqwest::Error, address: &Address) -> ModelError {
    let (at, variable) = (address.shown(), address.wire.url_variable());
    if error.is_connect() && error.is_timeout() {
        ModelError::TimedOut {
            reason: format!(
                "The model at {at} did not accept the connection in time. \
                 Check the network and {variable}."
            ),
            awaited: ModelWait::Connection,
        }
    } else if error.is_connect() {
        ModelError::Unreachable(format!(
            "The model at {at} cannot be reached. Check the network and {variable}."
        ))
    } else {
        connection_broke(address, ReplyProgress::Nothing)
    }
}

/// The error of a connection that closed too early.
pub(crate) fn connection_broke(address: &Address, progress: ReplyProgress) -> ModelError {
    let at = address.shown();
    match progress {
        ReplyProgress::Nothing => ModelError::Unreachable(format!(
            "The model at {at} closed the connection before any output. Ask again."
        )),
        ReplyProgress::Begun => ModelError::Cut(format!(
            "The connection to the model at {at} broke. The part of the reply that arrived is \
             kept; ask again."
        )),
    }
}

/// The error of an answer in another format than the provider's. `cause` is its content.
pub(crate) fn unreadable(cause: Option<&ProviderError>, address: &Address) -> ModelError {
    let (at, variable) = (address.shown(), address.wire.url_variable());
    let endpoint = address.wire.described();
    let words = cause.map(|cause| address.quoted(&cause.sentence())).unwrap_or_default();
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    let stop = if words.is_empty() { "." } else { "" };
    ModelError::Failed(format!(
        "The model at {at} gave an answer that cannot be read{words}{stop} \
         Is {variable} {endpoint}?"
    ))
}

/// The error of a reply that exceeds a size limit.
pub(crate) fn too_much(what: &str, address: &Address) -> ModelError {
    let at = address.shown();
    ModelError::TooMuch(format!(
        "The model at {at} sent too much: its reply exceeds the limit of {what}. Ask again."
    ))
}

/// The error of an answer with a status other than success.
pub(crate) fn refused(
    status: u16,
    shown: &str,
    cause: &ProviderError,
    retry_after: Option<Duration>,
    address: &Address,
) -> ModelError {
    let (at, wire) = (address.shown(), address.wire);
    let words = address.quoted(&cause.sentence());
    let retry_after = retry_after.or(cause.wait);
    match status {
        401 | 403 => refused_key(shown, "", address),
        // Google reports a wrong key with status 400.
        400 if cause.is(&["api_key_invalid"]) => refused_key(shown, "", address),
        _ if cause.is_too_long() => too_long(&words, address),
        429 | 502 | 503 | 504 | 529 => ModelError::Busy {
            reason: format!(
                "The model at {at} is too busy or its quota is used up ({shown}): {words} \
                 Try again later."
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
                "The model at {at} was not found ({shown}): {words} \
                 Check the model's name and {variable}."
            ))
        }
        300..400 => {
            let variable = wire.url_variable();
            ModelError::Failed(format!(
                "The model at {at} redirects to another address ({shown}). \
                 Set {variable} to that address."
            ))
        }
        _ => ModelError::Failed(format!("The model at {at} failed ({shown}): {words}")),
    }
}

/// The error that a reply of status 200 contains.
pub(super) fn reported(cause: &ProviderError, address: &Address) -> ModelError {
    let at = address.shown();
    let words = address.quoted(&cause.sentence());
    let lower = cause.words.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
    if cause.is_too_long() {
        return too_long(&words, address);
    }
    if let Some(status) = cause.status {
        let shown = status.to_string();
        return match status {
            401 | 403 => refused_key(&shown, &words, address),
            _ => refused(status, &shown, cause, None, address),
        };
    }
    let refusals = [
        "authentication",
        "permission",
        "api_key",
        "apikey",
        "unauthenticated",
        "unauthorized",
        "forbidden",
    ];
    if cause.is(&refusals) {
        return refused_key("refused", &words, address);
    }
    if cause.is(&["insufficient_quota", "billing"]) {
        return ModelError::Failed(format!("The model at {at} failed: {words}"));
    }
    let busy = [
        "overloaded",
        "rate_limit",
        "ratelimit",
        "unavailable",
        "resource_exhausted",
        "too_many",
        "toomany",
        "throttl",
    ];
    let busy_words = [
        "rate limit",
        "overloaded",
        "too many requests",
        "service unavailable",
        "temporarily unavailable",
        "bad gateway",
        "gateway time",
    ];
    if cause.is(&busy) || (cause.kind.is_empty() && says(&busy_words)) {
        ModelError::Busy {
            reason: format!("The model at {at} is too busy: {words} Try again later."),
            retry_after: cause.wait,
        }
    } else if cause.is(&["server_error", "api_error", "internal", "timeout"]) {
        ModelError::Faulty {
            reason: format!("The model at {at} failed: {words}"),
            retry_after: cause.wait,
        }
    } else {
        ModelError::Failed(format!("The model at {at} failed: {words}"))
    }
}

/// The error of a refused key. Providers quote a part of the key with status 401, so their text is
/// shown only in other cases, and without words that look like a key.
fn refused_key(shown: &str, words: &str, address: &Address) -> ModelError {
    let (at, wire) = (address.shown(), address.wire);
    let variable = wire.key_variable().unwrap_or(wire.url_variable());
    let words = address.without_keys(words);
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    let stop = if words.is_empty() { "." } else { "" };
    ModelError::RefusedKey(format!(
        "The model at {at} refused the key ({shown}){words}{stop} Check {variable}."
    ))
}

fn too_long(words: &str, address: &Address) -> ModelError {
    let at = address.shown();
    ModelError::TooLong(format!(
        "The conversation is too long for the model at {at}: {words} \
         Start a new session, or use a model with a larger context window."
    ))
}

/// The delay that a provider's headers ask for.
pub(super) fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
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
