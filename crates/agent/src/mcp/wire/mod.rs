//! What a server sends, read tolerantly: what can be read is kept, and a request whose answer
//! cannot be read fails at once.
//!
//! ```text
//! bytes ── decode ── mend: JSON text repaired
//!            ├─ open: which request is answered
//!            └─ result: brought into the library's form
//! ```

mod decode;
mod mend;
mod open;
mod result;

pub(super) use decode::{decode, decode_cut, unread, unread_reason};
pub(super) use open::OpenRequests;
pub(super) use result::whole;
