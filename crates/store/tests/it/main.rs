//! The store's tests: one suite for every backend, and what only SQLite has, on real files.
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

mod postgres;
mod ram_nodes;
mod sqlite;
mod suite;
mod support;
