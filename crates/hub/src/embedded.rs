//! A hub inside a program of its own: one agent, its session and its clients.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::{AgentSpec, Refusal, RefusalCode, SessionId, UserId};
use thoughtwire_store::Store;

use crate::clients::{Client, ClientId, Clients};
use crate::clock::now;
use crate::{Agent, AgentError, Hub, HubOptions, Interface, Turn};

/// One agent's durable session without a server. The program speaks for the agent and registers
/// its clients.
///
/// ```
/// use thoughtwire_hub::{Embedded, proto::connection::Encoding};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let embedded = Embedded::open(dir.path(), "ada").await?;
/// let mut client = embedded.register_client(Encoding::Memgpt).await?;
/// let turn = embedded.user_message("Hello").await?;
/// turn.internal_monologue("They greet me.").await?;
/// turn.finish(Some("Hello to you.".into()), None).await?;
/// assert!(client.next().await.is_some_and(|frame| frame.contains("They greet me.")));
/// embedded.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Embedded {
    hub: Hub,
    user: UserId,
    session: SessionId,
    clients: Arc<Clients>,
}

/// Agent of an embedded hub: it fails the turns that the program did not start itself.
pub(crate) struct AbsentAgent;

impl Agent for AbsentAgent {
    fn run(&self, _turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
        Box::pin(std::future::ready(Err(AgentError::new(
            "no_agent",
            "The program that speaks for this agent is not listening.",
        ))))
    }
}

impl Embedded {
    /// Opens the store in `dir` and the agent called `name`. An agent that does not exist is made.
    ///
    /// # Errors
    /// When the store cannot be opened, for example because another process has it.
    pub async fn open(dir: &Path, name: &str) -> Result<Self, Refusal> {
        let path = dir.to_owned();
        let opened = tokio::task::spawn_blocking(move || Store::open(&path, now())).await;
        let store = opened
            .map_err(|_| Refusal::new(RefusalCode::Stopping, "the runtime is stopping"))?
            .map_err(|error| Refusal::new(RefusalCode::StoreFailed, error.to_string()))?;
        let hub = Hub::new(Arc::new(store), Arc::new(AbsentAgent), HubOptions::default())
            .await
            .map_err(|error| Refusal::from(&error))?;
        let user = UserId::new("local")
            .map_err(|bad| Refusal::new(RefusalCode::BadRequest, bad.to_string()))?;
        let profile = hub
            .directory()
            .found_or_made(&user, AgentSpec { name: name.to_owned(), ..AgentSpec::default() })
            .await?;
        let clients = hub.clients(&user, &profile.main_session);
        Ok(Self { hub, user, session: profile.main_session, clients })
    }

    /// Id of the session.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// The hub of the session.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Registers a client. From now on it is streamed every frame in this encoding.
    ///
    /// # Errors
    /// When the hub has stopped.
    pub async fn register_client(&self, encoding: Encoding) -> Result<Client, Refusal> {
        self.clients.register(encoding).await
    }

    /// Ends a client's stream. An unknown id does nothing: that client has left already.
    pub fn unregister_client(&self, client: ClientId) {
        self.clients.unregister(client);
    }

    /// Sends the agent an input. A turn starts, which ends with [`Interface::finish`].
    ///
    /// # Errors
    /// While another turn runs, and when the session cannot be saved.
    pub async fn user_message(&self, text: impl Into<String>) -> Result<Interface, Refusal> {
        self.hub.user_message(&self.user, &self.session, text).await
    }

    /// Ends the running turn, saves everything, and closes the store.
    pub async fn close(self) {
        self.hub.stop(Duration::ZERO).await;
        self.hub.store().close().await;
    }
}
