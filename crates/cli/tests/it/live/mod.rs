//! The real binary behind real sockets: every promise that a user could hold us to.

mod access;
mod approvals;
mod bad_input;
mod bench;
mod clocks;
mod crash;
mod durability;
mod faults;
mod frames;
mod jwt;
mod limits;
mod memgpt;
mod names;
mod native;
mod offers;
mod openapi;
mod operations;
mod proven;
mod rest;
mod rooms;
mod secrets;
mod shim;
mod sparky;
mod sparky_api;
mod sparky_later;
mod support;
mod tools;

pub(crate) use support::Live;
