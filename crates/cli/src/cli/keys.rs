//! Flags of `keys`.

use clap::{Subcommand, ValueEnum};

use super::OutputFlags;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire keys add --name phone                     a key to chat from another device
  thoughtwire keys add --user ada --scope chat --scope agents --expires 30d
  thoughtwire keys list
  thoughtwire keys revoke KEY_ID                        also closes the key's connections
  thoughtwire keys rotate                               end all page logins and tickets

Each user has separate agents, sessions and memory. A key is shown only once, when it is
created. The server requires keys if it is started with `--auth keys` or listens on an address
that other machines can reach.")]
pub(crate) enum KeysCommand {
    /// Create a key and print it.
    Add {
        /// User whose agents and sessions the key gives access to [default: local, the owner].
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Label of the key in lists.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Permit this use of the key; may be repeated [default: chat].
        #[arg(long = "scope", value_enum, value_name = "SCOPE")]
        scopes: Vec<ScopeChoice>,
        /// Time until the key expires: `12h`, `30d`, `1 year` [default: never].
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// List all keys, without their secrets.
    List {
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Revoke a key and close its connections.
    Revoke {
        /// Id of the key, as `keys list` prints it.
        key: String,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// End all page logins and tickets. Keys remain valid.
    Rotate {
        #[command(flatten)]
        output: OutputFlags,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ScopeChoice {
    /// Use sessions: events, inputs and approvals.
    Chat,
    /// Create, edit and delete agents and their memory.
    Agents,
    /// Run agents' turns as an external worker.
    Offer,
    /// Manage keys, read metrics, and everything above.
    Admin,
}
