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
    AgentOptions, Embedder, EmbeddingPrefixes, McpConfig, McpServers, ModelError, Providers,
    Timeouts,
};
pub use thoughtwire_proto::rest::Auth;
use thoughtwire_proto::{Permission, Replay};

use crate::base_path::BasePath;
use layers::Layers;
use reading::{SettingsReader, to_size};

/// Default address to listen on: `MemGPT`'s host, and a port beside its own.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8282";

/// Default log filter. Libraries report problems that their callers handle, so only their errors
/// are logged.
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

/// Settings of the command line; absent where it says nothing.
#[derive(Debug, Default, Clone)]
pub struct Flags {
    /// `--listen`, repeated.
    pub listen: Vec<String>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--store`.
    pub store: Option<String>,
    /// `--advertise`.
    pub advertise: Option<String>,
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

/// Configuration of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Data directory.
    pub data_dir: PathBuf,
    /// Address of the PostgreSQL database with the data; SQLite in the data directory without one.
    pub store: Option<String>,
    /// URL under which other nodes reach this one.
    pub advertise: Option<String>,
    /// The model of agents that name none, as `provider/name`.
    pub model: String,
    /// Whether the server asks for keys.
    pub auth: Auth,
    /// Whether `auth` was given, rather than derived from the addresses.
    pub auth_is_said: bool,
    /// Issuer whose tokens are accepted.
    pub jwt: Option<JwtConfig>,
    /// Origins of pages that may connect, in addition to those of this machine.
    pub allow_origin: Vec<String>,
    /// The certificate of a server that speaks TLS.
    pub tls: Option<TlsConfig>,
    /// Whether to trust `X-Forwarded-*` of a proxy in front.
    pub trust_proxy: bool,
    /// The path prefix under which the server is reached, if there is one.
    pub base_path: BasePath,
    /// Host names of this server, in addition to those of the loopback.
    pub allow_host: Vec<String>,
    /// Limits on what one client may do.
    pub limits: ServerLimits,
    /// Time without a new record for which the session of an OpenAI-compatible request that names
    /// none is kept.
    pub keep_completions: Duration,
    /// Time that running turns have to end when the server stops.
    pub grace: Duration,
    /// Keys and addresses of model providers.
    pub providers: Providers,
    /// Defaults for agents' settings.
    pub agents: Agents,
    /// Embedding model for notes and messages, if there is one.
    pub embedding: Option<String>,
    /// Text in front of queries and of what is searched, before they are embedded.
    pub embedding_prefixes: EmbeddingPrefixes,
    /// The MCP servers.
    pub mcp: Vec<McpConfig>,
}

/// Files for TLS, in PEM.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Checks for tokens of another issuer.
#[derive(Clone)]
pub struct JwtConfig {
    /// `HS256`, `RS256` or `ES256`. It is the key's algorithm; the token's is not used.
    pub algorithm: String,
    /// The secret, or the public key in PEM.
    pub key: String,
    /// The `aud` that a token must have.
    pub audience: String,
    /// Prefix of a token's `sub` in its user's name, so that the issuer's users differ from those
    /// of keys; empty if they are the same.
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

/// Defaults for agents' settings.
#[derive(Debug, Clone)]
pub struct Agents {
    /// Models to ask when an agent's own is unavailable.
    pub fallbacks: Vec<String>,
    /// Most tokens of a prompt and its reply together.
    pub context_window: usize,
    /// Most tokens of one reply.
    pub max_output_tokens: Option<u32>,
    /// Most model calls of one turn.
    pub max_steps: usize,
    /// Most tokens of one turn, read and written.
    pub token_budget: Option<u64>,
    /// Longest wait for an approval.
    pub approval: Duration,
    /// Longest wait for a client's tool.
    pub client_tool: Duration,
    /// Most bytes of a tool's output that a model is shown.
    pub tool_output_bytes: usize,
    /// Longest waits for a model.
    pub timeouts: Timeouts,
    /// Permissions of tools by name. An agent's own settings can be stricter.
    pub permissions: BTreeMap<String, Permission>,
    /// Tools whose permission an agent's own settings may also loosen.
    pub loosen: Vec<String>,
    /// Treatment of calls that an interruption left without a result, by tool name.
    pub replay: BTreeMap<String, Replay>,
    /// The proxy through which `fetch_url` reads pages.
    pub fetch_proxy: Option<String>,
    /// Whether agents may name a model `load:…`.
    pub load_models: bool,
}

/// Limits with safe defaults, above what a busy client needs.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// The largest frame and request body, in bytes.
    pub frame_bytes: usize,
    /// Most sessions that one connection may be attached to.
    pub attached_sessions: usize,
    /// Most queued inputs of one session.
    pub queued_inputs: usize,
    /// Time to authenticate, on wires that begin with that.
    pub handshake: Duration,
    /// Most connections in all.
    pub connections: usize,
    /// Most connections of one user, where there are keys.
    pub connections_per_user: usize,
    /// Most connections of one address, if given. Otherwise [`ServerLimits::PER_ADDRESS`], and no
    /// limit for this machine.
    pub connections_per_address: Option<usize>,
    /// Deepest nesting of a frame's JSON; at most [`ServerLimits::JSON_DEPTH`].
    pub json_depth: usize,
    /// Most calls of one turn that wait for approval at once.
    pub open_approvals: usize,
    /// Longest turn, not counting waits for people or clients.
    pub turn: Duration,
    /// Most bytes of text in an agent's archival memory.
    pub archival_bytes: u64,
    /// Most commands of one connection per second; twice as many may come at once.
    pub commands_per_second: u32,
}

impl ServerLimits {
    /// Most connections of one address that is not this machine.
    pub const PER_ADDRESS: usize = 1_000;
    /// Deepest nesting that can be read at all.
    pub const JSON_DEPTH: usize = 127;
}

/// One setting with its value.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    /// Its name, as in the file: `table.name` in a table.
    pub name: String,
    /// Its value; secrets are masked.
    pub value: String,
    /// Source: `flag`, a variable's name, the file, or `default`.
    pub source: String,
}

/// A fault of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or is no TOML.
    #[error("the configuration file cannot be used: {0}")]
    File(String),
    /// A setting does not take the value.
    #[error("`{name}` is {value:?} (from {from}), which is not {wanted}")]
    Value {
        /// The setting.
        name: &'static str,
        /// Value.
        value: String,
        /// Source.
        from: String,
        /// Values that it takes.
        wanted: &'static str,
    },
    /// The file has an unknown setting.
    #[error(
        "the configuration file has a setting `{0}`, which there is not; see `thoughtwire config \
         show` for those there are"
    )]
    Unknown(String),
    /// No data directory was given, and the platform has none.
    #[error("no data directory could be found for this user; say `--data-dir DIR`")]
    NoDataDir,
    /// A table cannot be used.
    #[error("the configuration file's [{table}] cannot be used: {reason}")]
    Table {
        /// The table.
        table: String,
        /// Fault.
        reason: String,
    },
}

impl Config {
    /// Reads every source and checks the result. Returns each setting with its source as well.
    ///
    /// # Errors
    /// When a source cannot be read or a setting cannot be used.
    pub fn load(flags: &Flags) -> Result<(Self, Vec<Setting>), ConfigError> {
        let mut reading = SettingsReader { layers: Layers::read(flags)?, settings: Vec::new() };
        let listen = reading.listen()?;
        let data_dir = reading.data_dir()?;
        let store = reading.store()?;
        let advertise = reading.advertise()?;
        let model = reading.text_or("model", "offline");
        let fallbacks = reading.texts("fallbacks");
        let embedding = reading.text("embedding");
        let embedding_prefixes = EmbeddingPrefixes {
            query: reading.raw_text("embedding_query_prefix"),
            document: reading.raw_text("embedding_document_prefix"),
        };
        let tls = reading.tls()?;
        let trust_proxy = reading.flag("trust_proxy")?;
        let base_path = reading.base_path()?;
        let (auth, auth_is_said) = reading.auth(&listen, trust_proxy)?;
        let jwt = reading.jwt()?;
        let allow_origin = reading.texts("allow_origin");
        let allow_host = reading.texts("allow_host");
        let grace = reading.seconds("grace_seconds", Duration::from_secs(10))?;
        let keep_completions = reading.time("openai.keep", "1d", Duration::from_secs(24 * 3600))?;
        let agents = reading.agents(fallbacks, auth)?;
        let limits = ServerLimits {
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
            store,
            advertise,
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
            keep_completions,
            grace,
            providers,
            agents,
            embedding,
            embedding_prefixes,
            mcp,
        };
        Ok((config, reading.settings))
    }

    /// Makes the options of the agents. Starts the MCP servers and loads a local embedding model.
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
            replay,
            fetch_proxy,
            load_models,
        } = self.agents.clone();
        let embedder = self.embedder()?;
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
            replay,
            fetch_proxy,
            load_models,
            embedder,
            mcp: McpServers::start(self.mcp.clone()),
            ..AgentOptions::new(&self.model, self.providers.clone())
        })
    }

    /// Opens the embedding model, if one is configured. Reads a local one, which blocks.
    pub(crate) fn embedder(&self) -> Result<Option<Embedder>, ModelError> {
        let open = |name: &String| {
            Embedder::open_with(name, &self.providers, self.embedding_prefixes.clone())
        };
        self.embedding.as_ref().map(open).transpose()
    }
}
