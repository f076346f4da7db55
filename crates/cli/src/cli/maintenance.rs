//! Flags of `nodes`, `backup`, `restore` and `doctor`.

use std::path::PathBuf;

use clap::Args;

use super::{OutputFlags, ServeFlags, TargetFlags};

/// List the nodes: the servers that share a database.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire nodes
  thoughtwire nodes --store postgres://thoughtwire@db.example/thoughtwire --json

Asks a server, or with --store the database itself. Shows the nodes with a lease, and those that
were declared dead in the last hour. Needs a key with the scope `admin` where keys are required.")]
pub(crate) struct NodesFlags {
    #[command(flatten)]
    pub(crate) target: TargetFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

/// Copy all data into one file while the server is running.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire backup monday.backup
  thoughtwire backup /mnt/backups/$(date +%F).backup --data-dir ./data
  thoughtwire backup far.backup --url https://example.org      needs a key with the scope `admin`

The backup is a consistent copy of all users' agents, sessions, memory and keys. Keep it as
private as the data itself. The server accepts writes meanwhile. The command checks the file
before it reports success. Data in PostgreSQL is backed up with PostgreSQL's own tools, such as
pg_dump.")]
pub(crate) struct BackupFlags {
    /// New file to write.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) target: TargetFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

/// Create a data directory, or the contents of a database, from a backup.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire restore monday.backup --data-dir ./data
  thoughtwire restore monday.backup && thoughtwire serve
  thoughtwire restore monday.backup --store postgres://thoughtwire@db.example/thoughtwire

The directory or database must have no data yet; existing data is never overwritten. Every log
gets a new epoch: clients that saw events newer than the backup start over and miss nothing. Keys
that were revoked after the backup are valid again. No server may have the database open
meanwhile.")]
pub(crate) struct RestoreFlags {
    /// File that `thoughtwire backup` wrote.
    pub(crate) file: PathBuf,
    /// Directory to create [default: the platform's data directory].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// PostgreSQL database to fill, instead of a directory [default: THOUGHTWIRE_STORE, unless
    /// --data-dir is given].
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    pub(crate) store: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

/// Check a set-up (ports, keys, models, disk, clock) and suggest corrections.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire doctor
  thoughtwire doctor --data-dir ./data --model openai/gpt-5-mini --listen 0.0.0.0:8282

  thoughtwire doctor --url https://example.org        check a running server as a client

Takes the flags of `serve` and checks what `serve` would use. Sends each model one short
question. With --url it checks a running server instead: that it can be reached and greets,
its certificate and version, the access of the key, proxies in front, and the clock.
Exit code 0 if everything works, 1 if something does not.")]
pub(crate) struct DoctorFlags {
    /// Check the running server at this address.
    #[arg(long, value_name = "URL", conflicts_with_all = ["data_dir", "config", "listen"])]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) serve: ServeFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}
