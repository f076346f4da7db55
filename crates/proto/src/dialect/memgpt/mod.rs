//! `MemGPT`'s WebSocket protocol, as `pymemgpt` 0.2.5 to 0.3.25 speak it.
//!
//! ```
//! use thoughtwire_proto::dialect::memgpt::{MemgptClientFrame, MemgptFrame};
//! let frame = r#"{"type": "command", "command": "load_agent", "name": "ada"}"#;
//! let frame = MemgptFrame::decode(frame)?;
//! let MemgptFrame::Client(MemgptClientFrame::LoadAgent { name }) = frame else { panic!() };
//! assert_eq!(name.map(|name| name.to_str()).as_deref(), Some("ada"));
//! # Ok::<(), thoughtwire_proto::Refusal>(())
//! ```

mod codec;
mod earlier_inputs;
mod encode;
mod fit;
mod machine;

pub use codec::{
    AgentKey, MemgptClientFrame, MemgptFrame, MemgptServerFrame, ResponseKind, normalise, render,
};
pub use encode::encode;
pub(crate) use fit::fit;
pub use machine::MemgptMachine;
