//! The command line: what can be asked, and the help that teaches it. A file per group of commands.

mod agents;
mod bench;
mod chat;
mod keys;
mod maintenance;
mod memory;
mod serve;
mod sessions;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use agents::{AgentsCommand, SettingFlags};
pub(crate) use bench::{BenchDialect, BenchFlags};
pub(crate) use chat::{ChatFlags, SendFlags};
pub(crate) use keys::{KeysCommand, ScopeChoice};
pub(crate) use maintenance::{BackupFlags, DoctorFlags, RestoreFlags};
pub(crate) use memory::{ArchivalCommand, MemoryCommand, SearchIn};
pub(crate) use serve::{AuthChoice, ConfigCommand, ServeFlags};
pub(crate) use sessions::{DialectChoice, ExportFormat, FrameCommand, SessionsCommand};

/// The session server for LLM agents: durable, resumable, three WebSocket wires.
#[derive(Debug, Parser)]
#[command(
    name = "thoughtwire",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  thoughtwire serve                         serve on 127.0.0.1:8282, no key needed
  thoughtwire chat                          talk to the agent `main`
  thoughtwire send \"What is 6*7?\"           one question, one answer, for scripts
  thoughtwire sessions list --json          what there is

Environment:
  THOUGHTWIRE_URL    the server to talk to (default http://127.0.0.1:8282)
  THOUGHTWIRE_KEY    the key to show it, where it wants one
  NO_COLOR           no colours"
)]
pub(crate) struct Cli {
    /// The server to talk to; may also stand behind the command [default: THOUGHTWIRE_URL, else http://127.0.0.1:8282].
    #[arg(long = "url", id = "url-first", value_name = "URL")]
    pub(crate) url: Option<String>,
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Run the server.
    Serve(ServeFlags),
    /// Talk to an agent.
    Chat(ChatFlags),
    /// Send one input and print the answer.
    Send(SendFlags),
    /// List, show, create, edit and delete agents; carry them from one place to another.
    Agents {
        #[command(flatten)]
        target: TargetFlags,
        #[command(subcommand)]
        command: AgentsCommand,
    },
    /// TextStyle at what an agent remembers, and change it.
    Memory {
        #[command(flatten)]
        target: TargetFlags,
        #[command(subcommand)]
        command: MemoryCommand,
    },
    /// Fill an agent's archival memory from files, and write it out.
    Archival {
        #[command(flatten)]
        target: TargetFlags,
        #[command(subcommand)]
        command: ArchivalCommand,
    },
    /// List, show, export and delete sessions.
    Sessions {
        #[command(flatten)]
        target: TargetFlags,
        #[command(subcommand)]
        command: SessionsCommand,
    },
    /// Make, list and revoke the keys that let others in.
    Keys {
        #[command(flatten)]
        target: TargetFlags,
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Copy all data into one file, while the server runs.
    Backup(BackupFlags),
    /// Make a data directory from a backup.
    Restore(RestoreFlags),
    /// Check a set-up, and say what to mend.
    Doctor(DoctorFlags),
    /// Show and check the server's configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Read and write single frames of any of the wires.
    Frame {
        #[command(subcommand)]
        command: FrameCommand,
    },
    /// Put a server under load, and check what it delivers.
    Bench(BenchFlags),
}

/// Which server to talk to.
#[derive(Debug, Default, Args)]
pub(crate) struct TargetFlags {
    /// The server's address; http, https, ws and wss mean the same here [default: THOUGHTWIRE_URL, else http://127.0.0.1:8282].
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The data directory whose server to talk to.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "url")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputFlags {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
