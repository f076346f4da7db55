//! Outputs that are too long for a prompt: they are cut, and the whole is stored beside the log.

use thoughtwire_proto::{CallId, SessionId};

use crate::numbers::grouped;

/// The cut text with a note, or nothing if the text fits.
pub(crate) fn cut(text: &str, limit: usize, session: &SessionId, call: &CallId) -> Option<String> {
    if text.len() <= limit {
        return None;
    }
    let part = text.get(..text.floor_char_boundary(limit)).unwrap_or_default();
    Some(format!(
        "{part}\n[cut here: {} of {} bytes are shown; the whole is kept at \
         /v1/sessions/{session}/calls/{call}/output]",
        grouped(part.len()),
        grouped(text.len())
    ))
}
