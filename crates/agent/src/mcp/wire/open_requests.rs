//! Requests that a server has not answered yet.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rmcp::model::{ClientJsonRpcMessage, ClientNotification, ClientRequest, RequestId};
use serde_json::Value;

/// Kind of a request, which decides how its result is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mcp) enum RequestKind {
    Initialize { version: String },
    ListTools,
    CallTool,
    Other,
}

/// Requests of one connection without an answer. Clones share them. Their number is that of the
/// running calls.
#[derive(Clone, Default)]
pub(in crate::mcp) struct OpenRequests(Arc<Mutex<HashMap<RequestId, RequestKind>>>);

impl OpenRequests {
    /// Records a message that is sent.
    pub(in crate::mcp) fn sent(&self, message: &ClientJsonRpcMessage) {
        match message {
            ClientJsonRpcMessage::Request(request) => {
                let asked = asked(&request.request);
                self.lock().insert(request.id.clone(), asked);
            }
            ClientJsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) =
                    &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.lock().remove(id);
                }
            }
            ClientJsonRpcMessage::Response(_) | ClientJsonRpcMessage::Error(_) => {}
        }
    }

    /// Removes a request that is answered or cancelled.
    pub(in crate::mcp) fn take(&self, id: &RequestId) -> Option<RequestKind> {
        self.lock().remove(id)
    }

    #[cfg(test)]
    pub(in crate::mcp) fn has(&self, id: &RequestId) -> bool {
        self.lock().contains_key(id)
    }

    /// Finds the open request for an id: some servers write `"1"` or `1.0` for `1`.
    pub(super) fn find(&self, id: &Value) -> Option<RequestId> {
        let number = || match id {
            Value::Number(number) => number.as_i64().or_else(|| {
                let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
                format!("{float:.0}").parse().ok()
            }),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let text = id.as_str().map(|text| RequestId::String(text.into()));
        let open = self.lock();
        text.into_iter()
            .chain(number().map(RequestId::Number))
            .find(|candidate| open.contains_key(candidate))
    }

    /// The one open request, if there is exactly one.
    pub(super) fn only(&self) -> Option<RequestId> {
        let open = self.lock();
        let mut ids = open.keys();
        ids.next().filter(|_| ids.next().is_none()).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, RequestKind>> {
        self.0.lock()
    }
}

fn asked(request: &ClientRequest) -> RequestKind {
    if let ClientRequest::InitializeRequest(request) = request {
        RequestKind::Initialize { version: request.params.protocol_version.to_string() }
    } else if let ClientRequest::ListToolsRequest(_) = request {
        RequestKind::ListTools
    } else if let ClientRequest::CallToolRequest(_) = request {
        RequestKind::CallTool
    } else {
        RequestKind::Other
    }
}
