//! The REST interface of a server, as the owner's commands use it.

mod transport;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use thoughtwire_proto::rest::{
    AgentBody, AgentDetails, AgentList, AgentPatch, BlockBody, BlockPatch, CallPage, CommandDone,
    CoreBlock, DecisionRequest, EventPage, KeyCreated, KeyList, NewKey, NewNotes, NodeList,
    NoteDraft, NotePage, NotesAdded, RecallPage, SessionCreated, SessionDetails, SessionDraft,
    SessionList, SessionPatch,
};
use thoughtwire_proto::{
    AgentProfile, AgentSpec, CallId, Key, Record, Seq, SessionId, SessionListing,
};
use thoughtwire_server::AtRest;

use transport::RestTransport;
pub(crate) use transport::{ServerAddress, ServerRefusal, no_server};

/// Longest time of a request that carries an agent, or whose texts are embedded.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// The REST interface of a server, or of data that this process has opened.
pub(crate) struct RestClient {
    /// The way there.
    pub(crate) transport: RestTransport,
}

/// The calls to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallFilter {
    All,
    /// Those whose outcome is unknown.
    Unknown,
}

impl RestClient {
    /// Makes the way to data that this process has opened.
    pub(crate) fn of(data: Arc<AtRest>) -> anyhow::Result<Self> {
        Ok(Self { transport: RestTransport::of(data)? })
    }

    /// Makes the way to a server. It connects with the first request.
    pub(crate) fn new(server: ServerAddress) -> anyhow::Result<Self> {
        Ok(Self { transport: RestTransport::new(server)? })
    }

    pub(crate) async fn nodes(&self) -> anyhow::Result<NodeList> {
        self.transport.read(self.transport.request(Method::GET, &["v1", "nodes"])?).await
    }

    pub(crate) async fn agents(&self) -> anyhow::Result<Vec<AgentProfile>> {
        let body: AgentList =
            self.transport.read(self.transport.request(Method::GET, &["v1", "agents"])?).await?;
        Ok(body.agents)
    }

    pub(crate) async fn agent(&self, agent: &str) -> anyhow::Result<AgentDetails> {
        self.transport.read(self.transport.request(Method::GET, &["v1", "agents", agent])?).await
    }

    /// Finds an agent, if there is one.
    pub(crate) async fn find_agent(&self, agent: &str) -> anyhow::Result<Option<AgentProfile>> {
        match self.agent(agent).await {
            Ok(page) => Ok(Some(page.agent)),
            Err(error)
                if error
                    .downcast_ref::<ServerRefusal>()
                    .is_some_and(|refused| refused.code == "unknown_agent") =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn create_agent(&self, spec: &AgentSpec) -> anyhow::Result<AgentProfile> {
        let request = self.transport.request(Method::POST, &["v1", "agents"])?.json(spec);
        let request = request.header("idempotency-key", thoughtwire_hub::new_id::<()>().as_str());
        let body: AgentBody = self.transport.read(request).await?;
        Ok(body.agent)
    }

    pub(crate) async fn edit_agent(
        &self,
        agent: &str,
        changes: &AgentPatch,
    ) -> anyhow::Result<AgentProfile> {
        let body: AgentBody = self
            .transport
            .read(self.transport.request(Method::PATCH, &["v1", "agents", agent])?.json(changes))
            .await?;
        Ok(body.agent)
    }

    pub(crate) async fn delete_agent(&self, agent: &str) -> anyhow::Result<()> {
        self.transport
            .send(self.transport.request(Method::DELETE, &["v1", "agents", agent])?)
            .await
            .map(drop)
    }

    /// Returns the agent as a file.
    pub(crate) async fn export_agent(&self, agent: &str, history: bool) -> anyhow::Result<Vec<u8>> {
        let request = self.transport.request(Method::GET, &["v1", "agents", agent, "export"])?;
        self.transport.send(request.query(&[("history", history)]).timeout(LONG_PATIENCE)).await
    }

    pub(crate) async fn import_agent(
        &self,
        file: Vec<u8>,
        name: Option<&str>,
    ) -> anyhow::Result<AgentProfile> {
        let mut request = self
            .transport
            .request(Method::POST, &["v1", "import"])?
            .header("content-type", "application/json")
            .body(file);
        if let Some(name) = name {
            request = request.query(&[("name", name)]);
        }
        let body: AgentBody = self.transport.read(request.timeout(LONG_PATIENCE)).await?;
        Ok(body.agent)
    }

    pub(crate) async fn edit_block(
        &self,
        agent: &str,
        label: &str,
        changes: &BlockPatch,
    ) -> anyhow::Result<CoreBlock> {
        let body: BlockBody = self
            .transport
            .read(
                self.transport
                    .request(Method::PATCH, &["v1", "agents", agent, "blocks", label])?
                    .json(changes),
            )
            .await?;
        Ok(body.block)
    }

    pub(crate) async fn delete_block(&self, agent: &str, label: &str) -> anyhow::Result<()> {
        self.transport
            .send(
                self.transport
                    .request(Method::DELETE, &["v1", "agents", agent, "blocks", label])?,
            )
            .await
            .map(drop)
    }

    pub(crate) async fn recall(
        &self,
        agent: &str,
        query: &str,
        limit: u64,
        why: bool,
    ) -> anyhow::Result<RecallPage> {
        let request = self.transport.request(Method::GET, &["v1", "agents", agent, "recall"])?;
        let request = request.query(&[("query", query), ("limit", &limit.to_string())]);
        self.transport.read(request.query(&[("why", why)])).await
    }

    pub(crate) async fn search_notes(
        &self,
        agent: &str,
        query: &str,
        limit: u64,
        why: bool,
    ) -> anyhow::Result<NotePage> {
        let request = self.transport.request(Method::GET, &["v1", "agents", agent, "archival"])?;
        let request = request.query(&[("query", query), ("limit", &limit.to_string())]);
        self.transport.read(request.query(&[("why", why)])).await
    }

    /// Lists notes behind a number, in order of creation.
    pub(crate) async fn notes(
        &self,
        agent: &str,
        after: i64,
        limit: i64,
    ) -> anyhow::Result<NotePage> {
        let request = self.transport.request(Method::GET, &["v1", "agents", agent, "archival"])?;
        self.transport.read(request.query(&[("after", after), ("limit", limit)])).await
    }

    pub(crate) async fn add_notes(
        &self,
        agent: &str,
        notes: Vec<NoteDraft>,
    ) -> anyhow::Result<NotesAdded> {
        let request = self
            .transport
            .request(Method::POST, &["v1", "agents", agent, "archival"])?
            .json(&NewNotes { notes });
        self.transport.read(request.timeout(LONG_PATIENCE)).await
    }

    pub(crate) async fn sessions(
        &self,
        agent: Option<&str>,
        limit: Option<usize>,
    ) -> anyhow::Result<Vec<SessionListing>> {
        let mut request = self.transport.request(Method::GET, &["v1", "sessions"])?;
        if let Some(agent) = agent {
            request = request.query(&[("agent", agent)]);
        }
        if let Some(limit) = limit {
            request = request.query(&[("limit", limit)]);
        }
        let body: SessionList = self.transport.read(request).await?;
        Ok(body.sessions)
    }

    /// Opens a session with an agent.
    pub(crate) async fn create_session(&self, agent: &str) -> anyhow::Result<SessionId> {
        let request = self
            .transport
            .request(Method::POST, &["v1", "sessions"])?
            .json(&SessionDraft { agent: agent.to_owned(), ..SessionDraft::default() });
        let body: SessionCreated = self
            .transport
            .read(request.header("idempotency-key", thoughtwire_hub::new_id::<()>().as_str()))
            .await?;
        Ok(body.session)
    }

    pub(crate) async fn session(&self, session: &SessionId) -> anyhow::Result<SessionDetails> {
        self.transport
            .read(self.transport.request(Method::GET, &["v1", "sessions", session.as_str()])?)
            .await
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
        let request =
            self.transport.request(Method::GET, &["v1", "sessions", session.as_str(), "events"])?;
        let body: EventPage =
            self.transport.read(request.query(&[("after", after.0), ("limit", limit)])).await?;
        Ok(body.events)
    }

    /// Lists calls that were made behind a position, oldest first.
    pub(crate) async fn calls(
        &self,
        session: &SessionId,
        filter: CallFilter,
        after: Seq,
        limit: u64,
    ) -> anyhow::Result<CallPage> {
        let mut request =
            self.transport.request(Method::GET, &["v1", "sessions", session.as_str(), "calls"])?;
        if filter == CallFilter::Unknown {
            request = request.query(&[("unknown", true)]);
        }
        let request = request.query(&[("after", after.0), ("limit", limit)]);
        // Finding the few unknown calls of a long log reads all of it.
        self.transport.read(request.timeout(LONG_PATIENCE)).await
    }

    /// Answers a call that waits for a decision.
    pub(crate) async fn decide(
        &self,
        session: &SessionId,
        call: &CallId,
        decision: &DecisionRequest,
    ) -> anyhow::Result<CommandDone> {
        let path = ["v1", "sessions", session.as_str(), "calls", call.as_str(), "decision"];
        self.transport.read(self.transport.request(Method::POST, &path)?.json(decision)).await
    }

    pub(crate) async fn delete_session(&self, session: &SessionId) -> anyhow::Result<()> {
        let request =
            self.transport.request(Method::DELETE, &["v1", "sessions", session.as_str()])?;
        self.transport.send(request).await.map(drop)
    }

    pub(crate) async fn edit_session(
        &self,
        session: &SessionId,
        changes: &SessionPatch,
    ) -> anyhow::Result<()> {
        self.transport
            .send(
                self.transport
                    .request(Method::PATCH, &["v1", "sessions", session.as_str()])?
                    .json(changes),
            )
            .await
            .map(drop)
    }

    pub(crate) async fn keys(&self) -> anyhow::Result<Vec<Key>> {
        let body: KeyList =
            self.transport.read(self.transport.request(Method::GET, &["v1", "keys"])?).await?;
        Ok(body.keys)
    }

    pub(crate) async fn add_key(&self, key: &NewKey) -> anyhow::Result<KeyCreated> {
        self.transport.read(self.transport.request(Method::POST, &["v1", "keys"])?.json(key)).await
    }

    pub(crate) async fn revoke_key(&self, key: &str) -> anyhow::Result<()> {
        self.transport
            .send(self.transport.request(Method::DELETE, &["v1", "keys", key])?)
            .await
            .map(drop)
    }

    /// Ends all logins and tickets.
    pub(crate) async fn rotate_keys(&self) -> anyhow::Result<()> {
        self.transport
            .send(self.transport.request(Method::POST, &["v1", "keys", "rotate"])?)
            .await
            .map(drop)
    }
}
