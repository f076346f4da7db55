//! The real binary behind real sockets: every promise that a user could hold us to.

mod approvals;
mod bad_input;
mod crash;
mod faults;
mod memgpt;
mod native;
mod rest;
mod rooms;
mod sparky;
mod support;

pub(crate) use support::Live;
