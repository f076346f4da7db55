//! Tests of the SQLite backend alone: its file, locks and backups, and files of older versions.

mod backups;
mod erasing;
mod old_files;
mod opening;
mod summaries;
mod tearing;
