//! The `thoughtwire` binary.
fn main() {}
