//! Entries of `history` in `connect`.
#![allow(clippy::wildcard_enum_match_arm, reason = "JSON has these kinds and no others")]

use crate::dialect::python::Json;
use crate::{HistoryEntry, Role};

/// Reads an entry: `role`, and one of `content`, `text` and `parts`, as clients of language models
/// have them. The error is a sentence for the client.
pub(super) fn entry(json: &Json) -> Result<HistoryEntry, String> {
    let role = match json.get("role") {
        Some(Json::Text(role)) if role == "user" => Role::User,
        Some(Json::Text(role)) if matches!(role.as_str(), "assistant" | "model" | "bot") => {
            Role::Assistant
        }
        Some(other) => return Err(format!("history: there is no role {}", other.dumps())),
        None => return Err("history: an entry needs a \"role\"".to_owned()),
    };
    let text = match (json.get("content").or_else(|| json.get("text")), json.get("parts")) {
        (Some(Json::Text(text)), _) => text.clone(),
        (None, Some(Json::List(parts))) => {
            let texts: Vec<String> = parts
                .iter()
                .filter_map(|part| match (part, part.get("text")) {
                    (Json::Text(text), _) | (_, Some(Json::Text(text))) => Some(text.clone()),
                    (_, _) => None,
                })
                .collect();
            texts.join("\n")
        }
        (_, _) => {
            return Err(
                "history: an entry needs \"content\" (a string) or \"parts\" (an array)".to_owned()
            );
        }
    };
    Ok(HistoryEntry { role, text })
}
