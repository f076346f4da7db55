//! Tests of the vocabulary and the dialects with their vectors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test's failure is a panic, also in its helpers"
)]

mod frame_limit;
mod memgpt;
mod native;
mod native_machine;
mod protocol;
mod sparky;
mod sparky_later;
mod state;
mod transcript;
mod transcript_log;
