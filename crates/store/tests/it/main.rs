//! The store's tests, on real files.

mod appending;
mod memory;
mod opening;
mod peers;
mod recovering;
mod support;
