//! Configuration of an MCP server.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// Longest name of a server: half of the length of a tool's full name.
const LONGEST_NAME: usize = 32;
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// One configured server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpConfig {
    /// 1 to 32 characters of `[A-Za-z0-9_-]`, without `__` and without `_` at its end.
    pub name: String,
    /// How the server is reached.
    pub transport: McpTransport,
    /// Time limit of one call.
    pub call_timeout: Duration,
}

/// How a server is reached. `Debug` shows the names of variables and headers, never their values.
#[derive(Clone, PartialEq, Eq)]
pub enum McpTransport {
    /// A local process that speaks over its standard input and output.
    Stdio {
        /// The program, looked up in `PATH`.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Variables in addition to the few that it inherits (`PATH`, `HOME`, `LANG`, `TMPDIR` and
        /// similar). It does not see our other variables, which may be secrets.
        env: BTreeMap<String, String>,
    },
    /// A remote server that speaks streamable HTTP.
    Http {
        /// Its endpoint, such as `https://example.org/mcp`.
        url: String,
        /// Headers of every request, such as `Authorization`.
        headers: BTreeMap<String, String>,
    },
}

/// Reason why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum McpConfigError {
    /// The name has invalid characters, or is empty or too long.
    #[error(
        "`{}` cannot name an MCP server: a name has 1 to 32 of the characters A-Z, a-z, 0-9, _ \
         and -, no `__`, and no `_` at its end",
        .0.escape_debug()
    )]
    Name(String),
    /// Another server has the same name.
    #[error("two MCP servers are named `{0}`: give one of them another name")]
    Twice(String),
}

impl McpConfig {
    /// Creates the configuration of a server whose calls may take 60 seconds.
    #[must_use]
    pub fn new(name: impl Into<String>, transport: McpTransport) -> Self {
        Self { name: name.into(), transport, call_timeout: CALL_TIMEOUT }
    }

    /// Checks the name.
    ///
    /// # Errors
    /// [`McpConfigError::Name`].
    pub fn check(&self) -> Result<(), McpConfigError> {
        // A `_` at the end would let the tools `a_` + `x` and `a` + `_x` share the name `a___x`.
        let fits = (1..=LONGEST_NAME).contains(&self.name.len())
            && self
                .name
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-'))
            && !self.name.contains("__")
            && !self.name.ends_with('_');
        if fits { Ok(()) } else { Err(McpConfigError::Name(self.name.clone())) }
    }
}

impl McpTransport {
    /// Values that must not appear in texts from the server: headers, and variables whose names
    /// mark them as secret.
    pub(super) fn secrets(&self) -> Vec<&str> {
        const SECRET: [&str; 6] = ["KEY", "TOKEN", "SECRET", "PASS", "AUTH", "CREDENTIAL"];
        match self {
            Self::Stdio { env, .. } => {
                let is_secret = |name: &str| {
                    let name = name.to_ascii_uppercase();
                    SECRET.iter().any(|part| name.contains(part))
                };
                let secret = env.iter().filter(|(name, _)| is_secret(name));
                secret.map(|(_, value)| value.as_str()).collect()
            }
            // A header such as `Bearer …` is also masked without its first word.
            Self::Http { headers, .. } => headers
                .values()
                .flat_map(|value| {
                    [value.as_str(), value.split_once(' ').map_or("", |(_, key)| key)]
                })
                .collect(),
        }
    }
}

impl fmt::Debug for McpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio { command, args, env } => f
                .debug_struct("Stdio")
                .field("command", command)
                .field("args", args)
                .field("env", &env.keys())
                .finish(),
            Self::Http { url, headers } => f
                .debug_struct("Http")
                .field("url", &shown(url))
                .field("headers", &headers.keys())
                .finish(),
        }
    }
}

/// A URL without the parts that may hold a key: user, query and fragment.
pub(super) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{McpConfig, McpTransport, shown};

    #[test]
    fn headers_and_secret_variables_are_secrets() {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let env = map(&[("API_TOKEN", "token"), ("HOME_DIR", "/home/ada"), ("DbPassword", "word")]);
        let stdio = McpTransport::Stdio { command: "npx".into(), args: vec![], env };
        assert_eq!(stdio.secrets(), ["token", "word"]);
        let headers = map(&[("Authorization", "Bearer key")]);
        let http = McpTransport::Http { url: String::new(), headers };
        assert_eq!(http.secrets(), ["Bearer key", "key"]);
    }

    #[test]
    fn server_names_are_checked() {
        let check = |name: &str| {
            McpConfig::new(
                name,
                McpTransport::Http { url: String::new(), headers: BTreeMap::new() },
            )
            .check()
        };
        let longest = "a".repeat(32);
        for name in ["a", "files", "_x", "-", "a_b-C9", &longest] {
            assert!(check(name).is_ok(), "{name}");
        }
        let too_long = "a".repeat(33);
        for name in ["", "a__b", "a_", "é", "a b", "a.b", &too_long] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn debug_shows_no_secrets() {
        let secret = BTreeMap::from([("KEY".to_owned(), "hush".to_owned())]);
        let stdio = McpTransport::Stdio {
            command: "npx".into(),
            args: vec!["-y".into()],
            env: secret.clone(),
        };
        assert_eq!(format!("{stdio:?}"), r#"Stdio { command: "npx", args: ["-y"], env: ["KEY"] }"#);
        let http = McpTransport::Http {
            url: "https://me:hush@example.org/mcp?key=hush".into(),
            headers: secret,
        };
        assert_eq!(format!("{:?}", McpConfig::new("x", http)).matches("hush").count(), 0);
        assert_eq!(shown("https://me:hush@example.org/mcp?key=hush#x"), "https://example.org/mcp");
        assert_eq!(shown("http://127.0.0.1:80"), "http://127.0.0.1:80");
        assert_eq!(shown("nonsense"), "nonsense");
    }
}
