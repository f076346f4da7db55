//! Sparky's `WSMessage` protocol in both generations: commit 932ae57, which has `session_id` and
//! `session_info`, and the later one without them (see [`Generation`]).
//!
//! ```
//! use thoughtwire_proto::dialect::sparky::{WsMessage, Payload};
//! let message = WsMessage::from_text(r#"{"type": "message", "data": "Hello"}"#)?;
//! assert!(matches!(&message.payload, Payload::Message { text, .. } if text == "Hello"));
//! assert_eq!(message.to_text(), r#"{"type": "message", "data": {"text": "Hello"}}"#);
//! # Ok::<(), thoughtwire_proto::Refusal>(())
//! ```

mod chats;
mod codec;
mod encode;
mod fields;
mod fit;
mod history;
mod machine;
mod payload;
mod replies;
mod step;
mod tools;

pub use codec::{WsMessage, normalise, render};
pub use encode::encode;
pub(crate) use fit::fit;
pub use machine::SparkyMachine;
pub use payload::{Generation, Payload};
pub use tools::{Loading, ServerLoading, Tools};
