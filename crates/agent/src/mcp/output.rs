//! What a server's tool came back with, as text for a model.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::Value;

use super::McpOutput;
use crate::memory::grouped;

impl From<CallToolResult> for McpOutput {
    fn from(result: CallToolResult) -> Self {
        let only_text = result.structured_content.is_none() && result.content.iter().all(|block| matches!(block, ContentBlock::Text(_)));
        let lines: Vec<String> = result.content.iter().map(line).collect();
        let text = match (&result.structured_content, lines.is_empty()) {
            (Some(content), true) => content.to_string(),
            (Some(_) | None, _) => lines.join("\n"),
        };
        let is_error = result.is_error == Some(true);
        let content = if only_text { None } else { serde_json::to_value(&result).ok() };
        Self { text, content, is_error }
    }
}

/// A block as a line: texts as they are, all else named.
fn line(block: &ContentBlock) -> String {
    let encoded = |kind: &str, mime: &str, data: &str| format!("[{kind} {mime}, {} bytes]", grouped(data.len() / 4 * 3));
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => encoded("image", &image.mime_type, &image.data),
        ContentBlock::Audio(audio) => encoded("audio", &audio.mime_type, &audio.data),
        ContentBlock::Resource(resource) => match &resource.resource {
            ResourceContents::TextResourceContents { text, .. } => text.clone(),
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                encoded(&format!("resource {uri}"), mime_type.as_deref().unwrap_or("of unknown type"), blob)
            }
            other => serde_json::to_string(other).unwrap_or_default(),
        },
        ContentBlock::ResourceLink(link) => format!("[resource {}: {}]", link.name, link.uri),
        // A kind that this version of the library knows and we do not.
        other => serde_json::to_value(other).map(|value: Value| value.to_string()).unwrap_or_default(),
    }
}
