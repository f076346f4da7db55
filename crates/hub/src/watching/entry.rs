//! One change in the list of a user's sessions.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use thoughtwire_proto::dialect::FrameLimit;
use thoughtwire_proto::dialect::native::ServerFrame;
use thoughtwire_proto::{SessionId, SessionListing};

use crate::tail::Frames;

/// One change of a list, encoded at most once.
pub struct ListEntry {
    change: ListChange,
    frames: Mutex<Option<(FrameLimit, Frames)>>,
}

/// The kind of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum ListChange {
    /// A session is new or has changed.
    Changed(Box<SessionListing>),
    /// A session is gone.
    Gone(SessionId),
}

impl ListEntry {
    pub(super) fn new(change: ListChange) -> Arc<Self> {
        Arc::new(Self { change, frames: Mutex::default() })
    }

    /// The change.
    #[must_use]
    pub fn change(&self) -> &ListChange {
        &self.change
    }

    /// The frames on the native wire, each within the limit; shared by all watchers.
    #[must_use]
    pub fn frames(&self, limit: FrameLimit) -> Frames {
        let mut cache = self.frames.lock();
        if let Some((known, frames)) = &*cache
            && *known == limit
        {
            return Arc::clone(frames);
        }
        let frame = match &self.change {
            ListChange::Changed(listing) => ServerFrame::Session((**listing).clone()),
            ListChange::Gone(session) => ServerFrame::SessionGone { session: session.clone() },
        };
        let frames: Frames = frame.encode_within(limit).into_iter().map(Bytes::from).collect();
        *cache = Some((limit, Arc::clone(&frames)));
        frames
    }

    /// The session that changed.
    pub(super) fn session(&self) -> &SessionId {
        match &self.change {
            ListChange::Changed(listing) => &listing.id,
            ListChange::Gone(session) => session,
        }
    }
}
