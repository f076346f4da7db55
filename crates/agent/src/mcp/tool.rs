//! A server's tools under names that models accept.

use std::collections::HashSet;

use rmcp::model::{Tool, ToolAnnotations};
use serde::Serialize;
use serde_json::Value;
use thoughtwire_proto::Replay;

/// Longest tool name that the APIs of model providers allow.
const LONGEST_NAME: usize = 64;

/// A tool of a connected server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct McpTool {
    /// Its full name, `server__tool`: 1 to 64 characters of `[A-Za-z0-9_-]`.
    pub name: String,
    /// Its server's name.
    pub server: String,
    /// The server's own name of the tool.
    pub tool: String,
    /// Description; may be empty.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub schema: Value,
    /// Its replay class, from its annotations: [`Replay::Safe`] if it says that it only reads or is
    /// idempotent, otherwise absent.
    pub replay: Option<Replay>,
}

/// Converts a server's tools to full names. A tool whose name does not fit, or clashes with an
/// earlier one, is left out. A shortened name might mean another tool later.
pub(super) fn fitted(server: &str, listed: Vec<Tool>) -> Vec<McpTool> {
    let mut taken = HashSet::new();
    let mut tools = Vec::with_capacity(listed.len());
    for tool in listed {
        let Some(name) = full_name(server, &tool.name) else {
            tracing::warn!(
                server,
                tool = ?tool.name,
                "MCP tool left out: its name does not fit into {LONGEST_NAME} characters"
            );
            continue;
        };
        if !taken.insert(name.clone()) {
            tracing::warn!(
                server,
                tool = ?tool.name,
                "MCP tool left out: another tool already has the name {name}"
            );
            continue;
        }
        tools.push(McpTool {
            name,
            server: server.to_owned(),
            tool: tool.name.into_owned(),
            description: tool.description.map(Into::into).or(tool.title).unwrap_or_default(),
            schema: Value::Object(tool.input_schema.as_ref().clone()),
            replay: tool.annotations.as_ref().and_then(replay),
        });
    }
    tools
}

/// The replay class from a tool's annotations. Whether the tool also says that it destroys does not
/// matter: repeating an idempotent call destroys nothing more.
fn replay(annotations: &ToolAnnotations) -> Option<Replay> {
    let is_said = |hint: Option<bool>| hint.unwrap_or(false);
    let is_safe = is_said(annotations.read_only_hint) || is_said(annotations.idempotent_hint);
    is_safe.then_some(Replay::Safe)
}

/// The server in a full name.
pub(super) fn server_of(full_name: &str) -> Option<&str> {
    // A server's name has no `__` and no `_` at its end, so the first `__` ends it.
    full_name.split_once("__").map(|(server, _)| server)
}

fn full_name(server: &str, tool: &str) -> Option<String> {
    let fit = |char: char| {
        if char.is_ascii_alphanumeric() || matches!(char, '_' | '-') { char } else { '_' }
    };
    let name: String = format!("{server}__").chars().chain(tool.chars().map(fit)).collect();
    (!tool.is_empty() && name.len() <= LONGEST_NAME).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rmcp::model::{Tool, ToolAnnotations};
    use thoughtwire_proto::Replay;

    use super::{fitted, full_name, replay, server_of};

    #[test]
    fn tool_names_are_converted() {
        let long = "x".repeat(59);
        for (tool, name) in [
            ("echo", Some("web__echo")),
            ("get-sum", Some("web__get-sum")),
            ("files/read.txt", Some("web__files_read_txt")),
            ("größe", Some("web__gr__e")),
            ("_hidden", Some("web___hidden")),
            (&long, Some(&*format!("web__{long}"))),
            (&*format!("{long}y"), None),
            ("", None),
        ] {
            let found = full_name("web", tool);
            assert_eq!(found.as_deref(), name);
            assert!(found.is_none_or(|found| server_of(&found) == Some("web")));
        }
        assert_eq!(server_of("calculator"), None);
    }

    #[test]
    fn reading_and_idempotent_tools_are_safe_to_repeat() {
        let (yes, no) = (Some(true), Some(false));
        for (read_only, idempotent, destructive, class) in [
            (yes, None, None, Some(Replay::Safe)),
            (None, yes, None, Some(Replay::Safe)),
            (no, yes, yes, Some(Replay::Safe)),
            (yes, no, yes, Some(Replay::Safe)),
            (no, no, no, None),
            (None, None, no, None),
            (None, None, yes, None),
            (None, None, None, None),
        ] {
            let annotations =
                ToolAnnotations::from_raw(None, read_only, destructive, idempotent, None);
            assert_eq!(replay(&annotations), class, "{annotations:?}");
        }
    }

    #[test]
    fn of_two_tools_with_one_name_the_first_is_kept() {
        let tool = |name: &'static str, about: &'static str| {
            Tool::new(name, about, Arc::new(serde_json::Map::new()))
        };
        let tools = fitted(
            "web",
            vec![tool("a.b", "first"), tool("a/b", "second"), tool("", "none"), tool("c", "third")],
        );
        let found: Vec<_> =
            tools.iter().map(|tool| (&*tool.name, &*tool.tool, &*tool.description)).collect();
        assert_eq!(found, [("web__a_b", "a.b", "first"), ("web__c", "c", "third")]);
    }
}
