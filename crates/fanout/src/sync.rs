//! The locks and atomics of the protocol: loom's in this crate's own tests.

#[cfg(not(test))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[cfg(test)]
pub(crate) use loom::sync::MutexGuard;
#[cfg(test)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A lock of loom with the interface of `parking_lot`.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(test)]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap()
    }
}
