//! What a tool gave back, in words.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde::Serialize;
use serde_json::{Value, json};

/// What a tool gave back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct McpOutput {
    /// Its text: a line for each block of content, with a placeholder for what is not text.
    pub text: String,
    /// `{"content": […], "structuredContent": …}` as the server sent it, where it is more than text.
    pub content: Option<Value>,
    /// Whether the tool calls this an error.
    pub is_error: bool,
}

impl From<CallToolResult> for McpOutput {
    fn from(result: CallToolResult) -> Self {
        let lines: Vec<String> = result.content.iter().map(words).collect();
        let only_text = result.content.iter().all(|block| block.as_text().is_some());
        let mut text = lines.join("\n");
        if let (true, Some(structured)) = (result.content.is_empty(), &result.structured_content) {
            text = structured.to_string();
        }
        let content = match (only_text, result.structured_content) {
            (true, None) => None,
            (false, None) => Some(json!({"content": result.content})),
            (true | false, Some(structured)) => {
                Some(json!({"content": result.content, "structuredContent": structured}))
            }
        };
        Self { text, content, is_error: result.is_error.unwrap_or(false) }
    }
}

fn words(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => {
            format!("[image {}, {}]", image.mime_type, bytes(decoded(&image.data)))
        }
        ContentBlock::Audio(audio) => {
            format!("[audio {}, {}]", audio.mime_type, bytes(decoded(&audio.data)))
        }
        ContentBlock::Resource(embedded) => match &embedded.resource {
            ResourceContents::TextResourceContents { text, .. } => text.clone(),
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                placeholder("resource", uri, mime_type.as_deref(), Some(decoded(blob)))
            }
            _ => "[resource of an unknown kind]".to_owned(),
        },
        ContentBlock::ResourceLink(link) => {
            placeholder("resource link", &link.uri, link.mime_type.as_deref(), link.size)
        }
        _ => "[content of an unknown kind]".to_owned(),
    }
}

fn placeholder(kind: &str, uri: &str, mime_type: Option<&str>, size: Option<u64>) -> String {
    let parts = [Some(format!("{kind} {uri}")), mime_type.map(str::to_owned), size.map(bytes)];
    format!("[{}]", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// How many bytes a Base64 text stands for.
fn decoded(base64: &str) -> u64 {
    let digits = base64.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=').count();
    digits as u64 * 3 / 4
}

/// `12,345 bytes`.
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
    use rmcp::model::CallToolResult;
    use serde_json::{Value, json};

    use super::{McpOutput, bytes, decoded};

    fn output(result: Value) -> McpOutput {
        serde_json::from_value::<CallToolResult>(result).unwrap().into()
    }

    #[test]
    fn text_alone_has_no_content() {
        let result = json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b\nc"}], "isError": true});
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
            {"type": "resource", "resource": {"uri": "file:///a.gz", "mimeType": "application/gzip", "blob": "AAAAAAA="}},
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
    fn sizes() {
        assert_eq!(
            [0, 1, 999, 1_000, 12_345, 1_234_567].map(bytes),
            ["0 bytes", "1 byte", "999 bytes", "1,000 bytes", "12,345 bytes", "1,234,567 bytes"]
        );
        assert_eq!(["", "QQ==", "QUI=", "QUJD", "QUJDRA"].map(decoded), [0, 1, 2, 3, 4]);
    }
}
