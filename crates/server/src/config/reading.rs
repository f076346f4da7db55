//! Reads settings one by one, with their defaults and sources.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use thoughtwire_agent::{AgentOptions, Endpoint, Providers, Timeouts};

use crate::base_path::BasePath;

use super::layers::{FoundSetting, Layers, bad, text};
use super::masking::masked_address;
use super::{
    Agents, Auth, ConfigError, DEFAULT_LISTEN, JwtConfig, ServerLimits, Setting, TlsConfig, tables,
    usual_data_dir,
};

/// The sources, and the settings that were read so far.
pub(super) struct SettingsReader {
    pub(super) layers: Layers,
    pub(super) settings: Vec<Setting>,
}

impl SettingsReader {
    fn note(&mut self, name: &'static str, value: String, found: Option<&FoundSetting>) {
        let source = found.map_or_else(|| "default".to_owned(), |found| found.source.clone());
        self.settings.push(Setting { name: name.to_owned(), value, source });
    }

    /// Notes the entries of a table of the file.
    fn note_table<T: Serialize>(&mut self, table: &str, entries: &BTreeMap<String, T>) {
        let source = self.layers.file_name().to_owned();
        self.settings.extend(entries.iter().map(|(key, entry)| {
            let word = serde_json::to_value(entry).unwrap_or_default();
            let value = word.as_str().unwrap_or_default().to_owned();
            Setting { name: format!("{table}.{key}"), value, source: source.clone() }
        }));
    }

    /// Reads a text; an empty one counts as absent.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let found = self.layers.find(name);
        let value = found.as_ref().map(text).filter(|value| !value.is_empty());
        self.note(name, value.clone().unwrap_or_default(), found.as_ref());
        value
    }

    /// Reads a text that may be empty, such as a prefix.
    pub(super) fn raw_text(&mut self, name: &'static str) -> Option<String> {
        let found = self.layers.find(name);
        let value = found.as_ref().map(text);
        self.note(name, value.clone().unwrap_or_default(), found.as_ref());
        value
    }

    pub(super) fn secret(&mut self, name: &'static str) -> Option<String> {
        let found = self.layers.find(name);
        let value = found.as_ref().map(text).filter(|value| !value.is_empty());
        self.note(name, if value.is_some() { "(set)" } else { "" }.to_owned(), found.as_ref());
        value
    }

    pub(super) fn texts(&mut self, name: &'static str) -> Vec<String> {
        let found = self.layers.list(name);
        let values = found.as_ref().map(|(values, _)| values.clone()).unwrap_or_default();
        self.note(name, values.join(", "), found.as_ref().map(|(_, found)| found));
        values
    }

    pub(super) fn maybe_number(&mut self, name: &'static str) -> Result<Option<u64>, ConfigError> {
        let found = self.layers.find(name);
        let value = match &found {
            Some(given) => Some(
                given
                    .value
                    .clone()
                    .into_uint()
                    .map_err(|_| bad(name, &text(given), Some(given), "a whole number"))?,
            ),
            None => None,
        };
        self.note(name, value.map(|value| value.to_string()).unwrap_or_default(), found.as_ref());
        Ok(value)
    }

    pub(super) fn number(&mut self, name: &'static str, default: u64) -> Result<u64, ConfigError> {
        let value = self.maybe_number(name)?.unwrap_or(default);
        if let Some(setting) = self.settings.last_mut() {
            setting.value = value.to_string();
        }
        Ok(value)
    }

    pub(super) fn seconds(
        &mut self,
        name: &'static str,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        Ok(Duration::from_secs(self.number(name, default.as_secs())?))
    }

    /// Reads a time: a number of seconds, or a number with its unit, such as `36h`. `shown` is the
    /// default as it is written.
    pub(super) fn time(
        &mut self,
        name: &'static str,
        shown: &str,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        let found = self.layers.find(name);
        let given = self.text_or(name, shown);
        let Some(found) = found else { return Ok(default) };
        parse_time(&given).ok_or_else(|| {
            bad(name, &given, Some(&found), "a time such as `90` (seconds), `30m`, `36h` or `7d`")
        })
    }

    pub(super) fn depth(&mut self, name: &'static str) -> Result<usize, ConfigError> {
        let depth = to_size(self.number(name, ServerLimits::JSON_DEPTH as u64)?);
        if !(1..=ServerLimits::JSON_DEPTH).contains(&depth) {
            return Err(bad(
                name,
                &depth.to_string(),
                self.layers.find(name).as_ref(),
                "a number from 1 to 127",
            ));
        }
        Ok(depth)
    }

    pub(super) fn endpoint(&mut self, api_key: &'static str, base_url: &'static str) -> Endpoint {
        Endpoint { api_key: self.secret(api_key), base_url: self.address(base_url) }
    }

    /// Reads an address, which is shown without its credentials.
    fn address(&mut self, name: &'static str) -> Option<String> {
        let address = self.text(name);
        if let Some(setting) = self.settings.last_mut() {
            setting.value = masked_address(&setting.value);
        }
        address
    }

    pub(super) fn listen(&mut self) -> Result<Vec<SocketAddr>, ConfigError> {
        let given = self.layers.list("listen");
        let (texts, found) = match given {
            Some((texts, found)) => (texts, Some(found)),
            None => (vec![DEFAULT_LISTEN.to_owned()], None),
        };
        let parse = |text: &String| {
            parse_listen(text).ok_or_else(|| {
                bad("listen", text, found.as_ref(), "an address such as 127.0.0.1:8282")
            })
        };
        let addresses = texts.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        self.note("listen", join(&addresses), found.as_ref());
        Ok(addresses)
    }

    pub(super) fn data_dir(&mut self) -> Result<PathBuf, ConfigError> {
        let found = self.layers.find("data_dir");
        let dir = match &found {
            Some(found) => PathBuf::from(text(found)),
            None => usual_data_dir().ok_or(ConfigError::NoDataDir)?,
        };
        self.note("data_dir", dir.display().to_string(), found.as_ref());
        Ok(dir)
    }

    pub(super) fn store(&mut self) -> Result<Option<String>, ConfigError> {
        let found = self.layers.find("store");
        let store = self.address("store");
        let is_known =
            |url: &String| url.starts_with("postgres://") || url.starts_with("postgresql://");
        match store {
            Some(url) if !is_known(&url) => Err(bad(
                "store",
                &masked_address(&url),
                found.as_ref(),
                "an address such as postgres://user@host/database",
            )),
            store => Ok(store),
        }
    }

    pub(super) fn advertise(&mut self) -> Result<Option<String>, ConfigError> {
        let found = self.layers.find("advertise");
        let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        match self.text("advertise") {
            Some(url) if !is_url(&url) => {
                Err(bad("advertise", &url, found.as_ref(), "a URL such as http://10.0.0.7:8282"))
            }
            url => Ok(url.map(|url| url.trim_end_matches('/').to_owned())),
        }
    }

    pub(super) fn auth(
        &mut self,
        addresses: &[SocketAddr],
        proxied: bool,
    ) -> Result<(Auth, bool), ConfigError> {
        let found = self.layers.find("auth");
        let exposed = proxied || addresses.iter().any(|address| !address.ip().is_loopback());
        let auth = match found.as_ref().map(text).as_deref() {
            Some("none") => Auth::None,
            Some("keys") => Auth::Keys,
            Some(other) => return Err(bad("auth", other, found.as_ref(), "`none` or `keys`")),
            // A server that others can reach asks for keys.
            None if exposed => Auth::Keys,
            None => Auth::None,
        };
        self.note(
            "auth",
            if auth == Auth::None { "none" } else { "keys" }.to_owned(),
            found.as_ref(),
        );
        Ok((auth, found.is_some()))
    }

    pub(super) fn base_path(&mut self) -> Result<BasePath, ConfigError> {
        let given = self.text("base_path").unwrap_or_default();
        given.parse().map_err(|_| {
            bad("base_path", &given, self.layers.find("base_path").as_ref(), BasePath::WANTED)
        })
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, ConfigError> {
        self.flag_or(name, false)
    }

    fn flag_or(&mut self, name: &'static str, default: bool) -> Result<bool, ConfigError> {
        let found = self.layers.find(name);
        let value = match &found {
            Some(given) => given
                .value
                .clone()
                .into_bool()
                .map_err(|_| bad(name, &text(given), Some(given), "`true` or `false`"))?,
            None => default,
        };
        self.note(name, value.to_string(), found.as_ref());
        Ok(value)
    }

    pub(super) fn tls(&mut self) -> Result<Option<TlsConfig>, ConfigError> {
        match (self.text("tls.certificate"), self.text("tls.key")) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                Ok(Some(TlsConfig { certificate: certificate.into(), key: key.into() }))
            }
            _ => Err(ConfigError::Table {
                table: "tls".to_owned(),
                reason: "say `certificate` and `key`, both".to_owned(),
            }),
        }
    }

    pub(super) fn jwt(&mut self) -> Result<Option<JwtConfig>, ConfigError> {
        let algorithm = self.text("jwt.algorithm");
        let (key, file, audience) =
            (self.secret("jwt.key"), self.text("jwt.key_file"), self.text("jwt.audience"));
        // An empty prefix is a choice, not an absent one.
        let found = self.layers.find("jwt.user_prefix");
        let user_prefix = found.as_ref().map_or_else(|| "jwt:".to_owned(), text);
        self.note("jwt.user_prefix", user_prefix.clone(), found.as_ref());
        let refused = |reason: &str| ConfigError::Table {
            table: "jwt".to_owned(),
            reason: reason.to_owned(),
        };
        let Some(algorithm) = algorithm else {
            return match (key, file, audience) {
                (None, None, None) => Ok(None),
                _ => Err(refused("say `algorithm`: HS256, RS256 or ES256")),
            };
        };
        let key = match (key, file) {
            (Some(key), None) => key,
            (None, Some(file)) => std::fs::read_to_string(&file)
                .map_err(|error| refused(&format!("{file} cannot be read: {error}")))?,
            (None, None) => {
                return Err(refused(
                    "say `key` or `key_file`: the secret of HS256, or the public key in PEM",
                ));
            }
            (Some(_), Some(_)) => return Err(refused("say `key` or `key_file`, not both")),
        };
        let audience = audience.ok_or_else(|| {
            refused("say `audience`: the `aud` of tokens that are meant for this server")
        })?;
        Ok(Some(JwtConfig { algorithm, key, audience, user_prefix }))
    }

    /// Reads a text with a default.
    pub(super) fn text_or(&mut self, name: &'static str, default: &str) -> String {
        let value = self.text(name).unwrap_or_else(|| default.to_owned());
        if let Some(setting) = self.settings.last_mut() {
            setting.value.clone_from(&value);
        }
        value
    }

    fn fetch_proxy(&mut self) -> Result<Option<String>, ConfigError> {
        const NAME: &str = "fetch_proxy";
        let proxy = self.address(NAME);
        let is_address =
            |proxy: &String| proxy.starts_with("http://") || proxy.starts_with("https://");
        match &proxy {
            Some(given) if !is_address(given) => {
                let found = self.layers.find(NAME);
                let given = masked_address(given);
                Err(bad(NAME, &given, found.as_ref(), "an address such as http://127.0.0.1:3128"))
            }
            Some(_) | None => Ok(proxy),
        }
    }

    /// Reads which tools users may loosen. Without keys the only user is the operator.
    fn loosen(&mut self, auth: Auth) -> Vec<String> {
        const NAME: &str = "permissions.loosen";
        let found = self.layers.list(NAME);
        let tools = match (&found, auth) {
            (Some((tools, _)), _) => tools.clone(),
            (None, Auth::None) => vec!["*".to_owned()],
            (None, Auth::Keys) => Vec::new(),
        };
        self.note(NAME, tools.join(", "), found.as_ref().map(|(_, found)| found));
        tools
    }

    pub(super) fn agents(
        &mut self,
        fallbacks: Vec<String>,
        auth: Auth,
    ) -> Result<Agents, ConfigError> {
        let permissions = tables::permissions(&self.layers)?;
        let replay = tables::replay(&self.layers)?;
        self.note_table(tables::PERMISSIONS, &permissions);
        self.note_table(tables::REPLAY, &replay);
        let usual = AgentOptions::new("offline", Providers::default());
        let waits = Timeouts::default();
        Ok(Agents {
            fallbacks,
            context_window: to_size(self.number("context_window", usual.context_window as u64)?),
            max_output_tokens: self
                .maybe_number("max_output_tokens")?
                .map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
            max_steps: to_size(self.number("max_steps", usual.max_steps as u64)?),
            token_budget: self.maybe_number("token_budget")?,
            approval: self.seconds("approval_seconds", Duration::from_secs(3600))?,
            client_tool: self.seconds("client_tool_seconds", Duration::from_secs(120))?,
            tool_output_bytes: to_size(
                self.number("tool_output_bytes", usual.output_bytes as u64)?,
            ),
            timeouts: Timeouts {
                connect: self.seconds("timeouts.connect_seconds", waits.connect)?,
                first: self.seconds("timeouts.first_seconds", waits.first)?,
                silence: self.seconds("timeouts.silence_seconds", waits.silence)?,
            },
            permissions,
            loosen: self.loosen(auth),
            replay,
            fetch_proxy: self.fetch_proxy()?,
            load_models: self.flag_or("load_models", auth == Auth::None)?,
        })
    }
}

fn parse_time(text: &str) -> Option<Duration> {
    let (number, unit) = match text.char_indices().last()? {
        (_, '0'..='9') => (text, 1),
        (at, 's') => (text.get(..at)?, 1),
        (at, 'm') => (text.get(..at)?, 60),
        (at, 'h') => (text.get(..at)?, 3_600),
        (at, 'd') => (text.get(..at)?, 86_400),
        _ => return None,
    };
    let seconds: u64 = number.parse().ok()?;
    // The store's times are signed milliseconds.
    let most = i64::MAX.unsigned_abs() / 1_000;
    Some(Duration::from_secs(seconds.checked_mul(unit)?.min(most)))
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

pub(super) fn to_size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
