//! Error answers of providers.

use std::time::Duration;

use serde_json::Value;

/// Phrases for a prompt that is too long, in lower case: `OpenAI` (its code, chat completions and
/// vLLM, Responses), Anthropic, Gemini, Ollama and llama.cpp.
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

/// Keys of an error's text.
const SENTENCES: [&str; 9] = [
    "message",
    "msg",
    "detail",
    "error_message",
    "error_msg",
    "status_msg",
    "errmsg",
    "reason",
    "title",
];

/// Number of bytes of a web page that are searched for text.
const PAGE_BYTES: usize = 64 << 10;

/// An error that a provider reported.
#[derive(Debug, Default, Clone)]
pub(crate) struct ProviderError {
    /// The error text.
    pub(super) words: String,
    /// Its type, code and status, in lower case.
    pub(super) kind: String,
    /// The HTTP status in the error.
    pub(super) status: Option<u16>,
    /// The delay that the provider asks for.
    pub(super) wait: Option<Duration>,
}

impl ProviderError {
    /// Parses the body of a refused request.
    pub(super) fn in_body(body: &str) -> Self {
        match serde_json::from_str(body) {
            Ok(value) => Self::in_value(&value),
            Err(_) => Self::in_words(body),
        }
    }

    /// Parses text that is not JSON, such as a proxy's page.
    pub(super) fn in_words(text: &str) -> Self {
        let is_page = text.trim_start().starts_with('<');
        let words = if is_page { without_markup(text) } else { text.trim().to_owned() };
        Self { words, ..Self::default() }
    }

    /// The error in a frame of a stream, whatever the wire. Absent if the frame is not an error.
    pub(super) fn in_frame(event: &str, value: &Value) -> Option<Self> {
        // Some providers send errors in a list.
        let value = value.get(0).unwrap_or(value);
        let is_error = value.get("error").is_some_and(is_error)
            || value.get("errors").is_some_and(is_error)
            || value.get("type").and_then(Value::as_str) == Some("error")
            || value.get("object").and_then(Value::as_str) == Some("error")
            || event == "error";
        is_error.then(|| Self::in_value(value))
    }

    /// Parses an error in JSON.
    pub(crate) fn in_value(body: &Value) -> Self {
        let body = body.get(0).unwrap_or(body);
        let nested = ["error", "errors", "base_resp"].into_iter();
        let error = nested.filter_map(|key| body.get(key)).find(|error| is_error(error));
        let error = error.map_or(body, |error| error.get(0).unwrap_or(error));
        let sentence = || SENTENCES.iter().find_map(|key| text(error.get(*key)?));
        let words = text(error).or_else(sentence).unwrap_or_else(|| error.to_string());
        let details = error.get("details").and_then(Value::as_array).into_iter().flatten();
        let wait = details
            .clone()
            .find_map(|detail| detail.get("retryDelay")?.as_str()?.strip_suffix('s')?.parse().ok());
        let of = |key: &str| error.get(key).or_else(|| body.get(key));
        let kinds = ["type", "code", "status", "error_type"].into_iter();
        let kind = kinds
            .filter_map(|key| of(key)?.as_str())
            .chain(details.filter_map(|detail| detail.get("reason")?.as_str()))
            .collect::<Vec<_>>()
            .join(" ");
        let codes = ["code", "status", "status_code", "http_code", "statusCode", "http_status"];
        let code = |value: &Value| match value {
            Value::String(text) => text.trim().parse().ok(),
            Value::Number(number) => number.as_u64().and_then(|code| u16::try_from(code).ok()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let status =
            codes.iter().filter_map(|key| code(of(key)?)).find(|code| (400..600).contains(code));
        Self {
            words,
            kind: kind.to_ascii_lowercase(),
            status,
            wait: wait.and_then(|wait| Duration::try_from_secs_f64(wait).ok()),
        }
    }

    /// The error text as a sentence.
    pub(super) fn sentence(&self) -> String {
        let words = self.words.trim();
        if words.is_empty() || words.ends_with(['.', '!', '?']) {
            words.to_owned()
        } else {
            format!("{words}.")
        }
    }

    /// Whether the prompt does not fit the model's context window.
    pub(super) fn is_too_long(&self) -> bool {
        let words = self.words.to_lowercase();
        TOO_LONG.iter().any(|phrase| words.contains(phrase) || self.kind.contains(phrase))
    }

    /// Whether its type or code contains one of these words.
    pub(super) fn is(&self, kinds: &[&str]) -> bool {
        kinds.iter().any(|kind| self.kind.contains(kind))
    }
}

/// Whether the value of a key such as `error` means an error.
fn is_error(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(words) => !words.trim().is_empty(),
        Value::Array(errors) => errors.iter().any(is_error),
        // Some providers send an empty object with each chunk.
        Value::Object(fields) => fields.values().any(is_error),
    }
}

/// A non-empty string, or the text in an object or a list.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        Value::Array(values) => values.first().and_then(text),
        Value::Object(fields) => {
            let known = ["msg", "message"].into_iter();
            known
                .filter_map(|key| fields.get(key))
                .find_map(|value| value.as_str().map(str::to_owned))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The text of a web page.
fn without_markup(page: &str) -> String {
    let page = page.get(..page.floor_char_boundary(PAGE_BYTES)).unwrap_or_default();
    let mut words = String::new();
    let mut rest = page;
    while let Some((before, tag)) = rest.split_once('<') {
        words.push_str(before);
        words.push(' ');
        let name: String = tag.chars().take(7).collect::<String>().to_ascii_lowercase();
        // The content of these elements is not text.
        let hidden = ["style", "script"].into_iter().find(|hidden| name.starts_with(hidden));
        let end = match hidden {
            Some(hidden) => tag.find(&format!("</{hidden}")).map_or(tag.len(), |at| at + 1),
            None => 0,
        };
        rest = tag.get(end..).and_then(|tag| tag.split_once('>')).map_or("", |(_, rest)| rest);
    }
    words.push_str(rest);
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn error_texts_are_found_under_any_key() {
        for (body, words, status) in [
            (json!({"error": {"message": "No.", "code": 402}}), "No.", Some(402)),
            (json!({"error": {"message": "No.", "code": "402"}}), "No.", Some(402)),
            (json!({"error": "No."}), "No.", None),
            (json!([{"error": {"message": "No.", "status": "X"}}]), "No.", None),
            (json!({"type": "error", "message": "No.", "code": "x"}), "No.", None),
            (json!({"object": "error", "message": "No.", "code": 404}), "No.", Some(404)),
            (json!({"success": false, "errors": [{"code": 1, "message": "No."}]}), "No.", None),
            (json!({"detail": "No."}), "No.", None),
            (json!({"detail": [{"loc": ["body"], "msg": "No."}]}), "No.", None),
            (json!({"base_resp": {"status_code": 1004, "status_msg": "No."}}), "No.", None),
            (json!({"code": 401, "msg": "No.", "data": null}), "No.", Some(401)),
        ] {
            let cause = ProviderError::in_value(&body);
            assert_eq!((cause.words.as_str(), cause.status), (words, status), "{body}");
        }
    }

    #[test]
    fn an_empty_error_does_not_count() {
        for body in [
            json!({"error": null}),
            json!({"error": ""}),
            json!({"error": false}),
            json!({"error": {}}),
            json!({"error": {"code": 0, "message": ""}}),
            json!({"errors": []}),
            json!({"type": "message_start"}),
        ] {
            assert!(ProviderError::in_frame("", &body).is_none(), "{body}");
        }
        for body in [json!({"error": "x"}), json!({"error": {"code": 1}}), json!({"type": "error"})]
        {
            assert!(ProviderError::in_frame("", &body).is_some(), "{body}");
        }
    }

    #[test]
    fn a_web_page_is_read_as_text() {
        let page = "<!DOCTYPE html><html><style>a > b { }</style><h1>502</h1>\n\
                    <p>Bad &lt; Gateway</p></html>";
        assert_eq!(ProviderError::in_words(page).words, "502 Bad &lt; Gateway");
    }
}
