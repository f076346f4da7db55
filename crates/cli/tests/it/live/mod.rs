//! The real binary behind real sockets: every promise that a user could hold us to.

mod access;
mod approvals;
mod bad_input;
mod bench;
mod crash;
mod faults;
mod first_run;
mod http_events;
mod http_once;
mod http_pages;
mod http_paths;
mod http_refused;
mod http_slow;
mod limits;
mod logs;
mod memgpt;
mod native;
mod offers;
mod openapi;
mod operations;
mod rest;
mod rooms;
mod sparky;
mod support;

pub(crate) use support::Live;
