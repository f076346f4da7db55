//! `serve` and `config`, which take the same flags.

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
  thoughtwire serve --listen 0.0.0.0:443 --tls-certificate cert.pem --tls-key key.pem

Prints one line with its URL when it is ready; logs go to stderr. SIGTERM and Ctrl-C let
running turns finish, then close every connection with 1012.

Every flag can be a variable (THOUGHTWIRE_MODEL=…) or stand in the configuration file;
`thoughtwire config show` tells what holds and where it came from.")]
pub(crate) struct ServeFlags {
    /// An address to listen on; may be repeated [default: 127.0.0.1:8282].
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<String>,
    /// Where everything durable lies [default: the platform's data directory].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The model of new agents, as provider/name [default: offline, which needs no network].
    #[arg(long, value_name = "PROVIDER/NAME")]
    pub(crate) model: Option<String>,
    /// Whether clients need a key [default: none on loopback, keys elsewhere].
    #[arg(long, value_name = "none|keys")]
    pub(crate) auth: Option<AuthChoice>,
    /// An origin whose pages may connect and read answers (CORS), besides those of this machine;
    /// may be repeated.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    /// Speak TLS with this certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,
    /// A proxy stands in front, and its `X-Forwarded-*` are believed.
    #[arg(long)]
    pub(crate) trust_proxy: bool,
    /// The path under which a proxy serves it, such as /tw.
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
  thoughtwire config show                   what holds, and where each value came from
  thoughtwire config check --config ./thoughtwire.toml

They take the flags of `serve`, so what they say is what `serve` would do.")]
pub(crate) enum ConfigCommand {
    /// Print the configuration that `serve` would run with; secrets are masked.
    Show {
        #[command(flatten)]
        flags: ServeFlags,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Say whether `serve` could run with it.
    Check {
        #[command(flatten)]
        flags: ServeFlags,
        #[command(flatten)]
        output: OutputFlags,
    },
}
