//! `backup`, `restore` and `doctor`.

use std::path::PathBuf;

use clap::Args;

use super::{OutputFlags, ServeFlags, TargetFlags};

/// Copy all data into one file, while the server runs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire backup monday.backup
  thoughtwire backup /mnt/backups/$(date +%F).backup --data-dir ./data
  thoughtwire backup far.backup --url https://example.org      with a key for `admin`

The copy is everything that was on disk at one moment: all users' agents, sessions, memory and
keys, so keep it as private as the data itself. Writing goes on meanwhile. The file is looked
through before this command says that it is done.")]
pub(crate) struct BackupFlags {
    /// The file, which must not be there yet.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) target: TargetFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

/// Make a data directory from a backup.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire restore monday.backup --data-dir ./data
  thoughtwire restore monday.backup && thoughtwire serve

The directory must have no data yet: what is there is never written over. Every log begins
another lifetime (epoch), so that clients that had seen more than the backup has start over
instead of missing something. Keys are as they were: those revoked since open again.")]
pub(crate) struct RestoreFlags {
    /// The file that `thoughtwire backup` wrote.
    pub(crate) file: PathBuf,
    /// Where to [default: the platform's data directory].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

/// Check a set-up: ports, keys, models, disk and clock; and say what to mend.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire doctor
  thoughtwire doctor --data-dir ./data --model openai/gpt-5-mini --listen 0.0.0.0:8282

  thoughtwire doctor --url https://example.org        a server that runs, as its clients see it

It takes the flags of `serve`, and looks at what `serve` would stand on. Models are asked one
short question. With --url it looks at a running server instead: whether it can be reached and
greets, its certificate and version, what the key opens, proxies in front, and the clock.
Exit code 0 where everything works, 1 where something does not.")]
pub(crate) struct DoctorFlags {
    /// Check the server that runs at this address.
    #[arg(long, value_name = "URL", conflicts_with_all = ["data_dir", "config", "listen"])]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) serve: ServeFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}
