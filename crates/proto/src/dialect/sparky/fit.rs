//! Sparky frames within the size limit.

use super::codec::WsMessage;
use super::payload::Payload;
use crate::connection::Frame;
use crate::dialect::limit::FrameLimit;
use crate::dialect::python::Json;
use crate::dialect::shorten::{clipped, cut, shorten, shorten_frame};

/// Splits a long text into several frames of its kind, and shortens any other large frame.
pub(crate) fn fit(frame: Frame, limit: FrameLimit) -> Vec<Frame> {
    if frame.len() <= limit.bytes() {
        return vec![frame];
    }
    let frames = WsMessage::from_text(&frame).ok().and_then(|message| fitted(&message, limit));
    frames.unwrap_or_else(|| vec![shorten_frame(frame, limit)])
}

fn fitted(message: &WsMessage, limit: FrameLimit) -> Option<Vec<Frame>> {
    let with = |payload: Payload| WsMessage { payload, ..message.clone() }.to_text();
    match &message.payload {
        Payload::Message { text, file_id, task_id } => cut(text, limit, |piece| {
            with(Payload::Message {
                text: piece.to_owned(),
                file_id: file_id.clone(),
                task_id: task_id.clone(),
            })
        }),
        Payload::Thought { text, task_id } => cut(text, limit, |piece| {
            with(Payload::Thought { text: piece.to_owned(), task_id: task_id.clone() })
        }),
        Payload::Status { message, task_id } => cut(message, limit, |piece| {
            with(Payload::Status { message: piece.to_owned(), task_id: task_id.clone() })
        }),
        Payload::ToolResult { name, result, status, result_content, messages, task_id } => {
            cut(result, limit, |piece| {
                with(Payload::ToolResult {
                    name: name.clone(),
                    result: piece.to_owned(),
                    status: status.clone(),
                    result_content: result_content.clone(),
                    messages: messages.clone(),
                    task_id: task_id.clone(),
                })
            })
        }
        Payload::ToolUse { name, args, task_id } => {
            let with_args = |args: Json| {
                with(Payload::ToolUse { name: name.clone(), args, task_id: task_id.clone() })
            };
            let room = limit.bytes().checked_sub(with_args(Json::Dict(Vec::new())).len())?;
            let mut args = shorten(args.clone(), room);
            let text = args.dumps();
            if text.len() > room {
                // There are too many short values. Their text replaces them, which is still
                // readable.
                let room = room.checked_sub(r#"{"shortened": ""}"#.len())?;
                args = Json::Dict(vec![("shortened".to_owned(), Json::text(clipped(&text, room)))]);
            }
            Some(vec![with_args(args)])
        }
        Payload::Connect { .. }
        | Payload::Personality { .. }
        | Payload::StartChat { .. }
        | Payload::SwitchChat { .. }
        | Payload::SessionInfo { .. }
        | Payload::ToolLoadingProgress { .. }
        | Payload::Ready { .. }
        | Payload::ChatReady { .. }
        | Payload::Error { .. }
        | Payload::TokenUsage { .. }
        | Payload::TokenEstimate { .. } => None,
    }
}
