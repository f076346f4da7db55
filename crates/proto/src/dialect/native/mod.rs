//! `thoughtwire.v1`, the native dialect: positions, resume, acknowledgements, cancel, approvals,
//! deltas.
//!
//! Frames are JSON texts with a `type`. Optional keys are absent, never null. Unknown keys are
//! ignored, and the last of duplicate keys counts. Both directions are decoded and encoded, so
//! clients can be written with this module.
//!
//! ```
//! use thoughtwire_proto::dialect::native::{ClientBody, ClientFrame, ServerFrame};
//!
//! let send = ClientFrame::decode(r#"{"type":"send","id":"m1","session":"s-1","text":"Hello"}"#)?;
//! assert!(matches!(send.body, ClientBody::Send { ref text, .. } if text == "Hello"));
//! assert_eq!(send.encode(), r#"{"type":"send","id":"m1","session":"s-1","text":"Hello"}"#);
//!
//! let pong = ServerFrame::decode(r#"{"type":"pong"}"#)?;
//! assert_eq!(pong, ServerFrame::Pong { id: None });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The dialect does not check whether the things that a frame names exist. The hub does.

mod client;
mod encode;
mod fields;
mod id_scan;
mod line;
mod machine;
mod offer;
mod part;
#[cfg(test)]
mod python_types;
#[cfg(test)]
mod schemas;
mod server;
#[cfg(test)]
mod typescript;
mod wire;

pub use client::{ClientBody, ClientFrame, Undecoded};
pub use encode::encode;
pub use line::{normalise, render};
pub use machine::NativeMachine;
pub(crate) use part::fit;
pub use part::{FramePart, PartJoiner};
pub use server::{Ack, Acked, AttachedFrame, ConnectionLimits, RefusedFrame, ServerFrame};

/// Name of the protocol, in `welcome` and as the WebSocket sub-protocol.
pub const PROTOCOL: &str = "thoughtwire.v1";
