//! Several real servers on one real PostgreSQL: any client of any node sees each session whole.

mod chaos;
mod clients;
mod deaths;
mod lost_database;
mod pooler;
mod relay;
mod support;
mod tickets;
mod workers;

pub(crate) use support::SharedDatabase;
