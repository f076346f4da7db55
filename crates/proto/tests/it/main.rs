//! The vocabulary and the dialects against their vectors.

mod native;
mod state;
mod transcript;
