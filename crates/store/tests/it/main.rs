//! The store's tests, on real files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test's failure is a panic, also in its helpers"
)]

mod appending;
mod chats;
mod keeping;
mod memory;
mod opening;
mod peers;
mod reading;
mod recovering;
mod scripts;
mod support;
