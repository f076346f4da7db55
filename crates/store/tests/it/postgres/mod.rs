//! The parts that only PostgreSQL has: fences, leases, broken connections, encryption, poolers,
//! failover, restored dumps.

mod backups;
mod changes;
mod claims;
mod encryption;
mod failover;
mod nodes;
mod opening;
mod outcomes;
mod pooler;
mod relay;
mod restoring;
