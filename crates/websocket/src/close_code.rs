//! Status codes of close frames (RFC 6455, section 7.4).

use crate::ProtocolError;

/// Reads the payload of a close frame. The result is `None` when it is empty.
///
/// # Errors
/// When the code is cut, or must not be sent, or when the reason is not UTF-8.
pub(crate) fn parse(payload: &[u8]) -> Result<Option<u16>, ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(ProtocolError::CutCloseCode) };
    };
    let code = u16::from_be_bytes(*code);
    if !is_allowed(code) {
        return Err(ProtocolError::CloseCode(code));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(ProtocolError::NotUtf8),
    }
}

/// Tells whether an endpoint may send a code: those that RFC 6455 and its registry define for the
/// wire, those of libraries (3000 to 3999) and those of applications (4000 to 4999).
fn is_allowed(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
