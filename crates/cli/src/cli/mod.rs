//! The command line: commands, flags and their help. One file per group of commands.

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

use crate::target::OpenedData;

pub(crate) use agents::{AgentsCommand, SettingFlags};
pub(crate) use bench::{BenchDialect, BenchFlags};
pub(crate) use chat::{ChatFlags, SendFlags};
pub(crate) use keys::{KeysCommand, ScopeChoice};
pub(crate) use maintenance::{BackupFlags, DoctorFlags, NodesFlags, RestoreFlags};
pub(crate) use memory::{ArchivalCommand, MemoryCommand, SearchIn};
pub(crate) use serve::{AuthChoice, ConfigCommand, ServeFlags};
pub(crate) use sessions::{DialectChoice, ExportFormat, FrameCommand, SessionsCommand};

/// Session server for LLM agents: durable sessions over three WebSocket protocols and REST.
#[derive(Debug, Parser)]
#[command(
    name = "thoughtwire",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  thoughtwire serve                         listen on 127.0.0.1:8282, without keys
  thoughtwire chat                          chat with the agent `main`
  thoughtwire send \"What is 6*7?\"           send one input and print the answer
  thoughtwire sessions list --json          list all sessions as JSON

Environment:
  THOUGHTWIRE_URL    address of the server (default http://127.0.0.1:8282)
  THOUGHTWIRE_KEY    key for the server, if it requires one
  NO_COLOR           if set, output has no colours

Exit codes: 0 done, 1 failed, 2 wrong usage."
)]
pub(crate) struct Cli {
    /// Address of the server, before or after the command [default: THOUGHTWIRE_URL, else
    /// http://127.0.0.1:8282].
    #[arg(long = "url", id = "url-first", value_name = "URL")]
    pub(crate) url: Option<String>,
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Run the server.
    Serve(ServeFlags),
    /// Chat with an agent.
    Chat(ChatFlags),
    /// Send one input and print the answer.
    Send(SendFlags),
    /// List, show, create, edit, delete, export and import agents.
    Agents {
        #[command(flatten)]
        target: TargetFlags,
        #[command(subcommand)]
        command: AgentsCommand,
    },
    /// Show, change and search what an agent remembers.
    Memory {
        #[command(flatten)]
        target: TargetFlags,
        #[command(subcommand)]
        command: MemoryCommand,
    },
    /// Import and export the notes in an agent's archival memory.
    Archival {
        #[command(flatten)]
        target: TargetFlags,
        #[command(subcommand)]
        command: ArchivalCommand,
    },
    /// List, show, export and delete sessions and their calls, and set their retention.
    Sessions {
        #[command(flatten)]
        target: TargetFlags,
        #[command(subcommand)]
        command: SessionsCommand,
    },
    /// Create, list and revoke access keys.
    Keys {
        #[command(flatten)]
        target: TargetFlags,
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// List the nodes: the servers that share a database.
    Nodes(NodesFlags),
    /// Copy all data into one file while the server is running.
    Backup(BackupFlags),
    /// Create a data directory, or the contents of a database, from a backup.
    Restore(RestoreFlags),
    /// Check a set-up and suggest corrections.
    Doctor(DoctorFlags),
    /// Show or check the server's configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Decode or encode single frames of a WebSocket protocol.
    Frame {
        #[command(subcommand)]
        command: FrameCommand,
    },
    /// Put a server under load and check what it delivers.
    Bench(BenchFlags),
}

/// Flags that choose the server or the data directory.
#[derive(Debug, Default, Args)]
pub(crate) struct TargetFlags {
    /// Address of the server, as http, https, ws or wss [default: THOUGHTWIRE_URL, else
    /// http://127.0.0.1:8282].
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Data directory whose server to use, instead of an address.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "url")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Open this PostgreSQL database, beside the servers on it: postgres://user@host/database
    #[arg(long, global = true, value_name = "URL", conflicts_with = "url")]
    pub(crate) store: Option<String>,
    /// The data that the command opens itself.
    #[arg(skip)]
    pub(crate) opened: OpenedData,
}

/// The output format: text for people or JSON for programs.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputFlags {
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}
