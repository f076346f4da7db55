//! `keys`.

use clap::{Subcommand, ValueEnum};

use super::OutputFlags;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire keys add --name phone                     chat as yourself, from elsewhere
  thoughtwire keys add --user ada --scope chat --scope agents --expires 30d
  thoughtwire keys list
  thoughtwire keys revoke KEY_ID                        whoever is connected with it is shown out
  thoughtwire keys rotate                               ends all logins of pages, and all tickets

Each user has agents, sessions and memory of their own; nobody sees another's. A key is shown
once, when it is made. The server asks for keys when it is started with `--auth keys`, or listens
on an address that other machines can target.")]
pub(crate) enum KeysCommand {
    /// Make a key, and print it.
    Add {
        /// Whose agents and sessions it opens [default: local, the owner's own].
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// What to call it in lists.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// What it is for; may be repeated [default: chat].
        #[arg(long = "scope", value_enum, value_name = "SCOPE")]
        scopes: Vec<ScopeChoice>,
        /// When it ends to open, from now: `12h`, `30d`, `1 year` [default: never].
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// List the keys that there are; not what opens.
    List {
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Revoke a key: it opens nothing more, and its connections are closed.
    Revoke {
        /// The key's id, as `keys list` shows it.
        key: String,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// End all logins and tickets: cookies of before open nothing more. Keys stay as they are.
    Rotate {
        #[command(flatten)]
        output: OutputFlags,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ScopeChoice {
    /// Talk: sessions, their events, inputs and approvals.
    Chat,
    /// Make, edit and delete agents, and what they remember.
    Agents,
    /// Run agents' turns, as a program outside.
    Offer,
    /// Keys and figures; it has the others within.
    Admin,
}
