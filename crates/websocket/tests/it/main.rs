//! The codec against tables of RFC 6455, and against bytes cut anywhere.

mod decoding;
mod sending;
mod support;
