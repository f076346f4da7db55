//! Parts that the protocol endpoints share: a session's emissions as one request reads them, the
//! turn of one input, texts as they grow, and server-sent events.
//!
//! An endpoint has its own wire types and maps them to these. It knows no other endpoint.

mod caller;
mod growing_text;
mod input;
mod session_reader;
mod shown;
mod sse;
mod turn_reader;

pub(crate) use caller::chat_caller;
pub(crate) use growing_text::GrowingText;
pub(crate) use input::{CallAnswer, InputSender, once_id};
pub(crate) use session_reader::SessionReader;
pub(crate) use shown::is_shown;
pub(crate) use sse::{StreamCut, stream_events};
pub(crate) use turn_reader::{ClientTools, OpenToolCall, TurnPlace, TurnReader, TurnStep};
