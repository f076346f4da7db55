//! `frame decode` and `frame encode`: one frame of either direction, recognised by its `type`.

use serde_json::Value;

use super::client::ClientFrame;
use super::fields::FrameFields;
use super::server::ServerFrame;
use super::wire::to_text;
use crate::{Refusal, RefusalCode};

/// A frame of either direction.
enum Either {
    Client(ClientFrame),
    Server(ServerFrame),
}

/// Reads a frame of either direction and returns it with known keys only, in the protocol's order.
///
/// ```
/// use thoughtwire_proto::dialect::native::normalise;
///
/// let frame = normalise(r#" {"session":"s-1", "mood":"calm", "type":"watch", "id":"w"} "#)?;
/// assert_eq!(frame.to_string(), r#"{"type":"watch","id":"w"}"#);
/// let refusal = normalise(r#"{"type":"rename","session":"s-1"}"#).unwrap_err();
/// assert_eq!(refusal.reason, r#"rename needs "title" (a string)"#);
/// # Ok::<(), thoughtwire_proto::Refusal>(())
/// ```
///
/// # Errors
/// What is wrong with it; a type that neither direction has is [`RefusalCode::UnknownType`].
pub fn normalise(line: &str) -> Result<Value, Refusal> {
    let value = match read(FrameFields::parse(line)?)? {
        Either::Client(frame) => serde_json::to_value(frame.wire()),
        Either::Server(frame) => serde_json::to_value(frame.wire()),
    };
    value.map_err(|error| {
        Refusal::new(RefusalCode::Internal, format!("the frame cannot be written: {error}"))
    })
}

/// Writes a normalised frame as it is sent.
///
/// # Errors
/// Those of [`normalise`].
pub fn render(frame: &Value) -> Result<String, Refusal> {
    Ok(match read(FrameFields::of(frame.clone())?)? {
        Either::Client(frame) => to_text(&frame.wire()),
        Either::Server(frame) => to_text(&frame.wire()),
    })
}

/// Reads a frame by its type, which tells its direction. The directions share only the type
/// `cancel`, and a server's `cancel` is also a valid one of a client.
fn read(fields: FrameFields) -> Result<Either, Refusal> {
    if ClientFrame::KINDS.contains(&fields.kind()) {
        return ClientFrame::from_fields(fields)
            .map(Either::Client)
            .map_err(|undecoded| undecoded.refusal);
    }
    let unknown = fields.unknown();
    match ServerFrame::from_fields(fields)? {
        ServerFrame::Other(_) => Err(unknown),
        frame @ (ServerFrame::Welcome { .. }
        | ServerFrame::Attached(_)
        | ServerFrame::CaughtUp { .. }
        | ServerFrame::Ack(_)
        | ServerFrame::Refused(_)
        | ServerFrame::SessionEmission(_)
        | ServerFrame::Session(_)
        | ServerFrame::SessionGone { .. }
        | ServerFrame::Directed(_)
        | ServerFrame::Detached { .. }
        | ServerFrame::Pong { .. }
        | ServerFrame::GoAway { .. }
        | ServerFrame::Part(_)) => Ok(Either::Server(frame)),
    }
}
