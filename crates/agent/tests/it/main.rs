//! The memory agent with a real hub and store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed helper fails its test; clippy's exemption for tests does not cover helpers"
)]

mod approvals;
mod archive;
mod canned;
mod compaction;
mod embedding;
mod embedding_queue;
mod embedding_server;
mod endless;
mod harness;
mod http_request;
mod load;
mod mcp;
mod mcp_keys;
mod mcp_odd;
mod mcp_recorder;
mod memory;
mod mock;
mod models;
mod offline;
mod past_cache;
mod providers;
mod quirks;
mod resuming;
mod steps;
mod strict;
mod transcripts;
