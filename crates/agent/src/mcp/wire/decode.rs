//! Decodes lines and events of a server into JSON-RPC messages.

use rmcp::model::{ErrorCode, ErrorData, RequestId, ServerJsonRpcMessage};
use serde_json::{Map, Value, json};

use super::open_requests::{OpenRequests, RequestKind};
use super::repair::repaired;
use super::result;

/// Key in an error's data that marks an answer that could not be read.
const UNREAD: &str = "thoughtwire/unread";
/// Number of opening braces behind other text that are tried as the beginning of a message.
const MAX_TRIES: usize = 4;
/// Number of bytes at each end of a broken text that are searched for its id.
const ENDS: usize = 2_000;

/// Decodes the messages in a line or in the data of an event. Other text, such as a log line, is
/// skipped. An answer that cannot be read becomes an error of its request.
pub(in crate::mcp) fn decode(bytes: &[u8], open: &OpenRequests) -> Vec<ServerJsonRpcMessage> {
    let text = String::from_utf8_lossy(bytes);
    // JSON contains no zero byte; between ASCII it is the other half of a UTF-16 character.
    let text = text.replace('\0', "");
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Vec::new();
    }
    match values(text) {
        Ok(values) => values
            .into_iter()
            .flat_map(flattened)
            .filter_map(|value| message(value, open))
            .collect(),
        Err(reason) => broken(text, &reason, open).into_iter().collect(),
    }
}

/// Creates the error of the request whose answer is too long. Only the beginning and the end of the
/// answer are known.
pub(in crate::mcp) fn decode_cut(
    begin: &[u8],
    end: &[u8],
    max: usize,
    open: &OpenRequests,
) -> Option<ServerJsonRpcMessage> {
    let text = format!("{} {}", String::from_utf8_lossy(begin), String::from_utf8_lossy(end));
    broken(text.trim(), &format!("it is longer than {max} bytes"), open)
}

/// Creates the error of a request whose answer cannot be read.
pub(in crate::mcp) fn unread(id: RequestId, reason: &str) -> ServerJsonRpcMessage {
    let data = Some(json!({UNREAD: true}));
    let error = ErrorData::new(ErrorCode::PARSE_ERROR, reason.to_owned(), data);
    ServerJsonRpcMessage::error(error, Some(id))
}

/// The reason why an answer could not be read, if the error says so.
pub(in crate::mcp) fn unread_reason(error: &ErrorData) -> Option<&str> {
    error.data.as_ref()?.get(UNREAD)?;
    Some(&error.message)
}

/// Parses the JSON values of a text, or returns the parser's error.
fn values(text: &str) -> Result<Vec<Value>, String> {
    let first = match several(text) {
        Ok(values) => return Ok(values),
        Err(error) => error,
    };
    if let Ok(values) = several(&repaired(text)) {
        return Ok(values);
    }
    // A progress report without a line end may stand before the message.
    if !text.starts_with('{') {
        let braces = text.match_indices('{').take(MAX_TRIES);
        let behind = braces.filter_map(|(at, _)| text.get(at..)).map(|rest| (rest, several(rest)));
        for (rest, found) in behind {
            match found.or_else(|_| several(&repaired(rest))) {
                Ok(values) if values.iter().any(is_message) => return Ok(values),
                Ok(_) | Err(_) => {}
            }
        }
    }
    Err(first)
}

/// Parses values that follow each other. Text behind the last message is skipped.
fn several(text: &str) -> Result<Vec<Value>, String> {
    let mut values = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match value {
            Ok(value) => values.push(value),
            Err(_) if values.iter().any(is_message) => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(values)
}

fn is_message(value: &Value) -> bool {
    let has = |key: &str| value.get(key).is_some();
    has("jsonrpc") || has("method") || (has("id") && (has("result") || has("error")))
}

/// The messages of a batch, or the one message.
fn flattened(value: Value) -> Vec<Value> {
    match value {
        Value::Array(batch) => batch,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            vec![value]
        }
    }
}

fn message(value: Value, open: &OpenRequests) -> Option<ServerJsonRpcMessage> {
    if !is_message(&value) {
        return None;
    }
    let Value::Object(fields) = value else { return None };
    if fields.get("method").is_some_and(Value::is_string) {
        return request_or_notification(fields);
    }
    answer(fields, open)
}

/// Parses a request or a notification from the server.
fn request_or_notification(mut fields: Map<String, Value>) -> Option<ServerJsonRpcMessage> {
    fields.retain(|key, value| {
        matches!(key.as_str(), "method" | "params" | "id") && !value.is_null()
    });
    fields.insert("jsonrpc".to_owned(), json!("2.0"));
    match serde_json::from_str(&Value::Object(fields).to_string()) {
        Ok(message) => Some(message),
        Err(error) => {
            tracing::debug!(%error, "a message of an MCP server cannot be read");
            None
        }
    }
}

fn answer(mut fields: Map<String, Value>, open: &OpenRequests) -> Option<ServerJsonRpcMessage> {
    let id = match fields.remove("id") {
        // A server that lost the id answers the only open request.
        None | Some(Value::Null) => open.only(),
        Some(id) => open.find(&id),
    }?;
    let asked = open.take(&id)?;
    let result = fields.remove("result").filter(|result| !result.is_null());
    let error = fields.remove("error").filter(|error| match error {
        Value::Null => false,
        // Beside a result, these values mean "no error".
        Value::Bool(false) => result.is_none(),
        Value::String(text) => result.is_none() || !text.is_empty(),
        Value::Object(empty) => result.is_none() || !empty.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::Array(_) => true,
    });
    Some(match (error, result) {
        (Some(error), _) => ServerJsonRpcMessage::error(error_data(&error), Some(id)),
        (None, None) if asked == RequestKind::Other => {
            ServerJsonRpcMessage::response(result::fitted(&asked, json!({})), id)
        }
        (None, result) => {
            let result = result.unwrap_or_default();
            ServerJsonRpcMessage::response(result::fitted(&asked, result), id)
        }
    })
}

/// Converts an error of the server. Missing fields get defaults.
fn error_data(error: &Value) -> ErrorData {
    let code = error.get("code").and_then(|code| match code {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    });
    let code = code.and_then(|code| i32::try_from(code).ok());
    let message = match error.get("message") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => error.as_str().map_or_else(|| error.to_string(), str::to_owned),
        Some(other) => other.to_string(),
    };
    let code = code.map_or(ErrorCode::INTERNAL_ERROR, ErrorCode);
    // The server's data is dropped: only our own data may say that an answer could not be read.
    ErrorData::new(code, message, None)
}

/// Creates the error for a broken text, if the text is an answer to a request.
fn broken(text: &str, reason: &str, open: &OpenRequests) -> Option<ServerJsonRpcMessage> {
    let (begin, end) = ends(text);
    let either = |word: &str| begin.contains(word) || end.contains(word);
    let is_answer = begin.starts_with('{') || end.ends_with('}');
    if !is_answer || !(either("\"id\"") && either("\"result\"") || either("\"jsonrpc\"")) {
        tracing::debug!("an MCP server sent a line that is not a message");
        return None;
    }
    let contents = ["\"result\"", "\"error\"", "\"params\""];
    let head = contents.iter().filter_map(|key| begin.find(key)).min().unwrap_or(begin.len());
    let (head, _) = begin.split_at_checked(head).unwrap_or_default();
    let known = first_id(head).or_else(|| last_id(end)).and_then(|id| open.find(&id));
    let is_told = begin.contains("\"method\"");
    let id = known.or_else(|| if is_told { None } else { open.only() })?;
    tracing::warn!(reason, "an answer of an MCP server cannot be read");
    open.take(&id)?;
    Some(unread(id, reason))
}

/// The beginning and the end of a text.
fn ends(text: &str) -> (&str, &str) {
    let begin = text.get(..text.floor_char_boundary(ENDS)).unwrap_or_default();
    let from = text.ceil_char_boundary(text.len().saturating_sub(ENDS));
    (begin, text.get(from..).unwrap_or_default())
}

/// The id before a message's contents.
fn first_id(head: &str) -> Option<Value> {
    let (_, rest) = head.split_once("\"id\"")?;
    id(rest).map(|(id, _)| id)
}

/// The id behind a message's contents. An id inside the contents does not count.
fn last_id(end: &str) -> Option<Value> {
    let (_, rest) = end.rsplit_once("\"id\"")?;
    let (id, rest) = id(rest)?;
    let rest = rest.trim_start();
    (rest == "}" || rest.starts_with(',') && rest.contains("\"jsonrpc\"")).then_some(id)
}

/// The number or text behind the key, and the rest.
fn id(rest: &str) -> Option<(Value, &str)> {
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = match rest.strip_prefix('"') {
        Some(text) => text.find('"')? + 2,
        None => rest.find([',', '}', ' ']).unwrap_or(rest.len()),
    };
    let (id, rest) = rest.split_at_checked(end)?;
    Some((serde_json::from_str(id).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rmcp::model::{
        CallToolRequestParams, ClientJsonRpcMessage, ClientRequest, NumberOrString, Request,
        ServerJsonRpcMessage,
    };

    use super::{OpenRequests, decode, decode_cut, unread_reason};
    use crate::mcp::McpOutput;
    use crate::mcp::wire::whole;

    /// Outcomes of the calls 1 to `calls` after the server sent some bytes.
    fn after(bytes: &[u8], calls: i64) -> Vec<String> {
        let open = OpenRequests::default();
        for id in 1..=calls {
            let request =
                ClientRequest::CallToolRequest(Request::new(CallToolRequestParams::new("act")));
            open.sent(&ClientJsonRpcMessage::request(request, NumberOrString::Number(id)));
        }
        decode(bytes, &open).into_iter().map(outcome).collect()
    }

    fn outcome(message: ServerJsonRpcMessage) -> String {
        match message {
            ServerJsonRpcMessage::Response(response) => {
                let Ok(result) =
                    serde_json::from_value(serde_json::to_value(&response.result).unwrap())
                else {
                    return format!("{} another result", response.id);
                };
                format!("{} {}", response.id, McpOutput::read(whole(result)).text)
            }
            ServerJsonRpcMessage::Error(error) => {
                let id = error.id.map_or_else(String::new, |id| id.to_string());
                match unread_reason(&error.error) {
                    Some(_) => format!("{id} unread"),
                    None => format!("{id} error {} {}", error.error.code.0, error.error.message),
                }
            }
            ServerJsonRpcMessage::Request(_) => "request".to_owned(),
            ServerJsonRpcMessage::Notification(_) => "notification".to_owned(),
        }
    }

    #[test]
    fn answers_with_small_errors_are_read() {
        let said = r#""result":{"content":[{"type":"text","text":"ok"}]}"#;
        let line = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},{said}}}"#);
        for text in [
            line("1"),
            line("\"1\""),
            line("1.0"),
            format!("\u{feff}{}\r", line("1")),
            format!("Loading… {}", line("1")),
            format!("[info] done {}", line("1")),
            format!("{} trailing words", line("1")),
            format!(r#"{{"id":1,{said}}}"#),
            format!(r#"{{"jsonrpc":2.0,"id":1,{said},"error":null,"more":[]}}"#),
            format!(r#"{{"jsonrpc":"2.0","id":1,{said},"error":{{}}}}"#),
            format!(r#"{{"jsonrpc":"2.0","id":null,{said}}}"#),
            format!("[{}]", line("1")),
            format!("[7,null,{}]", line("1")),
            r#"{"jsonrpc":"2.0","id":1,"result":"ok"}"#.to_owned(),
        ] {
            assert_eq!(after(text.as_bytes(), 1), ["1 ok"], "{text}");
        }
        let two = format!("{}{}", line("2"), line("1"));
        assert_eq!(after(two.as_bytes(), 2), ["2 ok", "1 ok"]);
        assert_eq!(after(format!("[{},{}]", line("1"), line("2")).as_bytes(), 2), ["1 ok", "2 ok"]);
    }

    #[test]
    fn invalid_bytes_and_surrogates_are_replaced() {
        let line: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\
            \"content\":[{\"type\":\"text\",\"text\":\"caf\xe9 \\ud83d\"}]}}";
        assert_eq!(after(line, 1), ["1 caf\u{fffd} \u{fffd}"]);
    }

    #[test]
    fn utf_16_is_read_as_far_as_it_is_ascii() {
        let line = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"ok"}]}}"#;
        let units = std::iter::once(0xFEFF).chain(line.encode_utf16());
        let bytes: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
        assert_eq!(after(&bytes, 1), ["1 ok"]);
    }

    #[test]
    fn an_answer_that_cannot_be_read_fails_its_call() {
        let deep = "[".repeat(5_000);
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"first line"#
                .to_owned(),
            r#"{"jsonrpc":"2.0","result":{"content":[oops]},"id":1}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":"1","result":<html>}"#.to_owned(),
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{deep}"#),
            format!(r#"{{"jsonrpc":"2.0","result":{deep},"id":1}}"#),
            r#"{"jsonrpc":"2.0","result":{"content":[oops"#.to_owned(),
        ] {
            assert_eq!(after(text.as_bytes(), 1), ["1 unread"], "{text}");
        }
        // With two open calls, only a known id says which one is meant.
        let nothing: [&str; 0] = [];
        assert_eq!(after(br#"{"jsonrpc":"2.0","result":{"content":[oops"#, 2), nothing);
        assert_eq!(
            after(br#"{"jsonrpc":"2.0","id":2,"result":{"content":[{"id":1},oops"#, 2),
            ["2 unread"]
        );
        assert_eq!(
            after(br#"{"jsonrpc":"2.0","result":{"a":{"id":1},oops},"id":2}"#, 2),
            ["2 unread"]
        );
        assert_eq!(after(br#"{"jsonrpc":"2.0","result":{"a":{"id":1},oops"#, 2), nothing);
    }

    #[test]
    fn other_lines_do_not_answer_a_call() {
        let nothing: [&str; 0] = [];
        for text in [
            "",
            "  ",
            "Server is listening.",
            "[info] {not json}",
            "{\"level\":\"info\",\"msg\":\"up\"}",
            "42",
            "{\"level\":\"info\",oops",
            r#"{"jsonrpc":"2.0","method":"x/y","params":{oops"#,
            r#"{"jsonrpc":"2.0","id":9,"result":{}}"#,
        ] {
            assert_eq!(after(text.as_bytes(), 1), nothing, "{text}");
        }
        for text in [
            r#"{"jsonrpc":"2.0","method":"notifications/future","params":{"x":1}}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"notifications/message","params":null}"#,
        ] {
            assert_eq!(after(text.as_bytes(), 1), ["notification"], "{text}");
        }
        assert_eq!(after(br#"{"jsonrpc":"2.0","id":1,"method":"future/ask"}"#, 1), ["request"]);
    }

    #[test]
    fn errors_are_read_in_any_form() {
        for (error, told) in [
            (r#"{"code":-32000,"message":"Out of tea"}"#, "1 error -32000 Out of tea"),
            (
                r#"{"code":"-32000","message":"Out of tea","data":{"thoughtwire/unread":true}}"#,
                "1 error -32000 Out of tea",
            ),
            (r#""Out of tea""#, "1 error -32603 Out of tea"),
            (r#"{"message":null}"#, r#"1 error -32603 {"message":null}"#),
            (r#"{"code":99999999999,"message":{"a":1}}"#, r#"1 error -32603 {"a":1}"#),
        ] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":1,"result":null,"error":{error}}}"#);
            assert_eq!(after(line.as_bytes(), 1), [told]);
        }
    }

    #[test]
    fn a_line_that_is_too_long_fails_its_call() {
        let open = OpenRequests::default();
        for id in [4, 5] {
            let request =
                ClientRequest::CallToolRequest(Request::new(CallToolRequestParams::new("act")));
            open.sent(&ClientJsonRpcMessage::request(request, NumberOrString::Number(id)));
        }
        let cut = decode_cut(
            br#"{"jsonrpc":"2.0","result":{"content":[{"#,
            br#"x"}]},"id":5}"#,
            10,
            &open,
        );
        assert_eq!(cut.map(outcome).as_deref(), Some("5 unread"));
        assert!(
            open.has(&NumberOrString::Number(4))
                && !open.has(&NumberOrString::String(Arc::from("5")))
        );
    }
}
