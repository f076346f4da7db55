//! The real binary behind real sockets: every promise that a user could hold us to.

mod access;
mod approvals;
mod bad_input;
mod bench;
mod clocks;
mod crash;
mod durability;
mod faults;
mod limits;
mod memgpt;
mod native;
mod offers;
mod openapi;
mod operations;
mod rest;
mod rooms;
mod secrets;
mod shim;
mod sparky;
mod support;

pub(crate) use support::Live;
