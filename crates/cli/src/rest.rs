//! A server's REST side, as the owner's commands use it.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thoughtwire_proto::{AgentProfile, AgentSpec, Epoch, Record, Seq, SessionId, SessionListing};

use crate::Usage;
use crate::place::Server;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to find out whether anybody is there.
const GLANCE: Duration = Duration::from_secs(2);

/// A server, asked over REST.
pub(crate) struct Rest {
    server: Server,
    base: Url,
    http: reqwest::Client,
}

/// One agent in full.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AgentPage {
    pub(crate) agent: AgentProfile,
    #[serde(default)]
    pub(crate) blocks: Vec<BlockPage>,
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
struct EventsBody {
    events: Vec<Record>,
}

impl Rest {
    pub(crate) fn new(server: Server) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &server.key {
            let value = HeaderValue::from_str(&format!("Bearer {key}"));
            let mut value = value.map_err(|_| Usage("THOUGHTWIRE_KEY has characters that no key has".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // A proxy in between would make the server take us for a stranger.
        let mut builder = reqwest::Client::builder().default_headers(headers).timeout(PATIENCE).no_proxy();
        if server.base.starts_with("https:") {
            install_tls();
        } else {
            // Without TLS, the system's certificates need not even be there.
            install_tls();
            builder = builder.tls_certs_only([]);
        }
        // A base without a slash at its end would lose its last part when joined.
        let base = Url::parse(&format!("{}/", server.base)).context("the server's address")?;
        Ok(Self { server, base, http: builder.build().context("the HTTP client cannot be made")? })
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Whether a server answers at all.
    pub(crate) async fn is_there(&self) -> bool {
        let Ok(url) = self.base.join("healthz") else { return false };
        self.http.get(url).timeout(GLANCE).send().await.is_ok_and(|response| response.status().is_success())
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
            Err(error) if error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == "unknown_agent") => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn create_agent(&self, spec: &AgentSpec) -> anyhow::Result<AgentProfile> {
        let request = self.request(Method::POST, &["v1", "agents"])?.json(spec);
        let request = request.header("idempotency-key", thoughtwire_hub::new_id::<()>().as_str());
        let page: AgentPage = self.read(request).await?;
        Ok(page.agent)
    }

    pub(crate) async fn sessions(&self, agent: Option<&str>, limit: Option<usize>) -> anyhow::Result<Vec<SessionListing>> {
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

    pub(crate) async fn session(&self, session: &SessionId) -> anyhow::Result<SessionPage> {
        self.read(self.request(Method::GET, &["v1", "sessions", session.as_str()])?).await
    }

    pub(crate) async fn events(&self, session: &SessionId, after: Seq, limit: u64) -> anyhow::Result<Vec<Record>> {
        let request = self.request(Method::GET, &["v1", "sessions", session.as_str(), "events"])?;
        let body: EventsBody = self.read(request.query(&[("after", after.0), ("limit", limit)])).await?;
        Ok(body.events)
    }

    pub(crate) async fn delete_session(&self, session: &SessionId) -> anyhow::Result<()> {
        let request = self.request(Method::DELETE, &["v1", "sessions", session.as_str()])?;
        self.send(request).await.map(drop)
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
        serde_json::from_slice(&body).with_context(|| format!("{} does not answer like a Thoughtwire server", self.server.base))
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Vec<u8>> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.unreachable(error))?;
        if status.is_success() {
            return Ok(body.to_vec());
        }
        match serde_json::from_slice(&body) {
            Ok(ErrorBody { error: ErrorWire { code, mut reason } }) => {
                if status == StatusCode::UNAUTHORIZED && self.server.key.is_none() {
                    reason.push_str(" (THOUGHTWIRE_KEY is not set)");
                }
                Err(Refused { code, reason }.into())
            }
            Err(_) => anyhow::bail!("{} answered {status}; is a Thoughtwire server there?", self.server.base),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        if error.is_connect() {
            no_server(&self.server.base)
        } else {
            anyhow::Error::from(error.without_url()).context(self.server.base.clone())
        }
    }
}

/// That nobody is there, and what to do about it.
pub(crate) fn no_server(base: &str) -> anyhow::Error {
    anyhow::anyhow!("no server can be reached at {base}; start one with `thoughtwire serve`, or say where it is with --url")
}

/// One TLS implementation for everything in this process. That it is there already is as good.
pub(crate) fn install_tls() {
    drop(rustls::crypto::ring::default_provider().install_default());
}
