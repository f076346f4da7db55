//! Parts of frames that are larger than the limit. The `data` of all parts, concatenated, is the
//! frame's text.

use super::server::ServerFrame;
use super::wire::{ServerWire, to_text};
use crate::connection::Frame;
use crate::dialect::limit::{FrameLimit, pieces};
use crate::{Emission, Refusal, RefusalCode, Seq, SessionEmission, SessionId};

/// One part of a frame that is larger than the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FramePart {
    /// The frame's session, if it has one.
    pub session: Option<SessionId>,
    /// The event's position, if the frame is an event.
    pub seq: Option<Seq>,
    /// The number of this part, from 0.
    pub part: u64,
    /// The number of parts, at least 1.
    pub parts: u64,
    /// A piece of the frame's text.
    pub data: String,
}

/// Joins the parts of frames. One per connection.
///
/// ```
/// use thoughtwire_proto::dialect::native::{PartJoiner, ServerFrame};
///
/// let mut joiner = PartJoiner::default();
/// let first = ServerFrame::decode(r#"{"type":"part","part":0,"parts":2,"data":"{\"type\":"}"#)?;
/// assert_eq!(joiner.take(first)?, None);
/// let second = ServerFrame::decode(r#"{"type":"part","part":1,"parts":2,"data":"\"pong\"}"}"#)?;
/// assert_eq!(joiner.take(second)?, Some(ServerFrame::Pong { id: None }));
/// # Ok::<(), thoughtwire_proto::Refusal>(())
/// ```
#[derive(Debug, Default)]
pub struct PartJoiner {
    /// The number of the next part.
    next: u64,
    /// The number of parts of the frame that has begun.
    parts: u64,
    text: String,
}

impl PartJoiner {
    /// Takes the next frame. Returns a whole frame, or `None` while parts are missing.
    ///
    /// # Errors
    /// Parts are missing or out of order, or their text is not a frame.
    pub fn take(&mut self, frame: ServerFrame) -> Result<Option<ServerFrame>, Refusal> {
        let broken = |what: String| Err(Refusal::new(RefusalCode::BadFrame, what));
        let ServerFrame::Part(part) = frame else {
            if self.next > 0 {
                return broken(format!(
                    "a frame came after {} of {} parts of another one",
                    self.next, self.parts
                ));
            }
            return Ok(Some(frame));
        };
        if part.part != self.next || (self.next > 0 && part.parts != self.parts) {
            return broken(format!(
                "part {} of {} came where part {} was due",
                part.part, part.parts, self.next
            ));
        }
        self.text.push_str(&part.data);
        (self.next, self.parts) = (part.part + 1, part.parts);
        if self.next < self.parts {
            return Ok(None);
        }
        let text = std::mem::take(self).text;
        let frame = ServerFrame::decode(&text)?;
        if matches!(frame, ServerFrame::Part(_)) {
            return broken("a part is made of parts".to_owned());
        }
        Ok(Some(frame))
    }
}

/// Splits a frame into parts if it is larger than the limit.
pub(crate) fn fit(frame: Frame, limit: FrameLimit) -> Vec<Frame> {
    if frame.len() <= limit.bytes() {
        return vec![frame];
    }
    let (session, seq) = ServerFrame::decode(&frame).map_or((None, None), |frame| about(&frame));
    let part = |part: u64, parts: u64, data: &str| {
        to_text(&ServerWire::Part { session: session.as_ref(), seq, part, parts, data })
    };
    let room = limit.bytes().saturating_sub(part(u64::MAX, u64::MAX, "").len());
    let pieces = pieces(&frame, room, escaped);
    let parts = pieces.len() as u64;
    (0..).zip(&pieces).map(|(number, piece)| part(number, parts, piece)).collect()
}

/// The session and position of a frame.
fn about(frame: &ServerFrame) -> (Option<SessionId>, Option<Seq>) {
    match frame {
        ServerFrame::SessionEmission(SessionEmission { session, emission }) => {
            let seq = if let Emission::Record(record) = emission { Some(record.seq) } else { None };
            (Some(session.clone()), seq)
        }
        ServerFrame::Directed(crate::Directive::Run(run)) => (Some(run.session.clone()), None),
        ServerFrame::Session(listing) => (Some(listing.id.clone()), None),
        ServerFrame::Attached(attachment) => (Some(attachment.session.clone()), None),
        ServerFrame::CaughtUp { session, .. }
        | ServerFrame::SessionGone { session }
        | ServerFrame::Detached { session, .. } => (Some(session.clone()), None),
        ServerFrame::Welcome { .. }
        | ServerFrame::Ack(_)
        | ServerFrame::Refused(_)
        | ServerFrame::Directed(_)
        | ServerFrame::Pong { .. }
        | ServerFrame::GoAway { .. }
        | ServerFrame::Part(_)
        | ServerFrame::Other(_) => (None, None),
    }
}

/// Number of bytes of a character in a JSON text.
fn escaped(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        c => c.len_utf8(),
    }
}
