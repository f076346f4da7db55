//! What only the SQLite backend has: its file, its locks, its backups, and files of older versions.

mod backups;
mod erasing;
mod old_files;
mod opening;
mod summaries;
mod tearing;
