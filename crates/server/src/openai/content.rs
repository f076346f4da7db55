//! Content of messages: a text, or parts of which only texts can be taken yet.

use serde_json::Value;

use super::{OpenAiRefusal, OpenAiResult};

/// Returns the text of a content, which is a text or a list of parts. `param` is its place in the
/// request.
pub(super) fn text_of(content: &Value, param: &str) -> OpenAiResult<String> {
    match content {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => {
            let parts = parts.iter().enumerate();
            let texts: Vec<String> = parts
                .map(|(at, part)| part_text(part, &format!("{param}[{at}]")))
                .collect::<OpenAiResult<_>>()?;
            Ok(texts.join("\n"))
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Err(OpenAiRefusal::of_param(param, "a content is a text or a list of parts"))
        }
    }
}

fn part_text(part: &Value, param: &str) -> OpenAiResult<String> {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    let key = match kind {
        "text" | "input_text" | "output_text" | "reasoning_text" | "summary_text" => "text",
        "refusal" => "refusal",
        "" => return Err(OpenAiRefusal::of_param(param, "a part needs a `type`")),
        other => {
            let message = format!(
                "a part of the type {other:?} cannot be taken yet: this server stores no images, \
                 sound or files; send text"
            );
            return Err(OpenAiRefusal::unsupported(param, message));
        }
    };
    let text = part.get(key).and_then(Value::as_str);
    text.map(str::to_owned)
        .ok_or_else(|| OpenAiRefusal::of_param(param, format!("a part of this type needs `{key}`")))
}
