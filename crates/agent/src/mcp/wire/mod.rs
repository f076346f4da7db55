//! Tolerant decoding of a server's messages. Readable parts are kept, and a request whose answer
//! cannot be read fails at once.
//!
//! ```text
//! bytes ── decode ── mend: JSON text repaired
//!            ├─ open: requests without an answer
//!            └─ result: results in the library's form
//! ```

mod decode;
mod mend;
mod open;
mod result;

pub(super) use decode::{decode, decode_cut, unread, unread_reason};
pub(super) use open::OpenRequests;
pub(super) use result::whole;
