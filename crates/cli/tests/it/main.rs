//! Tests of the real binary.

mod live;
