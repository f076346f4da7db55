//! Sparky's `WSMessage` protocol, as its commit 932ae57 documents it; fields that later commits
//! added are read and written where they are present.
//!
//! ```
//! use thoughtwire_proto::dialect::sparky::{Message, Payload};
//! let message = Message::from_text(r#"{"type": "message", "data": "Hello"}"#)?;
//! assert!(matches!(&message.payload, Payload::Message { text, .. } if text == "Hello"));
//! assert_eq!(message.to_text(), r#"{"type": "message", "data": {"text": "Hello"}}"#);
//! # Ok::<(), thoughtwire_proto::Refusal>(())
//! ```

mod codec;
mod encode;
mod fields;
mod fit;
mod machine;
mod payload;

pub use codec::{Message, normalise, render};
pub use encode::encode;
pub(crate) use fit::fit;
pub use machine::{Loading, SparkyMachine, ToolLoading};
pub use payload::Payload;
