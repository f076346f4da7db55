//! The server's side of the WebSocket protocol (RFC 6455) without I/O.
//!
//! [`MessageDecoder`] turns the bytes of a client into [`SocketEvent`]s, and [`SendQueue`] turns
//! frames into bytes. Both take bytes in pieces of any size and allocate nothing while a connection
//! is idle. Extensions are not spoken: a frame with a reserved bit breaks the connection.
//!
//! ```
//! use thoughtwire_websocket::{MessageDecoder, SocketEvent};
//!
//! let mut decoder = MessageDecoder::new(1024);
//! // A final text frame of two bytes, masked with zeros.
//! let mut bytes: &[u8] = &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
//! let event = decoder.decode(&mut bytes)?;
//! assert_eq!(event, Some(SocketEvent::Text("hi".to_owned())));
//! assert!(bytes.is_empty());
//! # Ok::<(), thoughtwire_websocket::ProtocolError>(())
//! ```
//!
//! It refuses to know sockets, async, clocks, and what a message says.

mod close_code;
mod decoder;
mod error;
mod header;
mod mask;
mod send_queue;

pub use decoder::{MessageDecoder, SocketEvent};
pub use error::ProtocolError;
pub use header::{HeaderBytes, MAX_HEADER_BYTES, OpCode, append_frame};
pub use send_queue::SendQueue;
