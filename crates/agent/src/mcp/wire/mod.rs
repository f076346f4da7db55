//! Tolerant decoding of a server's messages. Readable parts are kept, and a request whose answer
//! cannot be read fails at once.
//!
//! ```text
//! bytes ── decode ── repair: JSON text repaired
//!            ├─ open_requests: requests without an answer
//!            └─ result: results in the library's form
//! ```

mod decode;
mod open_requests;
mod repair;
mod result;

pub(super) use decode::{decode, decode_cut, unread, unread_reason};
pub(super) use open_requests::OpenRequests;
pub(super) use result::whole;
