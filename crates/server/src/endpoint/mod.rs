//! Parts that the protocol endpoints share: callers, the session and the news of a request, what
//! was said before it, a session's emissions as one request reads them, the turn of one input,
//! texts as they grow, and server-sent events.
//!
//! An endpoint has its own wire types and maps them to these. It knows no other endpoint.

mod caller;
mod conversation;
mod growing_text;
mod input;
mod past;
mod session_locks;
mod session_opener;
mod session_reader;
mod shown_calls;
mod sse;
mod turn_reader;

pub(crate) use caller::{authorize, is_below};
pub(crate) use conversation::{RequestConversation, RequestMessage};
pub(crate) use growing_text::{GrowingText, common_bytes};
pub(crate) use input::{CallAnswer, InputSender, call_answer_id, end_turn, once_id};
pub(crate) use past::past_through;
pub(crate) use session_locks::SessionLocks;
pub(crate) use session_opener::{SessionName, SessionOpener};
pub(crate) use session_reader::SessionReader;
pub(crate) use shown_calls::{is_shown, name_of, shorten, show_args};
pub(crate) use sse::{SseEvents, StreamCut, TurnEvents, stream_events, turn_stream};
pub(crate) use turn_reader::{ClientTools, OpenToolCall, TurnPlace, TurnReader, TurnStep};
