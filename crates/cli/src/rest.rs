//! A server's REST side, as the owner's commands use it.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use indicatif::ProgressBar;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thoughtwire_proto::{
    AgentProfile, AgentSpec, Epoch, Permission, Record, Seq, SessionId, SessionListing, Timestamp,
};
use thoughtwire_server::AtRest;
use thoughtwire_store::Key;

use crate::UsageError;
use crate::tls::{self, install_tls};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a request may take that carries an agent, or has texts embedded.
const LONG_PATIENCE: Duration = Duration::from_secs(600);
/// How long a copy of all data may take.
const BACKUP_PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How long it may take to find out whether anybody is there.
const GLANCE: Duration = Duration::from_secs(2);

/// A server's address and what to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// The base of its URLs: `http` or `https`, without a slash at the end.
    pub(crate) base: String,
    /// The bearer token.
    pub(crate) key: Option<String>,
}

/// A server's REST side, or that of a data directory that no server runs on.
pub(crate) struct Rest {
    server: Server,
    base: Url,
    http: reqwest::Client,
    through: Through,
}

/// How requests get there.
enum Through {
    Network,
    /// Answered in this process.
    Directory(AtRest),
}

/// One agent in full.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AgentPage {
    pub(crate) agent: AgentProfile,
    #[serde(default)]
    pub(crate) blocks: Vec<BlockPage>,
    #[serde(default)]
    pub(crate) memory: MemoryPage,
    #[serde(default)]
    pub(crate) tools: Vec<ToolPage>,
    #[serde(default)]
    pub(crate) mcp: Vec<McpPage>,
}

/// How much an agent remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct MemoryPage {
    pub(crate) archival: u64,
    pub(crate) recall: u64,
}

/// One of its tools.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ToolPage {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    pub(crate) permission: Permission,
}

/// One of the server's MCP servers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct McpPage {
    pub(crate) name: String,
    pub(crate) phase: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// A note in archival memory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NotePage {
    pub(crate) id: i64,
    pub(crate) at: Timestamp,
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
}

/// Notes that were found, or a page of all.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NotesPage {
    pub(crate) notes: Vec<NotePage>,
    pub(crate) total: u64,
}

/// Something said, found again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RecalledPage {
    pub(crate) session: SessionId,
    pub(crate) seq: Seq,
    pub(crate) at: Timestamp,
    pub(crate) role: String,
    pub(crate) text: String,
}

/// What was said, found again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RecallPage {
    pub(crate) results: Vec<RecalledPage>,
    pub(crate) total: u64,
}

/// What became of notes that were added.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct AddedPage {
    pub(crate) added: u64,
    pub(crate) duplicates: u64,
}

#[derive(Deserialize)]
struct KeysBody {
    keys: Vec<Key>,
}

/// A key that was just made, with what opens.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MadeKey {
    pub(crate) key: Key,
    pub(crate) secret: String,
}

#[derive(Deserialize)]
struct BlockBody {
    block: BlockPage,
}

/// One of its memory blocks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BlockPage {
    pub(crate) label: String,
    pub(crate) text: String,
    pub(crate) limit: u64,
    #[serde(default)]
    pub(crate) description: String,
}

/// One session in full.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SessionPage {
    pub(crate) session: SessionListing,
    pub(crate) epoch: Epoch,
    pub(crate) first: Seq,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep_days: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep_events: Option<u64>,
}

/// A no from the server.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: String,
    pub(crate) reason: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refused {}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorWire,
}

#[derive(Deserialize)]
struct ErrorWire {
    code: String,
    reason: String,
}

#[derive(Deserialize)]
struct AgentsBody {
    agents: Vec<AgentProfile>,
}

#[derive(Deserialize)]
struct SessionsBody {
    sessions: Vec<SessionListing>,
}

#[derive(Deserialize)]
struct SessionBody {
    session: SessionId,
}

#[derive(Deserialize)]
struct EventsBody {
    events: Vec<Record>,
}

impl Rest {
    /// A data directory that no server runs on, opened under its lock.
    pub(crate) async fn at_rest(dir: &Path) -> anyhow::Result<Self> {
        let directory = AtRest::open(dir)
            .await
            .with_context(|| format!("{} cannot be opened", dir.display()))?;
        // Nobody is called by this name: its requests do not leave the process.
        let rest = Self::new(Server { base: "http://localhost".to_owned(), key: None })?;
        Ok(Self { through: Through::Directory(directory), ..rest })
    }

    pub(crate) fn new(server: Server) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &server.key {
            let value = HeaderValue::from_str(&format!("Bearer {key}"));
            let mut value = value.map_err(|_| {
                UsageError("THOUGHTWIRE_KEY has characters that no key has".to_owned())
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // A proxy in between would make the server take us for a stranger.
        let mut builder =
            reqwest::Client::builder().default_headers(headers).timeout(PATIENCE).no_proxy();
        if server.base.starts_with("https:") {
            install_tls();
        } else {
            // Without TLS, the system's certificates need not even be there.
            install_tls();
            builder = builder.tls_certs_only([]);
        }
        // A base without a slash at its end would lose its last part when joined.
        let base = Url::parse(&format!("{}/", server.base)).context("the server's address")?;
        Ok(Self {
            server,
            base,
            http: builder.build().context("the HTTP client cannot be made")?,
            through: Through::Network,
        })
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Whether a server answers at all.
    pub(crate) async fn is_there(&self) -> bool {
        let Ok(url) = self.base.join("healthz") else { return false };
        self.http
            .get(url)
            .timeout(GLANCE)
            .send()
            .await
            .is_ok_and(|response| response.status().is_success())
    }

    pub(crate) async fn agents(&self) -> anyhow::Result<Vec<AgentProfile>> {
        let body: AgentsBody = self.read(self.request(Method::GET, &["v1", "agents"])?).await?;
        Ok(body.agents)
    }

    pub(crate) async fn agent(&self, agent: &str) -> anyhow::Result<AgentPage> {
        self.read(self.request(Method::GET, &["v1", "agents", agent])?).await
    }

    /// The agent, if there is one.
    pub(crate) async fn find_agent(&self, agent: &str) -> anyhow::Result<Option<AgentProfile>> {
        match self.agent(agent).await {
            Ok(page) => Ok(Some(page.agent)),
            Err(error)
                if error
                    .downcast_ref::<Refused>()
                    .is_some_and(|refused| refused.code == "unknown_agent") =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn create_agent(&self, spec: &AgentSpec) -> anyhow::Result<AgentProfile> {
        let request = self.request(Method::POST, &["v1", "agents"])?.json(spec);
        let request = request.header("idempotency-key", thoughtwire_hub::new_id::<()>().as_str());
        let page: AgentPage = self.read(request).await?;
        Ok(page.agent)
    }

    pub(crate) async fn edit_agent(
        &self,
        agent: &str,
        changes: &Map<String, Value>,
    ) -> anyhow::Result<AgentProfile> {
        let page: AgentPage =
            self.read(self.request(Method::PATCH, &["v1", "agents", agent])?.json(changes)).await?;
        Ok(page.agent)
    }

    pub(crate) async fn delete_agent(&self, agent: &str) -> anyhow::Result<()> {
        self.send(self.request(Method::DELETE, &["v1", "agents", agent])?).await.map(drop)
    }

    /// The agent as a file's bytes.
    pub(crate) async fn export_agent(&self, agent: &str, history: bool) -> anyhow::Result<Vec<u8>> {
        let request = self.request(Method::GET, &["v1", "agents", agent, "export"])?;
        self.send(request.query(&[("history", history)]).timeout(LONG_PATIENCE)).await
    }

    pub(crate) async fn import_agent(
        &self,
        file: Vec<u8>,
        name: Option<&str>,
    ) -> anyhow::Result<AgentProfile> {
        let mut request = self
            .request(Method::POST, &["v1", "import"])?
            .header("content-type", "application/json")
            .body(file);
        if let Some(name) = name {
            request = request.query(&[("name", name)]);
        }
        let page: AgentPage = self.read(request.timeout(LONG_PATIENCE)).await?;
        Ok(page.agent)
    }

    pub(crate) async fn edit_block(
        &self,
        agent: &str,
        label: &str,
        changes: &Map<String, Value>,
    ) -> anyhow::Result<BlockPage> {
        let body: BlockBody = self
            .read(
                self.request(Method::PATCH, &["v1", "agents", agent, "blocks", label])?
                    .json(changes),
            )
            .await?;
        Ok(body.block)
    }

    pub(crate) async fn delete_block(&self, agent: &str, label: &str) -> anyhow::Result<()> {
        self.send(self.request(Method::DELETE, &["v1", "agents", agent, "blocks", label])?)
            .await
            .map(drop)
    }

    pub(crate) async fn recall(
        &self,
        agent: &str,
        query: &str,
        limit: u64,
    ) -> anyhow::Result<RecallPage> {
        let request = self.request(Method::GET, &["v1", "agents", agent, "recall"])?;
        self.read(request.query(&[("query", query), ("limit", &limit.to_string())])).await
    }

    pub(crate) async fn search_notes(
        &self,
        agent: &str,
        query: &str,
        limit: u64,
    ) -> anyhow::Result<NotesPage> {
        let request = self.request(Method::GET, &["v1", "agents", agent, "archival"])?;
        self.read(request.query(&[("query", query), ("limit", &limit.to_string())])).await
    }

    /// Notes behind a number, in the order in which they were made.
    pub(crate) async fn notes(
        &self,
        agent: &str,
        after: i64,
        limit: i64,
    ) -> anyhow::Result<NotesPage> {
        let request = self.request(Method::GET, &["v1", "agents", agent, "archival"])?;
        self.read(request.query(&[("after", after), ("limit", limit)])).await
    }

    pub(crate) async fn add_notes(
        &self,
        agent: &str,
        notes: &[Value],
    ) -> anyhow::Result<AddedPage> {
        let request = self
            .request(Method::POST, &["v1", "agents", agent, "archival"])?
            .json(&serde_json::json!({"notes": notes}));
        self.read(request.timeout(LONG_PATIENCE)).await
    }

    pub(crate) async fn sessions(
        &self,
        agent: Option<&str>,
        limit: Option<usize>,
    ) -> anyhow::Result<Vec<SessionListing>> {
        let mut request = self.request(Method::GET, &["v1", "sessions"])?;
        if let Some(agent) = agent {
            request = request.query(&[("agent", agent)]);
        }
        if let Some(limit) = limit {
            request = request.query(&[("limit", limit)]);
        }
        let body: SessionsBody = self.read(request).await?;
        Ok(body.sessions)
    }

    /// A new session with an agent.
    pub(crate) async fn create_session(&self, agent: &str) -> anyhow::Result<SessionId> {
        let request = self
            .request(Method::POST, &["v1", "sessions"])?
            .json(&serde_json::json!({"agent": agent}));
        let body: SessionBody = self
            .read(request.header("idempotency-key", thoughtwire_hub::new_id::<()>().as_str()))
            .await?;
        Ok(body.session)
    }

    pub(crate) async fn session(&self, session: &SessionId) -> anyhow::Result<SessionPage> {
        self.read(self.request(Method::GET, &["v1", "sessions", session.as_str()])?).await
    }

    pub(crate) async fn events(
        &self,
        session: &SessionId,
        after: Seq,
        limit: u64,
    ) -> anyhow::Result<Vec<Record>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let request = self.request(Method::GET, &["v1", "sessions", session.as_str(), "events"])?;
        let body: EventsBody =
            self.read(request.query(&[("after", after.0), ("limit", limit)])).await?;
        Ok(body.events)
    }

    pub(crate) async fn delete_session(&self, session: &SessionId) -> anyhow::Result<()> {
        let request = self.request(Method::DELETE, &["v1", "sessions", session.as_str()])?;
        self.send(request).await.map(drop)
    }

    pub(crate) async fn edit_session(
        &self,
        session: &SessionId,
        changes: &Value,
    ) -> anyhow::Result<()> {
        self.send(self.request(Method::PATCH, &["v1", "sessions", session.as_str()])?.json(changes))
            .await
            .map(drop)
    }

    pub(crate) async fn keys(&self) -> anyhow::Result<Vec<Key>> {
        let body: KeysBody = self.read(self.request(Method::GET, &["v1", "keys"])?).await?;
        Ok(body.keys)
    }

    pub(crate) async fn add_key(&self, key: &Value) -> anyhow::Result<MadeKey> {
        self.read(self.request(Method::POST, &["v1", "keys"])?.json(key)).await
    }

    pub(crate) async fn revoke_key(&self, key: &str) -> anyhow::Result<()> {
        self.send(self.request(Method::DELETE, &["v1", "keys", key])?).await.map(drop)
    }

    /// Ends all logins and tickets.
    pub(crate) async fn rotate_keys(&self) -> anyhow::Result<()> {
        self.send(self.request(Method::POST, &["v1", "keys", "rotate"])?).await.map(drop)
    }

    /// Copies all data into a file; gives its length.
    pub(crate) async fn back_up(&self, file: &mut File, bar: &ProgressBar) -> anyhow::Result<u64> {
        if let Through::Directory(directory) = &self.through {
            return Ok(std::io::copy(&mut directory.backup().await?, file)?);
        }
        let request = self.request(Method::GET, &["v1", "backup"])?.timeout(BACKUP_PATIENCE);
        let mut response = request.send().await.map_err(|error| self.unreachable(error))?;
        if !response.status().is_success() {
            return Err(
                self.refused(response.status(), &response.bytes().await.unwrap_or_default())
            );
        }
        let length = response.content_length().unwrap_or_default();
        bar.set_length(length);
        let mut written = 0;
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            file.write_all(&piece)?;
            written += piece.len() as u64;
            bar.set_position(written);
        }
        anyhow::ensure!(written == length, "the copy broke off after {written} of {length} bytes");
        Ok(written)
    }

    fn request(&self, method: Method, path: &[&str]) -> anyhow::Result<RequestBuilder> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.pop_if_empty().extend(path)),
            Err(()) => anyhow::bail!("{} is no address of a server", self.server.base),
        }
        Ok(self.http.request(method, url))
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let body = self.send(request).await?;
        serde_json::from_slice(&body).with_context(|| {
            format!("{} does not answer like a Thoughtwire server", self.server.base)
        })
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Vec<u8>> {
        let (status, body) = match &self.through {
            Through::Network => {
                let response = request.send().await.map_err(|error| self.unreachable(error))?;
                (
                    response.status(),
                    response.bytes().await.map_err(|error| self.unreachable(error))?,
                )
            }
            Through::Directory(directory) => {
                let request: http::Request<reqwest::Body> = request.build()?.try_into()?;
                let (parts, body) = request.into_parts();
                let body = Bytes::copy_from_slice(body.as_bytes().unwrap_or_default());
                let (parts, body) =
                    directory.call(http::Request::from_parts(parts, body)).await?.into_parts();
                (parts.status, body)
            }
        };
        if status.is_success() {
            return Ok(body.to_vec());
        }
        Err(self.refused(status, &body))
    }

    /// What an answer that is no yes says.
    fn refused(&self, status: StatusCode, body: &[u8]) -> anyhow::Error {
        match serde_json::from_slice(body) {
            Ok(ErrorBody { error: ErrorWire { code, mut reason } }) => {
                if status == StatusCode::UNAUTHORIZED && self.server.key.is_none() {
                    reason.push_str(" (THOUGHTWIRE_KEY is not set)");
                }
                Refused { code, reason }.into()
            }
            Err(_) => anyhow::anyhow!(
                "{} answered {status}; is a Thoughtwire server there?",
                self.server.base
            ),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        if let Some(trouble) = tls::trouble(&self.server.base, &error) {
            trouble
        } else if error.is_connect() {
            no_server(&self.server.base)
        } else {
            anyhow::Error::from(error.without_url()).context(self.server.base.clone())
        }
    }
}

/// That nobody is there, and what to do about it.
pub(crate) fn no_server(base: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "no server can be reached at {base}; start one with `thoughtwire serve`, or say where it \
        is with --url"
    )
}
