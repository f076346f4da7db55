//! The real binary behind real sockets: every promise that a user could hold us to.

mod access;
mod approvals;
mod bad_input;
mod bench;
mod clocks;
mod crash;
mod durability;
mod faults;
mod first_run;
mod frames;
mod http_events;
mod http_once;
mod http_pages;
mod http_paths;
mod http_refused;
mod http_slow;
mod jwt;
mod limits;
mod logs;
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
