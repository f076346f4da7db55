//! Flags of `serve` and `config`, which are the same.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::OutputFlags;

/// Run the server.
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Examples:
  thoughtwire serve
  thoughtwire serve --data-dir ./data --model ollama/llama3.2
  OPENAI_API_KEY=… thoughtwire serve --model openai/gpt-5-mini
  thoughtwire serve --store postgres://thoughtwire@db.example/thoughtwire
  thoughtwire serve --listen 0.0.0.0:443 --tls-certificate cert.pem --tls-key key.pem

Prints one line with the URL when the server is ready. Logs go to stderr. On SIGTERM or Ctrl-C
the server lets running turns finish, then closes every connection with code 1012.

Every flag can also be an environment variable (THOUGHTWIRE_MODEL=…) or an entry of the
configuration file. `thoughtwire config show` prints each value and its source.")]
pub(crate) struct ServeFlags {
    /// Listen on this address; may be repeated [default: 127.0.0.1:8282].
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<String>,
    /// Directory for all stored data [default: the platform's data directory].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Keep the data in this PostgreSQL database instead of a file in the data directory. Several
    /// servers may share it: postgres://user@host/database
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// URL under which other servers on the same database reach this one [default: the first
    /// address].
    #[arg(long, value_name = "URL")]
    pub(crate) advertise: Option<String>,
    /// Read this configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Default model of agents, as provider/name [default: offline, which needs no network].
    #[arg(long, value_name = "PROVIDER/NAME")]
    pub(crate) model: Option<String>,
    /// Require keys from clients or not [default: none on loopback addresses, else keys].
    #[arg(long, value_name = "none|keys")]
    pub(crate) auth: Option<AuthChoice>,
    /// Let pages of this origin connect and read answers (CORS); may be repeated. Pages of this
    /// machine always may.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    /// Serve TLS with this certificate chain (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// Private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Trust the `X-Forwarded-*` headers of the proxy in front.
    #[arg(long)]
    pub(crate) trust_proxy: bool,
    /// Path under which a proxy publishes the server, such as /tw.
    #[arg(long, value_name = "PATH")]
    pub(crate) base_path: Option<String>,
}

/// The values of `--auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuthChoice {
    None,
    Keys,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire config show                   print each value and its source
  thoughtwire config check --config ./thoughtwire.toml

Both take the flags of `serve` and report what `serve` would use.")]
pub(crate) enum ConfigCommand {
    /// Print the configuration of `serve`, with secrets masked.
    Show {
        #[command(flatten)]
        flags: ServeFlags,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Check whether the configuration is valid.
    Check {
        #[command(flatten)]
        flags: ServeFlags,
        #[command(flatten)]
        output: OutputFlags,
    },
}
