//! Several real servers on one real PostgreSQL: any client of any node sees each session whole.

mod clients;
mod deaths;
mod pooler;
mod support;

pub(crate) use support::SharedDatabase;
