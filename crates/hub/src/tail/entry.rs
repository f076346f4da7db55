//! One emission, encoded at most once per encoding.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::dialect::{FrameLimit, encode};
use thoughtwire_proto::{
    Emission, Event, InputEvent, Seq, SessionEmission, SessionEvent, SessionId, TurnEvent,
};
use tokio::time::Instant;

/// One emission with its frames, shared by all readers of a session.
pub struct TailEntry {
    emitted: SessionEmission,
    published: Instant,
    /// Frames by encoding and limit: hardly ever more than two, so a search is the fastest.
    frames: Mutex<Vec<(Encoding, FrameLimit, Frames)>>,
    /// Forms that are not a dialect's frames. Nearly always none or one.
    forms: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
}

/// An emission's frames in one encoding, shared by all who read them.
pub type Frames = Arc<[Bytes]>;

impl TailEntry {
    pub(crate) fn new(session: &SessionId, emission: Emission) -> Arc<Self> {
        Arc::new(Self {
            emitted: SessionEmission { session: session.clone(), emission },
            published: Instant::now(),
            frames: Mutex::default(),
            forms: Mutex::default(),
        })
    }

    /// The emission and its session.
    #[must_use]
    pub fn emitted(&self) -> &SessionEmission {
        &self.emitted
    }

    /// The frames in an encoding, each within the limit. Encoded once and shared by all callers.
    #[must_use]
    pub fn frames(&self, encoding: &Encoding, limit: FrameLimit) -> Frames {
        let mut cache = self.frames.lock();
        let known = cache.iter().find(|(known, within, _)| known == encoding && *within == limit);
        if let Some((_, _, frames)) = known {
            return Arc::clone(frames);
        }
        let frames: Frames =
            encode(encoding, &self.emitted, limit).into_iter().map(Bytes::from).collect();
        cache.push((encoding.clone(), limit, Arc::clone(&frames)));
        frames
    }

    /// A form of the emission that its readers share: the one of this type for which `is_wanted`
    /// holds. `make` is called if there is none yet; what it makes must be wanted.
    #[must_use]
    pub fn shared<T: Any + Send + Sync>(
        &self,
        is_wanted: impl Fn(&T) -> bool,
        make: impl FnOnce(&SessionEmission) -> T,
    ) -> Arc<T> {
        let mut forms = self.forms.lock();
        let mut known = forms.iter().filter_map(|form| Arc::clone(form).downcast::<T>().ok());
        if let Some(form) = known.find(|form| is_wanted(form)) {
            return form;
        }
        let form = Arc::new(make(&self.emitted));
        forms.push(Arc::<T>::clone(&form));
        form
    }

    /// The time at which it was published, or read back from the log.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.published
    }

    /// The position of a record; other emissions have none.
    pub(crate) fn seq(&self) -> Option<Seq> {
        match &self.emitted.emission {
            Emission::Record(record) => Some(record.seq),
            Emission::Delta(_)
            | Emission::Partial(_)
            | Emission::Status { .. }
            | Emission::Presence { .. } => None,
        }
    }

    /// Number of bytes that it takes in memory, estimated: its frames in two encodings and itself.
    pub(crate) fn weight(&self) -> usize {
        let text = match &self.emitted.emission {
            Emission::Record(record) => match &record.event {
                Event::Turn(TurnEvent::Thought { text, .. } | TurnEvent::Message { text, .. })
                | Event::Input(InputEvent::UserMessage { text, .. }) => text.len(),
                Event::Turn(TurnEvent::ToolReturned { text, content, .. }) => {
                    text.len() + content.as_ref().map_or(0, |content| content.to_string().len())
                }
                Event::Session(SessionEvent::Compacted { summary, .. }) => summary.len(),
                Event::Session(SessionEvent::MemoryEdited { before, after, .. }) => {
                    before.len() + after.len()
                }
                Event::Session(
                    SessionEvent::Opened { .. }
                    | SessionEvent::Renamed { .. }
                    | SessionEvent::InstructionsChanged { .. },
                )
                | Event::Input(InputEvent::Withdrawn { .. })
                | Event::Turn(
                    TurnEvent::Started { .. }
                    | TurnEvent::Resumed { .. }
                    | TurnEvent::ToolRetried { .. }
                    | TurnEvent::ToolCalled { .. }
                    | TurnEvent::ApprovalAsked { .. }
                    | TurnEvent::ToolAwaited { .. }
                    | TurnEvent::ApprovalSettled { .. }
                    | TurnEvent::Usage(_)
                    | TurnEvent::Ended { .. },
                )
                | Event::Other(_) => 256,
            },
            Emission::Delta(delta) => delta.text.len(),
            Emission::Partial(partial) => partial.text.len(),
            Emission::Status { text, .. } => text.len(),
            Emission::Presence { .. } => 0,
        };
        text * 3 + 512
    }
}
