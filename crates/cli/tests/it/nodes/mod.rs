//! Several real servers on one real PostgreSQL: any client of any node sees each session whole.

mod chaos;
mod clients;
mod deaths;
mod relay;
mod support;

pub(crate) use support::SharedDatabase;
