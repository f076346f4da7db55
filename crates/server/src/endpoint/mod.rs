//! Parts that the protocol endpoints share: a session's emissions as one request reads them, the
//! turn of one input, what was said before it, texts as they grow, and server-sent events.
//!
//! An endpoint has its own wire types and maps them to these. It knows no other endpoint.

mod growing_text;
mod input;
mod past;
mod session_locks;
mod session_reader;
mod shown;
mod sse;
mod turn_reader;

pub(crate) use growing_text::GrowingText;
pub(crate) use input::{CallAnswer, InputSender, call_answer_id, once_id};
pub(crate) use past::past_through;
pub(crate) use session_locks::SessionLocks;
pub(crate) use session_reader::SessionReader;
pub(crate) use shown::{is_shown, name_of, shorten, show_args};
pub(crate) use sse::{StreamCut, stream_events};
pub(crate) use turn_reader::{ClientTools, OpenToolCall, TurnPlace, TurnReader, TurnStep};
