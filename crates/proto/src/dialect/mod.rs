//! The three wires, each hand-mapping its private wire structs to the one vocabulary.
//!
//! Dialects never import each other.

pub mod memgpt;
pub mod native;
pub mod sparky;
