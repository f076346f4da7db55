//! The hub's tests: real stores, scripted agents, no server.

mod embedding;
mod subscribing;
mod support;
mod turns;
