//! Results of tool calls as text.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Number of characters shown of an unknown block kind.
const LONGEST_KIND: usize = 60;

/// Result of a tool call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct McpOutput {
    /// The text: one line for each block of content, with a placeholder for other kinds of content.
    pub text: String,
    /// `{"content": […], "structuredContent": …}` as the server sent it. Absent if there is only
    /// text.
    pub content: Option<Value>,
    /// Whether the tool reports an error.
    pub is_error: bool,
}

impl McpOutput {
    /// Reads the result of a call. A block that cannot be read gets a placeholder.
    pub(super) fn read(result: Value) -> Self {
        let mut fields = match result {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            bare @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Map::from_iter([("content".to_owned(), bare)])
            }
        };
        let is_error = fields.get("isError").is_some_and(is_truthy_flag);
        let structured = fields.remove("structuredContent").filter(|value| !value.is_null());
        let blocks = match fields.remove("content") {
            Some(Value::Array(blocks)) => blocks,
            Some(Value::Null) | None => Vec::new(),
            Some(block) => vec![block],
        };
        let only_text = blocks.iter().all(is_text);
        let mut text = blocks.iter().map(block_text).collect::<Vec<_>>().join("\n");
        if blocks.is_empty() {
            fields.retain(|key, _| !matches!(key.as_str(), "_meta" | "isError" | "resultType"));
            text = match &structured {
                Some(structured) => structured.to_string(),
                // The server answered with fields of its own.
                None if !fields.is_empty() => Value::Object(fields).to_string(),
                None => String::new(),
            };
        }
        let content = match (only_text, structured) {
            (true, None) => None,
            (false, None) => Some(json!({"content": blocks})),
            (true | false, Some(structured)) => {
                Some(json!({"content": blocks, "structuredContent": structured}))
            }
        };
        Self { text, content, is_error }
    }
}

/// Reads a flag: some servers write `"true"` or `1`.
fn is_truthy_flag(value: &Value) -> bool {
    match value {
        Value::Bool(is) => *is,
        Value::String(text) => {
            matches!(text.trim().to_ascii_lowercase().as_str(), "true" | "yes" | "1")
        }
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

fn field<'a>(block: &'a Value, key: &str) -> Option<&'a str> {
    block.get(key).and_then(Value::as_str)
}

fn is_text(block: &Value) -> bool {
    field(block, "type") == Some("text") && field(block, "text").is_some()
}

/// Renders a block of content as text.
fn block_text(block: &Value) -> String {
    if let Value::String(text) = block {
        return text.clone();
    }
    let Some(kind) = field(block, "type") else {
        return match field(block, "text") {
            Some(text) => text.to_owned(),
            None => format!("[content without a kind, {}]", bytes(block.to_string().len() as u64)),
        };
    };
    match kind {
        "text" => match block.get("text") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => "[a text without content: the server sent null]".to_owned(),
            Some(other) => other.to_string(),
        },
        "image" | "audio" => {
            let mime_type = field(block, "mimeType").unwrap_or("of an unknown type");
            format!("[{kind} {mime_type}, {}]", data(block.get("data")))
        }
        "resource" => {
            let resource = block.get("resource").unwrap_or(block);
            match field(resource, "text") {
                Some(text) => text.to_owned(),
                None => {
                    let size = resource.get("blob").map(|blob| data(Some(blob)));
                    placeholder("resource", resource, size)
                }
            }
        }
        "resource_link" => {
            let size = block.get("size").and_then(Value::as_u64).map(bytes);
            placeholder("resource link", block, size)
        }
        unknown => {
            let kind: String = unknown.chars().take(LONGEST_KIND).collect();
            let kind = kind.escape_debug();
            match field(block, "text") {
                Some(text) => format!("[content of the unknown kind `{kind}`] {text}"),
                None => format!("[content of the unknown kind `{kind}`]"),
            }
        }
    }
}

fn placeholder(kind: &str, of: &Value, size: Option<String>) -> String {
    let address = field(of, "uri").or_else(|| field(of, "name")).unwrap_or("without an address");
    let mime_type = field(of, "mimeType").map(str::to_owned);
    let parts = [Some(format!("{kind} {address}")), mime_type, size];
    format!("[{}]", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// Describes the size of Base64 data.
fn data(base64: Option<&Value>) -> String {
    match base64 {
        Some(Value::String(text)) if is_base64(text) => bytes(decoded(text)),
        Some(Value::Null) | None => "no data".to_owned(),
        Some(_) => "its data cannot be read".to_owned(),
    }
}

fn is_base64(text: &str) -> bool {
    let text = text.trim_end_matches(|char: char| char == '=' || char.is_ascii_whitespace());
    text.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte) || byte.is_ascii_whitespace()
    })
}

/// Number of bytes that a Base64 text stands for.
fn decoded(base64: &str) -> u64 {
    let digits = base64.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=').count();
    digits as u64 * 3 / 4
}

/// Formats a number of bytes, such as `12,345 bytes`.
fn bytes(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {}", if count == 1 { "byte" } else { "bytes" })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{McpOutput, bytes, decoded};

    fn output(result: Value) -> McpOutput {
        McpOutput::read(result)
    }

    #[test]
    fn text_alone_has_no_content() {
        let result = json!({
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b\nc"}],
            "isError": true,
        });
        assert_eq!(
            output(result),
            McpOutput { text: "a\nb\nc".into(), content: None, is_error: true }
        );
        assert_eq!(
            output(json!({"content": []})),
            McpOutput { text: String::new(), content: None, is_error: false }
        );
    }

    #[test]
    fn other_blocks_become_placeholders_and_keep_their_content() {
        let content = json!([
            {"type": "text", "text": "Look:"},
            {"type": "image", "mimeType": "image/png", "data": "AAAA"},
            {"type": "audio", "mimeType": "audio/wav", "data": "AA=="},
            {"type": "resource", "resource": {"uri": "file:///a.txt", "text": "hello"}},
            {
                "type": "resource",
                "resource": {
                    "uri": "file:///a.gz", "mimeType": "application/gzip", "blob": "AAAAAAA=",
                },
            },
            {"type": "resource_link", "name": "a", "uri": "file:///b", "size": 1234567},
        ]);
        let found = output(json!({"content": content}));
        let lines = [
            "Look:",
            "[image image/png, 3 bytes]",
            "[audio audio/wav, 1 byte]",
            "hello",
            "[resource file:///a.gz, application/gzip, 5 bytes]",
            "[resource link file:///b, 1,234,567 bytes]",
        ];
        assert_eq!(found.text.lines().collect::<Vec<_>>(), lines);
        assert_eq!(found.content, Some(json!({"content": content})));
    }

    #[test]
    fn structured_content_is_kept_and_stands_in_for_missing_text() {
        let structured = json!({"degrees": 21});
        let found = output(
            json!({"content": [{"type": "text", "text": "21°"}], "structuredContent": structured}),
        );
        assert_eq!(found.text, "21°");
        assert_eq!(found.content.unwrap()["structuredContent"], structured);
        assert_eq!(output(json!({"structuredContent": structured})).text, r#"{"degrees":21}"#);
    }

    #[test]
    fn unknown_blocks_become_placeholders() {
        let letter = json!({"type": "text", "text": "The letter is sent."});
        for (block, line) in [
            (json!({"type": "future", "x": 1}), "[content of the unknown kind `future`]"),
            (json!({"type": "note", "text": "hi"}), "[content of the unknown kind `note`] hi"),
            (
                json!({"type": "text", "text": null}),
                "[a text without content: the server sent null]",
            ),
            (json!({"type": "text"}), "[a text without content: the server sent null]"),
            (json!({"type": "text", "text": 7}), "7"),
            (json!({"type": "text", "text": "a", "annotations": {"priority": 9}, "_meta": 3}), "a"),
            (json!({"text": "bare"}), "bare"),
            (json!("bare"), "bare"),
            (json!(null), "[content without a kind, 4 bytes]"),
            (json!({"type": 5}), "[content without a kind, 10 bytes]"),
            (
                json!({"type": "image", "data": "%%%"}),
                "[image of an unknown type, its data cannot be read]",
            ),
            (json!({"type": "audio", "mimeType": "audio/wav"}), "[audio audio/wav, no data]"),
            (
                json!({"type": "resource", "resource": {"uri": "file:///a", "text": null}}),
                "[resource file:///a]",
            ),
            (json!({"type": "resource", "uri": "file:///a"}), "[resource file:///a]"),
            (json!({"type": "resource_link", "name": "a", "size": "x"}), "[resource link a]"),
        ] {
            let found = output(json!({"content": [block, letter], "more": {}}));
            let lines: Vec<_> = found.text.lines().collect();
            assert_eq!(lines, [line, "The letter is sent."], "{block}");
            assert!(!found.is_error);
        }
    }

    #[test]
    fn results_in_unusual_forms_are_read() {
        for (result, text) in [
            (json!({"content": "done"}), "done"),
            (json!({"content": {"type": "text", "text": "done"}}), "done"),
            (json!({"content": null, "structuredContent": {"n": 1}}), r#"{"n":1}"#),
            (json!({"content": [], "structuredContent": null}), ""),
            (json!({"toolResult": {"n": 1}, "_meta": {}}), r#"{"toolResult":{"n":1}}"#),
            (json!("done"), "done"),
            (json!([{"type": "text", "text": "done"}]), "done"),
            (Value::Null, ""),
        ] {
            assert_eq!(output(result.clone()).text, text, "{result}");
        }
        for (flag, is) in [
            (json!("true"), true),
            (json!("FALSE"), false),
            (json!(1), true),
            (json!(0), false),
            (json!(null), false),
            (json!({}), false),
            (json!(true), true),
        ] {
            assert_eq!(output(json!({"content": [], "isError": flag})).is_error, is, "{flag}");
        }
    }

    #[test]
    fn sizes_are_formatted_and_decoded() {
        assert_eq!(
            [0, 1, 999, 1_000, 12_345, 1_234_567].map(bytes),
            ["0 bytes", "1 byte", "999 bytes", "1,000 bytes", "12,345 bytes", "1,234,567 bytes"]
        );
        assert_eq!(["", "QQ==", "QUI=", "QUJD", "QUJDRA"].map(decoded), [0, 1, 2, 3, 4]);
    }
}
