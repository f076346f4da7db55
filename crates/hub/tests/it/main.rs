//! The hub's tests: real stores, scripted agents, no server.
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

mod embedding;
mod failing;
mod following;
mod function_messages;
mod interface_verbs;
mod keeping;
mod offering;
mod permitting;
mod simulation;
mod subscribing;
mod support;
mod turns;
mod waiting;
