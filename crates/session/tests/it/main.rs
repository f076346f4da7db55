//! Tables of inputs and the effects that they have, for every race that the simulation found.

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

mod batches;
mod calls;
mod effect_line;
mod ends;
mod failures;
mod interruptions;
mod keys;
mod queue;
mod script;
mod stops;
