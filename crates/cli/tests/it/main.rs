//! Tests of the real binary.
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

mod frame;
mod kills;
mod live;
mod local;
mod nodes;
mod owner;
mod retry_question;
mod surroundings;
mod talk;
mod terminal;
mod usage;
