//! Configuration: flags over `THOUGHTWIRE_*` variables over a TOML file over defaults.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use config::{Environment, File, FileFormat, Value};
use serde::Serialize;
use thoughtwire_agent::Providers;

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
    /// Origins of pages that may connect, besides those of this machine.
    pub allow_origin: Vec<String>,
    /// Names under which this server may be addressed, besides those of the loopback.
    pub allow_host: Vec<String>,
    /// Limits on what one client may do.
    pub limits: Limits,
    /// How long running turns may go on once the server is to stop.
    pub grace: Duration,
    /// Keys and addresses of model providers.
    pub providers: Providers,
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
    /// Reachable from elsewhere, with no way to tell who comes.
    #[error(
        "{0} can be reached from other machines, and without keys everybody who reaches it would be the owner; listen on 127.0.0.1, or say `--auth none` if that is what you want"
    )]
    Exposed(SocketAddr),
}

const SETTINGS: [&str; 15] = [
    "listen",
    "data_dir",
    "model",
    "auth",
    "allow_origin",
    "allow_host",
    "grace_seconds",
    "limits.frame_bytes",
    "limits.attached_sessions",
    "limits.queued_inputs",
    "limits.handshake_seconds",
    "limits.connections",
    "openai.api_key",
    "openai.base_url",
    "log",
];

/// The sources, in falling order.
struct Layers {
    flags: config::Config,
    variables: config::Config,
    file: config::Config,
    file_name: String,
}

struct Found {
    value: Value,
    source: String,
}

impl Config {
    /// Reads every source and checks the result; also tells where each setting came from.
    ///
    /// # Errors
    /// When a source cannot be read or a setting cannot be used.
    pub fn load(flags: &Flags) -> Result<(Self, Vec<Setting>), ConfigError> {
        let layers = Layers::read(flags)?;
        let mut settings = Vec::new();
        let mut note = |name: &'static str, value: String, found: &Option<Found>| {
            let source = found.as_ref().map_or_else(|| "default".to_owned(), |found| found.source.clone());
            settings.push(Setting { name, value, source });
        };
        let listen = layers.list("listen");
        let (addresses, from_listen) = match &listen {
            Some((values, found)) => (values.clone(), Some(found)),
            None => (vec![DEFAULT_LISTEN.to_owned()], None),
        };
        let addresses: Vec<SocketAddr> = addresses
            .iter()
            .map(|text| parse_listen(text).ok_or_else(|| bad("listen", text, from_listen, "an address such as 127.0.0.1:8282")))
            .collect::<Result<_, _>>()?;
        note("listen", join(&addresses), &listen.map(|(_, found)| found));

        let found = layers.find("data_dir");
        let data_dir = match &found {
            Some(found) => PathBuf::from(text(found)),
            None => directories::ProjectDirs::from("", "", "thoughtwire").ok_or(ConfigError::NoDataDir)?.data_dir().to_owned(),
        };
        note("data_dir", data_dir.display().to_string(), &found);

        let found = layers.find("model");
        let model = found.as_ref().map_or_else(|| "offline".to_owned(), text);
        note("model", model.clone(), &found);

        let found = layers.find("auth");
        let exposed = addresses.iter().find(|address| !address.ip().is_loopback()).copied();
        let auth = match found.as_ref().map(text).as_deref() {
            Some("none") => Auth::None,
            Some("keys") => Auth::Keys,
            Some(other) => return Err(bad("auth", other, found.as_ref(), "`none` or `keys`")),
            None => match exposed {
                Some(address) => return Err(ConfigError::Exposed(address)),
                None => Auth::None,
            },
        };
        note("auth", if auth == Auth::None { "none" } else { "keys" }.to_owned(), &found);

        let mut names = |name: &'static str| {
            let found = layers.list(name);
            let values = found.as_ref().map(|(values, _)| values.clone()).unwrap_or_default();
            note(name, values.join(", "), &found.map(|(_, found)| found));
            values
        };
        let allow_origin = names("allow_origin");
        let allow_host = names("allow_host");

        let mut number = |name: &'static str, default: u64| {
            let found = layers.find(name);
            let value = match &found {
                Some(given) => given.value.clone().into_uint().map_err(|_| bad(name, &text(given), found.as_ref(), "a whole number"))?,
                None => default,
            };
            note(name, value.to_string(), &found);
            Ok::<u64, ConfigError>(value)
        };
        let grace = Duration::from_secs(number("grace_seconds", 10)?);
        let limits = Limits {
            frame_bytes: to_size(number("limits.frame_bytes", 1 << 20)?),
            attached_sessions: to_size(number("limits.attached_sessions", 1000)?),
            queued_inputs: to_size(number("limits.queued_inputs", 256)?),
            handshake: Duration::from_secs(number("limits.handshake_seconds", 30)?),
            connections: to_size(number("limits.connections", 20_000)?),
        };

        let found = layers.find("openai.api_key");
        let api_key = found.as_ref().map(text).filter(|key| !key.is_empty());
        note("openai.api_key", if api_key.is_some() { "(set)" } else { "" }.to_owned(), &found);
        let found = layers.find("openai.base_url");
        let base_url = found.as_ref().map(text).filter(|url| !url.is_empty());
        note("openai.base_url", base_url.clone().unwrap_or_default(), &found);
        let found = layers.find("log");
        note("log", found.as_ref().map_or_else(|| "warn".to_owned(), text), &found);

        let providers = Providers { openai_api_key: api_key, openai_base_url: base_url };
        let config = Self { listen: addresses, data_dir, model, auth, allow_origin, allow_host, limits, grace, providers };
        Ok((config, settings))
    }
}

impl Layers {
    fn read(flags: &Flags) -> Result<Self, ConfigError> {
        let broken = |error: config::ConfigError| ConfigError::File(error.to_string());
        let mut given = config::Config::builder();
        if !flags.listen.is_empty() {
            given = given.set_override("listen", flags.listen.clone()).map_err(broken)?;
        }
        if !flags.allow_origin.is_empty() {
            given = given.set_override("allow_origin", flags.allow_origin.clone()).map_err(broken)?;
        }
        let data_dir = flags.data_dir.as_ref().map(|dir| dir.to_string_lossy().into_owned());
        for (name, value) in [("data_dir", &data_dir), ("model", &flags.model), ("auth", &flags.auth)] {
            given = given.set_override_option(name, value.clone()).map_err(broken)?;
        }
        let variables = Environment::with_prefix("THOUGHTWIRE").prefix_separator("_").separator("__");
        let mut file = config::Config::builder();
        let mut file_name = String::new();
        let named = flags.config.clone().or_else(|| std::env::var_os("THOUGHTWIRE_CONFIG").map(PathBuf::from));
        let usual = directories::ProjectDirs::from("", "", "thoughtwire").map(|dirs| dirs.config_dir().join("config.toml"));
        let required = named.is_some();
        if let Some(path) = named.or(usual) {
            file_name = path.display().to_string();
            file = file.add_source(File::from(path).format(FileFormat::Toml).required(required));
        }
        let layers = Self {
            flags: given.build().map_err(broken)?,
            variables: config::Config::builder().add_source(variables).build().map_err(broken)?,
            file: file.build().map_err(broken)?,
            file_name,
        };
        layers.check_names()?;
        Ok(layers)
    }

    /// A misspelt setting is an error, not a setting without effect.
    fn check_names(&self) -> Result<(), ConfigError> {
        let table = self.file.clone().try_deserialize::<std::collections::HashMap<String, serde_json::Value>>();
        for (name, value) in table.map_err(|error| ConfigError::File(error.to_string()))? {
            let keys: Vec<String> = match value.as_object() {
                Some(inner) => inner.keys().map(|key| format!("{name}.{key}")).collect(),
                None => vec![name],
            };
            if let Some(unknown) = keys.into_iter().find(|key| !SETTINGS.contains(&key.as_str())) {
                return Err(ConfigError::Unknown(unknown));
            }
        }
        Ok(())
    }

    fn find(&self, name: &'static str) -> Option<Found> {
        let usual = match name {
            "openai.api_key" => Some("OPENAI_API_KEY"),
            "openai.base_url" => Some("OPENAI_BASE_URL"),
            _ => None,
        };
        let get = |layer: &config::Config| layer.get::<Value>(name).ok();
        if let Some(value) = get(&self.flags) {
            return Some(Found { value, source: "flag".to_owned() });
        }
        if let Some(value) = get(&self.variables) {
            let variable = format!("THOUGHTWIRE_{}", name.to_uppercase().replace('.', "__"));
            return Some(Found { value, source: variable });
        }
        if let Some(variable) = usual
            && let Ok(value) = std::env::var(variable)
        {
            return Some(Found { value: Value::from(value), source: variable.to_owned() });
        }
        get(&self.file).map(|value| Found { value, source: self.file_name.clone() })
    }

    /// A list: an array in the file, repeated as flags, separated by commas in a variable.
    fn list(&self, name: &'static str) -> Option<(Vec<String>, Found)> {
        let found = self.find(name)?;
        let values = match found.value.clone().into_array() {
            Ok(values) => values.into_iter().map(|value| value.into_string().unwrap_or_default()).collect(),
            Err(_) => text(&found).split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect(),
        };
        Some((values, found))
    }
}

fn text(found: &Found) -> String {
    found.value.clone().into_string().unwrap_or_default()
}

fn bad(name: &'static str, value: &str, found: Option<&Found>, wanted: &'static str) -> ConfigError {
    let from = found.map_or_else(|| "default".to_owned(), |found| found.source.clone());
    ConfigError::Value { name, value: value.to_owned(), from, wanted }
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
