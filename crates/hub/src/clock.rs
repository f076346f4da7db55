//! The wall clock and fresh ids: the only place where the hub takes them from outside.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use thoughtwire_proto::{CallId, Epoch, Id, ItemId, SessionId, Timestamp};

/// The wall clock, in whole milliseconds; 0 where it shows a time before 1970.
#[must_use]
pub fn now() -> Timestamp {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// Wall clock of a hub.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// Makes a clock from a function, such as one that jumps.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time by this clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

/// The wall clock.
impl Default for Clock {
    fn default() -> Self {
        Self::new(now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}

/// A fresh id: a UUID of version 7, so that ids sort by age.
#[must_use]
pub fn new_id<K>() -> Id<K> {
    let mut buffer = uuid::Uuid::encode_buffer();
    // With a clock before 1970 the library would panic. Such ids are unique, and not in order.
    let is_before_1970 = SystemTime::now() < UNIX_EPOCH;
    let uuid = if is_before_1970 {
        uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 0, 0))
    } else {
        uuid::Uuid::now_v7()
    };
    let text: &str = uuid.simple().encode_lower(&mut buffer);
    match Id::new(text) {
        Ok(id) => id,
        // Invariant: 32 hexadecimal digits are always a valid id.
        Err(_) => unreachable!("a UUID's digits are a valid id"),
    }
}

pub(crate) fn new_item_id() -> ItemId {
    new_id()
}

pub(crate) fn new_call_id() -> CallId {
    new_id()
}

pub(crate) fn new_session_id() -> SessionId {
    new_id()
}

pub(crate) fn new_epoch() -> Epoch {
    new_id()
}
