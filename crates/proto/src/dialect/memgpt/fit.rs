//! `MemGPT` frames within the size limit.

use super::codec::{MemgptFrame, MemgptServerFrame};
use crate::connection;
use crate::dialect::limit::FrameLimit;
use crate::dialect::python::Json;
use crate::dialect::shorten::{cut, shorten_frame};

/// Splits a long text into several frames of its kind, and shortens any other large frame.
pub(crate) fn fit(frame: connection::Frame, limit: FrameLimit) -> Vec<connection::Frame> {
    if frame.len() <= limit.bytes() {
        return vec![frame];
    }
    let whole = match MemgptFrame::decode(&frame) {
        Ok(MemgptFrame::Server(MemgptServerFrame::Response(response, Json::Text(text)))) => {
            cut(&text, limit, |piece| MemgptServerFrame::response(response, piece).encode())
        }
        Ok(_) | Err(_) => None,
    };
    whole.unwrap_or_else(|| vec![shorten_frame(frame, limit)])
}
