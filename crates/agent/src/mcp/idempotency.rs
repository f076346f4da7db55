//! The idempotency key of a tool call: the call's id, the same on the first run and on repetitions.
//! A server that knows it can answer a repetition without a second effect.

use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::{
    CallToolRequestParams, ClientJsonRpcMessage, ClientRequest, JsonRpcMessage, RequestParamsMeta,
};
use serde_json::Value;
use thoughtwire_proto::CallId;

/// Name of the key in `_meta`. MCP has no name for it; the prefix keeps ours apart from others'.
const META_KEY: &str = "thoughtwire/idempotency-key";
/// Name of the header over HTTP.
const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// Adds the key to a call's `_meta`.
pub(super) fn add_key(params: &mut CallToolRequestParams, call: &CallId) {
    params.meta_or_default().insert(META_KEY.to_owned(), Value::String(call.as_str().to_owned()));
}

/// The header for a message that calls a tool; `None` for other messages.
pub(super) fn header(message: &ClientJsonRpcMessage) -> Option<(HeaderName, HeaderValue)> {
    let JsonRpcMessage::Request(request) = message else { return None };
    let ClientRequest::CallToolRequest(call) = &request.request else { return None };
    let key = call.params.meta()?.get(META_KEY)?.as_str()?;
    Some((HEADER, HeaderValue::from_str(key).ok()?))
}
