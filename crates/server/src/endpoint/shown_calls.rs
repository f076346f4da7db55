//! Calls that clients of other protocols are shown.

/// Name of the tool that sends messages. Its messages are shown, so the call itself is not.
const SEND_MESSAGE: &str = "send_message";

/// Whether calls of a tool are shown.
pub(crate) fn is_shown(name: &str) -> bool {
    name != SEND_MESSAGE
}
