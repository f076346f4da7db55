//! Configuration: flags over `THOUGHTWIRE_*` variables over a TOML file over defaults.

mod layers;
mod masking;
mod reading;
mod tables;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use std::collections::BTreeMap;
use thoughtwire_agent::{
    AgentOptions, Embedder, McpConfig, McpServers, ModelError, Providers, Timeouts,
};
use thoughtwire_proto::Permission;
pub use thoughtwire_proto::rest::Auth;

use crate::base_path::BasePath;
use layers::Layers;
use reading::{Reading, to_size};

/// Where a server listens unless told otherwise: `MemGPT`'s host, and a port beside its own.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8282";

/// What is logged unless told otherwise: libraries report what their callers handle, so only their
/// errors count.
pub const DEFAULT_LOG: &str = "error,thoughtwire=info";

/// The platform's data directory of this user, if there is one.
#[must_use]
pub fn usual_data_dir() -> Option<PathBuf> {
    let usual =
        || Some(directories::ProjectDirs::from("", "", "thoughtwire")?.data_dir().to_owned());
    xdg("XDG_DATA_HOME").or_else(usual)
}

/// The platform's configuration file of this user, if there is a place for one.
pub(crate) fn usual_file() -> Option<PathBuf> {
    let usual =
        || Some(directories::ProjectDirs::from("", "", "thoughtwire")?.config_dir().to_owned());
    Some(xdg("XDG_CONFIG_HOME").or_else(usual)?.join("config.toml"))
}

/// This program's directory below one that an XDG variable names, which needs no home.
fn xdg(variable: &str) -> Option<PathBuf> {
    let base = PathBuf::from(std::env::var_os(variable)?);
    (base.is_absolute() && !cfg!(target_os = "macos")).then(|| base.join("thoughtwire"))
}

/// What the command line says; absent where it says nothing.
#[derive(Debug, Default, Clone)]
pub struct Flags {
    /// `--listen`, repeated.
    pub listen: Vec<String>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--model`.
    pub model: Option<String>,
    /// `--auth`.
    pub auth: Option<String>,
    /// `--allow-origin`, repeated.
    pub allow_origin: Vec<String>,
    /// `--tls-certificate`.
    pub tls_certificate: Option<PathBuf>,
    /// `--tls-key`.
    pub tls_key: Option<PathBuf>,
    /// `--trust-proxy`.
    pub trust_proxy: bool,
    /// `--base-path`.
    pub base_path: Option<String>,
}

/// What a server is run with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Where everything durable lies.
    pub data_dir: PathBuf,
    /// The model of agents that name none, as `provider/name`.
    pub model: String,
    /// Whether keys are needed.
    pub auth: Auth,
    /// Whether that was said, rather than follow from where the server listens.
    pub auth_is_said: bool,
    /// Tokens of somebody else's login that are believed.
    pub jwt: Option<JwtConfig>,
    /// Origins of pages that may connect, besides those of this machine.
    pub allow_origin: Vec<String>,
    /// The certificate of a server that speaks TLS.
    pub tls: Option<TlsConfig>,
    /// Whether a proxy stands in front whose `X-Forwarded-*` are believed.
    pub trust_proxy: bool,
    /// The path prefix under which the server is reached, if there is one.
    pub base_path: BasePath,
    /// Names under which this server may be addressed, besides those of the loopback.
    pub allow_host: Vec<String>,
    /// Limits on what one client may do.
    pub limits: Limits,
    /// How long running turns may go on once the server is to stop.
    pub grace: Duration,
    /// Keys and addresses of model providers.
    pub providers: Providers,
    /// What agents may do and spend, where their own settings say nothing.
    pub agents: Agents,
    /// The embedding model that finds notes by their meaning, if there is one.
    pub embedding: Option<String>,
    /// The MCP servers.
    pub mcp: Vec<McpConfig>,
}

/// Files for TLS, in PEM.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// The certificate, with those between it and its root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How tokens of somebody else's login are checked.
#[derive(Clone)]
pub struct JwtConfig {
    /// `HS256`, `RS256` or `ES256`: that of the key, whatever a token says.
    pub algorithm: String,
    /// The secret, or the public key in PEM.
    pub key: String,
    /// The `aud` that a token must have.
    pub audience: String,
    /// What stands before a token's `sub` in its user's name, so that the issuer's users are not
    /// those of keys; empty when they are the same.
    pub user_prefix: String,
}

impl std::fmt::Debug for JwtConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("JwtConfig")
            .field("algorithm", &self.algorithm)
            .field("audience", &self.audience)
            .field("user_prefix", &self.user_prefix)
            .finish_non_exhaustive()
    }
}

/// What agents may do and spend, where their own settings say nothing.
#[derive(Debug, Clone)]
pub struct Agents {
    /// The models to ask when an agent's own cannot be had.
    pub fallbacks: Vec<String>,
    /// How many tokens a model reads at most, prompt and reply together.
    pub context_window: usize,
    /// How many tokens one reply may have.
    pub max_output_tokens: Option<u32>,
    /// How many model calls one turn may take.
    pub max_steps: usize,
    /// How many tokens one turn may cost.
    pub token_budget: Option<u64>,
    /// How long a question for leave waits.
    pub approval: Duration,
    /// How long a client's tool is waited for.
    pub client_tool: Duration,
    /// How many bytes of a tool's output a model is shown.
    pub tool_output_bytes: usize,
    /// How long a model is waited for.
    pub timeouts: Timeouts,
    /// What may be done with tools, by name. An agent's own settings can be stricter.
    pub permissions: BTreeMap<String, Permission>,
    /// The tools whose permission an agent's own settings may also loosen.
    pub loosen: Vec<String>,
    /// The proxy through which `fetch_url` reads pages.
    pub fetch_proxy: Option<String>,
    /// Whether agents may name a model `load:…`.
    pub load_models: bool,
}

/// Limits with safe defaults, above what a busy client needs.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest frame and request body, in bytes.
    pub frame_bytes: usize,
    /// Sessions that one connection may be attached to.
    pub attached_sessions: usize,
    /// Inputs that may wait in one session.
    pub queued_inputs: usize,
    /// Time to say who one is, on wires that begin with that.
    pub handshake: Duration,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one user, where there are keys.
    pub connections_per_user: usize,
    /// Connections of one address, if a number was said; else [`Limits::PER_ADDRESS`], and any number of this machine.
    pub connections_per_address: Option<usize>,
    /// How deep the JSON of a frame may be nested; at most [`Limits::JSON_DEPTH`].
    pub json_depth: usize,
    /// Calls of one turn that may wait for leave at once.
    pub open_approvals: usize,
    /// How long one turn may take, not counted while it waits for people or clients outside.
    pub turn: Duration,
    /// Bytes of text that an agent's archival memory may have.
    pub archival_bytes: u64,
    /// Commands of one connection in a second; twice as many may come at once.
    pub commands_per_second: u32,
}

impl Limits {
    /// Connections of one address that is not this machine.
    pub const PER_ADDRESS: usize = 1_000;
    /// Levels of nesting that can be read at all.
    pub const JSON_DEPTH: usize = 127;
}

/// One setting as it came out.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    /// Its name, as in the file.
    pub name: &'static str,
    /// Its value; secrets are masked.
    pub value: String,
    /// Where it came from: `flag`, a variable's name, the file, or `default`.
    pub source: String,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or is no TOML.
    #[error("the configuration file cannot be used: {0}")]
    File(String),
    /// A value is not what its setting takes.
    #[error("`{name}` is {value:?} (from {from}), which is not {wanted}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// Where.
        from: String,
        /// What it takes.
        wanted: &'static str,
    },
    /// The file has a setting that there is not.
    #[error(
        "the configuration file has a setting `{0}`, which there is not; see `thoughtwire config show` for those there are"
    )]
    Unknown(String),
    /// Neither told nor found.
    #[error("no data directory could be found for this user; say `--data-dir DIR`")]
    NoDataDir,
    /// Something of a table is wrong.
    #[error("the configuration file's [{table}] cannot be used: {reason}")]
    Table {
        /// The table.
        table: String,
        /// What is wrong.
        reason: String,
    },
}

impl Config {
    /// Reads every source and checks the result; also tells where each setting came from.
    ///
    /// # Errors
    /// When a source cannot be read or a setting cannot be used.
    pub fn load(flags: &Flags) -> Result<(Self, Vec<Setting>), ConfigError> {
        let mut reading = Reading { layers: Layers::read(flags)?, settings: Vec::new() };
        let listen = reading.listen()?;
        let data_dir = reading.data_dir()?;
        let model = reading.text_or("model", "offline");
        let fallbacks = reading.texts("fallbacks");
        let embedding = reading.text("embedding");
        let tls = reading.tls()?;
        let trust_proxy = reading.flag("trust_proxy")?;
        let base_path = reading.base_path()?;
        let (auth, auth_is_said) = reading.auth(&listen, trust_proxy)?;
        let jwt = reading.jwt()?;
        let allow_origin = reading.texts("allow_origin");
        let allow_host = reading.texts("allow_host");
        let grace = reading.seconds("grace_seconds", Duration::from_secs(10))?;
        let agents = reading.agents(fallbacks, auth)?;
        let limits = Limits {
            frame_bytes: to_size(reading.number("limits.frame_bytes", 1 << 20)?),
            attached_sessions: to_size(reading.number("limits.attached_sessions", 1000)?),
            queued_inputs: to_size(reading.number("limits.queued_inputs", 256)?),
            handshake: reading.seconds("limits.handshake_seconds", Duration::from_secs(30))?,
            connections: to_size(reading.number("limits.connections", 20_000)?),
            connections_per_user: to_size(reading.number("limits.connections_per_user", 2_000)?),
            connections_per_address: reading
                .maybe_number("limits.connections_per_address")?
                .map(to_size),
            json_depth: reading.depth("limits.json_depth")?,
            open_approvals: to_size(reading.number("limits.open_approvals", 100)?),
            turn: reading.seconds("limits.turn_seconds", Duration::from_secs(6 * 3600))?,
            archival_bytes: reading.number("limits.archival_bytes", 256 << 20)?,
            commands_per_second: u32::try_from(
                reading.number("limits.commands_per_second", 10_000)?,
            )
            .unwrap_or(u32::MAX),
        };
        let providers = Providers {
            openai: reading.endpoint("openai.api_key", "openai.base_url"),
            anthropic: reading.endpoint("anthropic.api_key", "anthropic.base_url"),
            gemini: reading.endpoint("gemini.api_key", "gemini.base_url"),
            ollama: reading.endpoint("ollama.api_key", "ollama.base_url"),
        };
        reading.text_or("log", DEFAULT_LOG);
        let mcp = tables::mcp(&reading.layers)?;
        let config = Self {
            listen,
            data_dir,
            model,
            auth,
            auth_is_said,
            jwt,
            tls,
            trust_proxy,
            base_path,
            allow_origin,
            allow_host,
            limits,
            grace,
            providers,
            agents,
            embedding,
            mcp,
        };
        Ok((config, reading.settings))
    }

    /// What agents are run with. Starts the MCP servers, and loads the embedding model if it is local.
    pub(crate) fn agent_options(&self) -> Result<AgentOptions, ModelError> {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let Agents {
            fallbacks,
            context_window,
            max_output_tokens,
            max_steps,
            token_budget,
            approval,
            client_tool,
            tool_output_bytes,
            timeouts,
            permissions,
            loosen,
            fetch_proxy,
            load_models,
        } = self.agents.clone();
        let embedder = self
            .embedding
            .as_deref()
            .map(|name| Embedder::open(name, &self.providers))
            .transpose()?;
        Ok(AgentOptions {
            fallbacks,
            context_window,
            max_output_tokens,
            max_steps,
            token_budget,
            approval_ms: millis(approval),
            client_tool_ms: millis(client_tool),
            output_bytes: tool_output_bytes,
            archival_bytes: self.limits.archival_bytes,
            timeouts,
            permissions,
            loosen,
            fetch_proxy,
            load_models,
            embedder,
            mcp: McpServers::start(self.mcp.clone()),
            ..AgentOptions::new(&self.model, self.providers.clone())
        })
    }
}
