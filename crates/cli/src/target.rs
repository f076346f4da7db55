//! Chooses what a command works on: a server by its address, the server that runs on a data
//! directory, a data directory without a server, or a database.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use thoughtwire_server::{AtRest, usual_data_dir};
use thoughtwire_store::{NodeIdentity, Store};
use tokio::time::Instant;

use crate::UsageError;
use crate::cli::TargetFlags;
use crate::rest::{RestClient, ServerAddress};

/// The server's default address.
const DEFAULT_URL: &str = "http://127.0.0.1:8282";

/// How long a server may hold the lock of its directory without answering requests.
const LOCK_GRACE: Duration = Duration::from_secs(2);

/// The file `server.json`, which a server writes into its data directory.
#[derive(Deserialize)]
struct ServerFile {
    url: String,
    token: String,
}

/// The target that flags and environment variables name, by descending precedence.
enum TargetChoice {
    Url(String),
    /// A data directory, and the address of the database with its data, if it is in one.
    Directory(PathBuf, Option<String>),
    /// The address of a database.
    Database(String),
    Nothing,
}

/// Data that a command opens itself, to be closed when the command ends. All clones are one.
#[derive(Default, Clone)]
pub(crate) struct OpenedData(Arc<Mutex<Vec<Arc<AtRest>>>>);

impl std::fmt::Debug for OpenedData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenedData")
    }
}

impl OpenedData {
    /// Makes a REST client of opened data.
    fn keep(&self, data: AtRest) -> anyhow::Result<RestClient> {
        let data = Arc::new(data);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&data));
        RestClient::of(data)
    }

    /// Closes the data: other nodes of a database may then take the sessions at once.
    pub(crate) async fn close(&self) {
        let opened = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for data in opened {
            data.close().await;
        }
    }
}

impl TargetFlags {
    /// Adds the address of a `--url` in front of the command, unless the command has its own.
    pub(crate) fn or(self, url: Option<String>) -> Self {
        let is_chosen = self.data_dir.is_some() || self.store.is_some();
        let url = if is_chosen { self.url } else { self.url.or(url) };
        Self { url, ..self }
    }

    /// Returns the server to talk to.
    pub(crate) async fn server(&self) -> anyhow::Result<ServerAddress> {
        match self.choice() {
            TargetChoice::Url(url) => server_at(&url),
            TargetChoice::Database(_) => Err(UsageError(
                "this command needs a server: name it with --url or --data-dir".to_owned(),
            )
            .into()),
            TargetChoice::Directory(dir, _) => match read_server_file(&dir)? {
                Some(server) if RestClient::new(server.clone())?.transport.is_there().await => {
                    Ok(server)
                }
                Some(_) | None => {
                    let dir = dir.display();
                    anyhow::bail!(
                        "no server runs on {dir}; start one with `thoughtwire serve --data-dir \
                        {dir}`"
                    )
                }
            },
            TargetChoice::Nothing => default_server().await,
        }
    }

    /// Returns a REST client of the server, or of the data if no server runs on it.
    pub(crate) async fn rest(&self) -> anyhow::Result<RestClient> {
        let (dir, store) = match self.choice() {
            TargetChoice::Directory(dir, store) => (dir, store),
            TargetChoice::Database(store) => {
                return self.opened.keep(open_database(&store, None).await?);
            }
            TargetChoice::Url(_) | TargetChoice::Nothing => {
                return RestClient::new(self.server().await?);
            }
        };
        if !dir.is_dir() && store.is_none() {
            let dir = dir.display();
            anyhow::bail!(
                "there is no data directory {dir}; `thoughtwire serve --data-dir {dir}` makes one"
            );
        }
        let give_up = Instant::now() + LOCK_GRACE;
        loop {
            // A killed server leaves its file behind, so the file alone is no proof.
            if let Some(server) = read_server_file(&dir)? {
                let rest = RestClient::new(server)?;
                if rest.transport.is_there().await {
                    return Ok(rest);
                }
            }
            if !Store::is_locked(&dir)? {
                break;
            }
            if Instant::now() >= give_up {
                anyhow::bail!(
                    "another process has {} open, but no server answers; stop that process first",
                    dir.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let data = match store {
            Some(store) => open_database(&store, Some(&dir)).await?,
            None => open_directory(&dir).await?,
        };
        self.opened.keep(data)
    }

    fn choice(&self) -> TargetChoice {
        if let Some(url) = &self.url {
            return TargetChoice::Url(url.clone());
        }
        let store = || self.store.clone().or_else(|| env_var("THOUGHTWIRE_STORE"));
        if let Some(dir) = &self.data_dir {
            return TargetChoice::Directory(dir.clone(), store());
        }
        if let Some(store) = &self.store {
            return TargetChoice::Database(store.clone());
        }
        if let Some(url) = env_var("THOUGHTWIRE_URL") {
            return TargetChoice::Url(url);
        }
        env_var("THOUGHTWIRE_DATA_DIR")
            .map_or(TargetChoice::Nothing, |dir| TargetChoice::Directory(dir.into(), store()))
    }
}

async fn open_database(store: &str, dir: Option<&Path>) -> anyhow::Result<AtRest> {
    AtRest::connect(store, dir).await.context("the database cannot be opened")
}

async fn open_directory(dir: &Path) -> anyhow::Result<AtRest> {
    // Otherwise the command would begin new data that no server reads.
    if NodeIdentity::is_in(dir) && !Store::file(dir).exists() {
        anyhow::bail!(
            "the data of {} is in a database; name the database with --store",
            dir.display()
        );
    }
    AtRest::open(dir).await.with_context(|| format!("{} cannot be opened", dir.display()))
}

/// Without a choice: the server of the default data directory if one runs, else the default
/// address.
async fn default_server() -> anyhow::Result<ServerAddress> {
    if let Some(server) = usual_data_dir().and_then(|dir| read_server_file(&dir).ok().flatten())
        && RestClient::new(server.clone())?.transport.is_there().await
    {
        return Ok(server);
    }
    server_at(DEFAULT_URL)
}

/// Returns the server at an address, with the key of the environment.
pub(crate) fn server_at(url: &str) -> anyhow::Result<ServerAddress> {
    Ok(ServerAddress { base: base(url)?, key: env_var("THOUGHTWIRE_KEY") })
}

fn read_server_file(dir: &Path) -> anyhow::Result<Option<ServerAddress>> {
    let path = dir.join("server.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be read", path.display()));
        }
    };
    let ServerFile { url, token } =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    Ok(Some(ServerAddress { base: base(&url)?, key: Some(token) }))
}

/// Normalises an address: adds the scheme, maps ws to http, removes the wire's path.
fn base(url: &str) -> Result<String, UsageError> {
    let url = url.trim();
    let (scheme, rest) = match url.split_once("://") {
        Some(("http" | "ws", rest)) => ("http", rest),
        Some(("https" | "wss", rest)) => ("https", rest),
        Some((scheme, _)) => {
            return Err(UsageError(format!(
                "{url:?} is not a server address: the scheme {scheme} is not http, https, ws or wss"
            )));
        }
        None => ("http", url),
    };
    let rest = rest.trim_end_matches('/').trim_end_matches("/v1/ws").trim_end_matches('/');
    let base = format!("{scheme}://{rest}");
    match reqwest::Url::parse(&base) {
        Ok(parsed)
            if parsed.has_host() && parsed.query().is_none() && parsed.fragment().is_none() =>
        {
            Ok(base)
        }
        Ok(_) => Err(UsageError(format!(
            "{url:?} is not a server address; it should look like {DEFAULT_URL}"
        ))),
        Err(error) => Err(UsageError(format!(
            "{url:?} is not a server address: {error}; it should look like {DEFAULT_URL}"
        ))),
    }
}

pub(crate) fn env_var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn addresses_are_normalised() {
        for (written, meant) in [
            ("http://127.0.0.1:8282", "http://127.0.0.1:8282"),
            ("ws://127.0.0.1:8282/", "http://127.0.0.1:8282"),
            ("ws://127.0.0.1:8282/v1/ws", "http://127.0.0.1:8282"),
            ("wss://example.org", "https://example.org"),
            ("https://example.org/agents/", "https://example.org/agents"),
            ("localhost:9000", "http://localhost:9000"),
            ("http://[::1]:8282", "http://[::1]:8282"),
        ] {
            assert_eq!(base(written).unwrap(), meant);
        }
        for wrong in ["", "ftp://example.org", "http://", "http://x?y=1", "http://x:notaport"] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }
}
