//! Configuration: flags over `THOUGHTWIRE_*` variables over a TOML file over defaults.

mod layers;
mod tables;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use std::collections::BTreeMap;
use thoughtwire_agent::{AgentOptions, Embedder, Endpoint, McpConfig, McpServers, ModelError, Providers, Timeouts};
use thoughtwire_proto::Permission;

use layers::{Found, Layers, bad, text};

/// Where a server listens unless told otherwise: `MemGPT`'s host, and a port beside its own.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8282";

/// Whether keys are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// Everybody who can connect is the user `local`.
    None,
    /// Everybody needs a key.
    Keys,
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
}

impl std::fmt::Debug for JwtConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("JwtConfig").field("algorithm", &self.algorithm).field("audience", &self.audience).finish_non_exhaustive()
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
    /// What may be done with tools, by name.
    pub permissions: BTreeMap<String, Permission>,
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
    /// Commands of one connection in a second; twice as many may come at once.
    pub commands_per_second: u32,
}

impl Limits {
    /// Connections of one address that is not this machine.
    pub const PER_ADDRESS: usize = 1_000;
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
    #[error("the configuration file has a setting `{0}`, which there is not; see `thoughtwire config show` for those there are")]
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

/// Every setting with one value; `[permissions]` and `[mcp.NAME]` are tables beside them.
const SETTINGS: [&str; 43] = [
    "listen",
    "data_dir",
    "model",
    "fallbacks",
    "embedding",
    "auth",
    "jwt.algorithm",
    "jwt.key",
    "jwt.key_file",
    "jwt.audience",
    "tls.certificate",
    "tls.key",
    "trust_proxy",
    "allow_origin",
    "allow_host",
    "grace_seconds",
    "context_window",
    "max_output_tokens",
    "max_steps",
    "token_budget",
    "approval_seconds",
    "client_tool_seconds",
    "tool_output_bytes",
    "limits.frame_bytes",
    "limits.attached_sessions",
    "limits.queued_inputs",
    "limits.handshake_seconds",
    "limits.connections",
    "limits.connections_per_user",
    "limits.connections_per_address",
    "limits.commands_per_second",
    "timeouts.connect_seconds",
    "timeouts.first_seconds",
    "timeouts.silence_seconds",
    "openai.api_key",
    "openai.base_url",
    "anthropic.api_key",
    "anthropic.base_url",
    "gemini.api_key",
    "gemini.base_url",
    "ollama.base_url",
    "ollama.api_key",
    "log",
];

/// The layers being read, and what came of it so far.
struct Reading {
    layers: Layers,
    settings: Vec<Setting>,
}

impl Reading {
    fn note(&mut self, name: &'static str, value: String, found: Option<&Found>) {
        let source = found.map_or_else(|| "default".to_owned(), |found| found.source.clone());
        self.settings.push(Setting { name, value, source });
    }

    /// A text; an empty one counts as none.
    fn text(&mut self, name: &'static str) -> Option<String> {
        let found = self.layers.find(name);
        let value = found.as_ref().map(text).filter(|value| !value.is_empty());
        self.note(name, value.clone().unwrap_or_default(), found.as_ref());
        value
    }

    fn secret(&mut self, name: &'static str) -> Option<String> {
        let found = self.layers.find(name);
        let value = found.as_ref().map(text).filter(|value| !value.is_empty());
        self.note(name, if value.is_some() { "(set)" } else { "" }.to_owned(), found.as_ref());
        value
    }

    fn texts(&mut self, name: &'static str) -> Vec<String> {
        let found = self.layers.list(name);
        let values = found.as_ref().map(|(values, _)| values.clone()).unwrap_or_default();
        self.note(name, values.join(", "), found.as_ref().map(|(_, found)| found));
        values
    }

    fn maybe_number(&mut self, name: &'static str) -> Result<Option<u64>, ConfigError> {
        let found = self.layers.find(name);
        let value = match &found {
            Some(given) => Some(given.value.clone().into_uint().map_err(|_| bad(name, &text(given), Some(given), "a whole number"))?),
            None => None,
        };
        self.note(name, value.map(|value| value.to_string()).unwrap_or_default(), found.as_ref());
        Ok(value)
    }

    fn number(&mut self, name: &'static str, default: u64) -> Result<u64, ConfigError> {
        let value = self.maybe_number(name)?.unwrap_or(default);
        if let Some(setting) = self.settings.last_mut() {
            setting.value = value.to_string();
        }
        Ok(value)
    }

    fn seconds(&mut self, name: &'static str, default: Duration) -> Result<Duration, ConfigError> {
        Ok(Duration::from_secs(self.number(name, default.as_secs())?))
    }

    fn endpoint(&mut self, api_key: &'static str, base_url: &'static str) -> Endpoint {
        Endpoint { api_key: self.secret(api_key), base_url: self.text(base_url) }
    }

    fn listen(&mut self) -> Result<Vec<SocketAddr>, ConfigError> {
        let given = self.layers.list("listen");
        let (texts, found) = match given {
            Some((texts, found)) => (texts, Some(found)),
            None => (vec![DEFAULT_LISTEN.to_owned()], None),
        };
        let parse =
            |text: &String| parse_listen(text).ok_or_else(|| bad("listen", text, found.as_ref(), "an address such as 127.0.0.1:8282"));
        let addresses = texts.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        self.note("listen", join(&addresses), found.as_ref());
        Ok(addresses)
    }

    fn data_dir(&mut self) -> Result<PathBuf, ConfigError> {
        let found = self.layers.find("data_dir");
        let dir = match &found {
            Some(found) => PathBuf::from(text(found)),
            None => directories::ProjectDirs::from("", "", "thoughtwire").ok_or(ConfigError::NoDataDir)?.data_dir().to_owned(),
        };
        self.note("data_dir", dir.display().to_string(), found.as_ref());
        Ok(dir)
    }

    fn auth(&mut self, addresses: &[SocketAddr], proxied: bool) -> Result<(Auth, bool), ConfigError> {
        let found = self.layers.find("auth");
        let exposed = proxied || addresses.iter().any(|address| !address.ip().is_loopback());
        let auth = match found.as_ref().map(text).as_deref() {
            Some("none") => Auth::None,
            Some("keys") => Auth::Keys,
            Some(other) => return Err(bad("auth", other, found.as_ref(), "`none` or `keys`")),
            // Who is reached from elsewhere asks who comes.
            None if exposed => Auth::Keys,
            None => Auth::None,
        };
        self.note("auth", if auth == Auth::None { "none" } else { "keys" }.to_owned(), found.as_ref());
        Ok((auth, found.is_some()))
    }

    fn flag(&mut self, name: &'static str) -> Result<bool, ConfigError> {
        let found = self.layers.find(name);
        let value = match &found {
            Some(given) => given.value.clone().into_bool().map_err(|_| bad(name, &text(given), Some(given), "`true` or `false`"))?,
            None => false,
        };
        self.note(name, value.to_string(), found.as_ref());
        Ok(value)
    }

    fn tls(&mut self) -> Result<Option<TlsConfig>, ConfigError> {
        match (self.text("tls.certificate"), self.text("tls.key")) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(TlsConfig { certificate: certificate.into(), key: key.into() })),
            _ => Err(ConfigError::Table { table: "tls".to_owned(), reason: "say `certificate` and `key`, both".to_owned() }),
        }
    }

    fn jwt(&mut self) -> Result<Option<JwtConfig>, ConfigError> {
        let algorithm = self.text("jwt.algorithm");
        let (key, file, audience) = (self.secret("jwt.key"), self.text("jwt.key_file"), self.text("jwt.audience"));
        let refused = |reason: &str| ConfigError::Table { table: "jwt".to_owned(), reason: reason.to_owned() };
        let Some(algorithm) = algorithm else {
            return match (key, file, audience) {
                (None, None, None) => Ok(None),
                _ => Err(refused("say `algorithm`: HS256, RS256 or ES256")),
            };
        };
        let key = match (key, file) {
            (Some(key), None) => key,
            (None, Some(file)) => std::fs::read_to_string(&file).map_err(|error| refused(&format!("{file} cannot be read: {error}")))?,
            (None, None) => return Err(refused("say `key` or `key_file`: the secret of HS256, or the public key in PEM")),
            (Some(_), Some(_)) => return Err(refused("say `key` or `key_file`, not both")),
        };
        let audience = audience.ok_or_else(|| refused("say `audience`: the `aud` of tokens that are meant for this server"))?;
        Ok(Some(JwtConfig { algorithm, key, audience }))
    }

    /// A text with a default that is shown.
    fn text_or(&mut self, name: &'static str, default: &str) -> String {
        let value = self.text(name).unwrap_or_else(|| default.to_owned());
        if let Some(setting) = self.settings.last_mut() {
            setting.value.clone_from(&value);
        }
        value
    }

    fn agents(&mut self, fallbacks: Vec<String>) -> Result<Agents, ConfigError> {
        let usual = AgentOptions::new("offline", Providers::default());
        let waits = Timeouts::default();
        Ok(Agents {
            fallbacks,
            context_window: to_size(self.number("context_window", usual.context_window as u64)?),
            max_output_tokens: self.maybe_number("max_output_tokens")?.map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
            max_steps: to_size(self.number("max_steps", usual.max_steps as u64)?),
            token_budget: self.maybe_number("token_budget")?,
            approval: self.seconds("approval_seconds", Duration::from_secs(3600))?,
            client_tool: self.seconds("client_tool_seconds", Duration::from_secs(120))?,
            tool_output_bytes: to_size(self.number("tool_output_bytes", usual.output_bytes as u64)?),
            timeouts: Timeouts {
                connect: self.seconds("timeouts.connect_seconds", waits.connect)?,
                first: self.seconds("timeouts.first_seconds", waits.first)?,
                silence: self.seconds("timeouts.silence_seconds", waits.silence)?,
            },
            permissions: tables::permissions(&self.layers)?,
        })
    }
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
        let (auth, auth_is_said) = reading.auth(&listen, trust_proxy)?;
        let jwt = reading.jwt()?;
        let allow_origin = reading.texts("allow_origin");
        let allow_host = reading.texts("allow_host");
        let grace = reading.seconds("grace_seconds", Duration::from_secs(10))?;
        let agents = reading.agents(fallbacks)?;
        let limits = Limits {
            frame_bytes: to_size(reading.number("limits.frame_bytes", 1 << 20)?),
            attached_sessions: to_size(reading.number("limits.attached_sessions", 1000)?),
            queued_inputs: to_size(reading.number("limits.queued_inputs", 256)?),
            handshake: reading.seconds("limits.handshake_seconds", Duration::from_secs(30))?,
            connections: to_size(reading.number("limits.connections", 20_000)?),
            connections_per_user: to_size(reading.number("limits.connections_per_user", 2_000)?),
            connections_per_address: reading.maybe_number("limits.connections_per_address")?.map(to_size),
            commands_per_second: u32::try_from(reading.number("limits.commands_per_second", 10_000)?).unwrap_or(u32::MAX),
        };
        let providers = Providers {
            openai: reading.endpoint("openai.api_key", "openai.base_url"),
            anthropic: reading.endpoint("anthropic.api_key", "anthropic.base_url"),
            gemini: reading.endpoint("gemini.api_key", "gemini.base_url"),
            ollama: reading.endpoint("ollama.api_key", "ollama.base_url"),
        };
        // The MCP library reports every line that a server writes about itself.
        reading.text_or("log", "warn,rmcp=error");
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
        } = self.agents.clone();
        let embedder = self.embedding.as_deref().map(|name| Embedder::open(name, &self.providers)).transpose()?;
        Ok(AgentOptions {
            fallbacks,
            context_window,
            max_output_tokens,
            max_steps,
            token_budget,
            approval_ms: millis(approval),
            client_tool_ms: millis(client_tool),
            output_bytes: tool_output_bytes,
            timeouts,
            permissions,
            embedder,
            mcp: McpServers::start(self.mcp.clone()),
            ..AgentOptions::new(&self.model, self.providers.clone())
        })
    }
}

fn parse_listen(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| {
        let (host, port) = text.rsplit_once(':')?;
        let ip: IpAddr = match host {
            "localhost" => IpAddr::from([127, 0, 0, 1]),
            "" | "*" => IpAddr::from([0, 0, 0, 0]),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port.parse().ok()?))
    })
}

fn join(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn to_size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
