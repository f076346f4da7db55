//! Where a command finds what it is about: a server by its address, the server of a data directory,
//! or that directory itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use thoughtwire_server::usual_data_dir;
use thoughtwire_store::Store;
use tokio::time::Instant;

use crate::Usage;
use crate::cli::Reach;
use crate::rest::{RestClient, ServerAddress};

/// Where a server listens unless it was told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8282";

/// How long a server may take between having its directory and answering, or letting go of it.
const SETTLE: Duration = Duration::from_secs(2);

/// `server.json` in a data directory, written by the server that runs on it.
#[derive(Deserialize)]
struct OwnerFile {
    url: String,
    token: String,
}

/// What flags and variables say, in falling order.
enum Said {
    Url(String),
    Directory(PathBuf),
    Nothing,
}

impl Reach {
    /// With an address that stood in front of the command.
    pub(crate) fn or(self, url: Option<String>) -> Self {
        let url = if self.data_dir.is_some() { self.url } else { self.url.or(url) };
        Self { url, ..self }
    }

    /// The server to talk to.
    pub(crate) async fn server(&self) -> anyhow::Result<ServerAddress> {
        match self.said() {
            Said::Url(url) => named(&url),
            Said::Directory(dir) => match owner_file(&dir)? {
                Some(server) if RestClient::new(server.clone())?.transport.is_there().await => {
                    Ok(server)
                }
                Some(_) | None => {
                    let dir = dir.display();
                    anyhow::bail!(
                        "no server runs on {dir}; start one with `thoughtwire serve --data-dir {dir}`"
                    )
                }
            },
            Said::Nothing => usual().await,
        }
    }

    /// The REST side of the server to talk to, or of the data directory when none runs on it.
    pub(crate) async fn place(&self) -> anyhow::Result<RestClient> {
        let Said::Directory(dir) = self.said() else {
            return RestClient::new(self.server().await?);
        };
        if !dir.is_dir() {
            let dir = dir.display();
            anyhow::bail!(
                "there is no data directory {dir}; `thoughtwire serve --data-dir {dir}` makes one"
            );
        }
        let give_up = Instant::now() + SETTLE;
        loop {
            // A server that was killed leaves its file behind, so the file alone says nothing.
            if let Some(server) = owner_file(&dir)? {
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
                    "another process has {} open, and it is no server that answers",
                    dir.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        RestClient::at_rest(&dir).await
    }

    fn said(&self) -> Said {
        if let Some(url) = &self.url {
            return Said::Url(url.clone());
        }
        if let Some(dir) = &self.data_dir {
            return Said::Directory(dir.clone());
        }
        if let Some(url) = variable("THOUGHTWIRE_URL") {
            return Said::Url(url);
        }
        variable("THOUGHTWIRE_DATA_DIR").map_or(Said::Nothing, |dir| Said::Directory(dir.into()))
    }
}

/// With nothing said: the server of the usual data directory if one runs, else the usual address.
async fn usual() -> anyhow::Result<ServerAddress> {
    if let Some(server) = usual_data_dir().and_then(|dir| owner_file(&dir).ok().flatten())
        && RestClient::new(server.clone())?.transport.is_there().await
    {
        return Ok(server);
    }
    named(DEFAULT_URL)
}

/// A server by its address, with the key of the environment.
pub(crate) fn named(url: &str) -> anyhow::Result<ServerAddress> {
    Ok(ServerAddress { base: base(url)?, key: variable("THOUGHTWIRE_KEY") })
}

fn owner_file(dir: &Path) -> anyhow::Result<Option<ServerAddress>> {
    let path = dir.join("server.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be read", path.display()));
        }
    };
    let OwnerFile { url, token } =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    Ok(Some(ServerAddress { base: base(&url)?, key: Some(token) }))
}

/// Takes an address in any of the forms that people write.
fn base(url: &str) -> Result<String, Usage> {
    let url = url.trim();
    let (scheme, rest) = match url.split_once("://") {
        Some(("http" | "ws", rest)) => ("http", rest),
        Some(("https" | "wss", rest)) => ("https", rest),
        Some((scheme, _)) => {
            return Err(Usage(format!(
                "{url:?} is no address of a server: {scheme} is not http, https, ws or wss"
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
        Ok(_) => Err(Usage(format!(
            "{url:?} is no address of a server; it should look like {DEFAULT_URL}"
        ))),
        Err(error) => Err(Usage(format!(
            "{url:?} is no address of a server: {error}; it should look like {DEFAULT_URL}"
        ))),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn addresses_in_every_form() {
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
