//! Sources of a configuration, in order of precedence.

use std::path::PathBuf;

use config::{Environment, File, FileFormat, Value};
use serde::de::DeserializeOwned;

use super::{ConfigError, Flags, usual_file};

/// Every setting with one value; `[permissions]`, `[replay]` and `[mcp.NAME]` are tables
/// beside them.
const SETTINGS: &[&str] = &[
    "listen",
    "data_dir",
    "store",
    "advertise",
    "model",
    "fallbacks",
    "embedding",
    "embedding_query_prefix",
    "embedding_document_prefix",
    "auth",
    "jwt.algorithm",
    "jwt.key",
    "jwt.key_file",
    "jwt.audience",
    "jwt.user_prefix",
    "tls.certificate",
    "tls.key",
    "trust_proxy",
    "base_path",
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
    "fetch_proxy",
    "load_models",
    "limits.frame_bytes",
    "limits.attached_sessions",
    "limits.queued_inputs",
    "limits.handshake_seconds",
    "limits.connections",
    "limits.connections_per_user",
    "limits.connections_per_address",
    "limits.json_depth",
    "limits.open_approvals",
    "limits.turn_seconds",
    "limits.archival_bytes",
    "limits.commands_per_second",
    "timeouts.connect_seconds",
    "timeouts.first_seconds",
    "timeouts.silence_seconds",
    "openai.api_key",
    "openai.base_url",
    "openai.keep",
    "anthropic.api_key",
    "anthropic.base_url",
    "gemini.api_key",
    "gemini.base_url",
    "ollama.base_url",
    "ollama.api_key",
    "log",
];

/// Tables of the file whose keys are names that its owner chose.
const TABLES: [&str; 3] = ["permissions", "replay", "mcp"];

/// Sources, highest precedence first.
pub(super) struct Layers {
    flags: config::Config,
    variables: config::Config,
    file: config::Config,
    file_name: String,
}

pub(super) struct FoundSetting {
    pub(super) value: Value,
    pub(super) source: String,
}

impl Layers {
    pub(super) fn read(flags: &Flags) -> Result<Self, ConfigError> {
        let broken = |error: config::ConfigError| ConfigError::File(error.to_string());
        let mut given = config::Config::builder();
        if !flags.listen.is_empty() {
            given = given.set_override("listen", flags.listen.clone()).map_err(broken)?;
        }
        if !flags.allow_origin.is_empty() {
            given =
                given.set_override("allow_origin", flags.allow_origin.clone()).map_err(broken)?;
        }
        let data_dir = flags.data_dir.as_ref().map(|dir| dir.to_string_lossy().into_owned());
        let path =
            |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let (certificate, key) = (path(&flags.tls_certificate), path(&flags.tls_key));
        let proxy = flags.trust_proxy.then(|| "true".to_owned());
        for (name, value) in [
            ("data_dir", &data_dir),
            ("store", &flags.store),
            ("advertise", &flags.advertise),
            ("model", &flags.model),
            ("auth", &flags.auth),
            ("tls.certificate", &certificate),
            ("tls.key", &key),
            ("trust_proxy", &proxy),
            ("base_path", &flags.base_path),
        ] {
            given = given.set_override_option(name, value.clone()).map_err(broken)?;
        }
        let variables =
            Environment::with_prefix("THOUGHTWIRE").prefix_separator("_").separator("__");
        let mut file = config::Config::builder();
        let mut file_name = String::new();
        let named = flags
            .config
            .clone()
            .or_else(|| std::env::var_os("THOUGHTWIRE_CONFIG").map(PathBuf::from))
            .filter(|path| !path.as_os_str().is_empty());
        let required = named.is_some();
        if let Some(path) = named.or_else(usual_file) {
            file_name = path.display().to_string();
            // Read here, since the library accepts only regular files.
            match std::fs::read_to_string(&path) {
                Ok(text) => file = file.add_source(File::from_str(&text, FileFormat::Toml)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {}
                Err(error) => return Err(ConfigError::File(format!("{file_name}: {error}"))),
            }
        }
        let in_file =
            |error: config::ConfigError| ConfigError::File(format!("{file_name}: {error}"));
        let layers = Self {
            flags: given.build().map_err(broken)?,
            variables: config::Config::builder().add_source(variables).build().map_err(broken)?,
            file: file.build().map_err(in_file)?,
            file_name,
        };
        layers.check_names()?;
        Ok(layers)
    }

    /// A misspelt setting is an error, not a setting without effect.
    fn check_names(&self) -> Result<(), ConfigError> {
        let table = self
            .file
            .clone()
            .try_deserialize::<std::collections::HashMap<String, serde_json::Value>>();
        for (name, value) in table.map_err(|error| ConfigError::File(error.to_string()))? {
            if TABLES.contains(&name.as_str()) {
                continue;
            }
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

    pub(super) fn find(&self, name: &'static str) -> Option<FoundSetting> {
        // Variables that the providers' own tools read.
        let usual: &[&str] = match name {
            "openai.api_key" => &["OPENAI_API_KEY"],
            "openai.base_url" => &["OPENAI_BASE_URL"],
            "anthropic.api_key" => &["ANTHROPIC_API_KEY"],
            "anthropic.base_url" => &["ANTHROPIC_BASE_URL"],
            "gemini.api_key" => &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
            "gemini.base_url" => &["GEMINI_BASE_URL"],
            "ollama.base_url" => &["OLLAMA_HOST"],
            _ => &[],
        };
        let get = |layer: &config::Config| layer.get::<Value>(name).ok();
        if let Some(value) = get(&self.flags) {
            return Some(FoundSetting { value, source: "flag".to_owned() });
        }
        if let Some(value) = get(&self.variables) {
            let variable = format!("THOUGHTWIRE_{}", name.to_uppercase().replace('.', "__"));
            return Some(FoundSetting { value, source: variable });
        }
        let set = usual.iter().find_map(|variable| {
            std::env::var(variable)
                .ok()
                .filter(|value| !value.is_empty())
                .map(|value| (value, *variable))
        });
        if let Some((value, variable)) = set {
            return Some(FoundSetting { value: Value::from(value), source: variable.to_owned() });
        }
        get(&self.file).map(|value| FoundSetting { value, source: self.file_name.clone() })
    }

    /// Reads a list: an array in the file, repeated flags, or a variable with commas.
    pub(super) fn list(&self, name: &'static str) -> Option<(Vec<String>, FoundSetting)> {
        let found = self.find(name)?;
        let values = match found.value.clone().into_array() {
            Ok(values) => {
                values.into_iter().map(|value| value.into_string().unwrap_or_default()).collect()
            }
            Err(_) => text(&found)
                .split(',')
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty())
                .collect(),
        };
        Some((values, found))
    }

    /// The file's path; empty if there is none.
    pub(super) fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Reads a table of the file; an absent table is empty.
    pub(super) fn table<T: DeserializeOwned + Default>(
        &self,
        name: &str,
    ) -> Result<T, ConfigError> {
        match self.file.get::<T>(name) {
            Ok(table) => Ok(table),
            Err(config::ConfigError::NotFound(_)) => Ok(T::default()),
            Err(error) => {
                Err(ConfigError::Table { table: name.to_owned(), reason: error.to_string() })
            }
        }
    }
}

pub(super) fn text(found: &FoundSetting) -> String {
    found.value.clone().into_string().unwrap_or_default()
}

pub(super) fn bad(
    name: &'static str,
    value: &str,
    found: Option<&FoundSetting>,
    wanted: &'static str,
) -> ConfigError {
    let from = found.map_or_else(|| "default".to_owned(), |found| found.source.clone());
    ConfigError::Value { name, value: value.to_owned(), from, wanted }
}
