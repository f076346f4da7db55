//! The parts that only PostgreSQL has: fences, leases, broken connections, encryption, poolers.

mod changes;
mod claims;
mod encryption;
mod nodes;
mod opening;
mod outcomes;
mod relay;
mod restoring;
