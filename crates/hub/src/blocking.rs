//! The interface for synchronous agents: the same verbs, without `async`.
//!
//! ```text
//! synchronous agent ──verbs (256)──▶ pump thread ──▶ async Interface
//! ```
//!
//! Verbs are queued and carried out in order; only [`Interface::tool_called`] and
//! [`Interface::finish`] wait. A verb that was refused is reported by the next one and by the end.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use futures::future::BoxFuture;
use serde_json::{Map, Value};
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::{CallId, Refusal, RefusalCode, SessionId, ToolStatus, Usage};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Semaphore, mpsc};

use crate::clients::ClientId;
use crate::tail::locked;
use crate::turn_message::{Finish, TurnError};
use crate::{AgentError, Input};

/// Verbs that may wait. A synchronous agent that is faster than the disk is slowed to its pace.
const VERBS: usize = 256;
/// Frames that may wait for a blocking client; beyond that it reads on from its cursor when it asks.
const FRAMES: usize = 64;

/// One verb, to be carried out on the async interface.
type Verb = Box<dyn FnOnce(crate::Interface) -> BoxFuture<'static, Result<(), TurnError>> + Send>;

/// A synchronous agent's voice in one turn. Dropping it never blocks.
pub struct Interface {
    verbs: Option<SyncSender<Verb>>,
    failure: Arc<Mutex<Option<TurnError>>>,
    input: Arc<Input>,
    pump: Option<JoinHandle<()>>,
}

impl Interface {
    /// Puts a blocking face on an interface, with a pump thread of its own. `runtime` is the one that the hub runs on.
    #[must_use]
    pub fn new(interface: crate::Interface, runtime: Handle) -> Self {
        let (verbs, queue): (SyncSender<Verb>, Receiver<Verb>) = sync_channel(VERBS);
        let failure = Arc::new(Mutex::new(None));
        let input = Arc::clone(&interface.input);
        let failed = Arc::clone(&failure);
        let pump =
            std::thread::Builder::new().name("thoughtwire-voice".to_owned()).spawn(move || {
                while let Ok(verb) = queue.recv() {
                    if let Err(error) = runtime.block_on(verb(interface.clone())) {
                        locked(&failed).get_or_insert(error);
                    }
                }
            });
        // Without a thread every verb reports that the turn has ended, since its queue is closed.
        Self { verbs: Some(verbs), failure, input, pump: pump.ok() }
    }

    /// What the agent was told.
    #[must_use]
    pub fn user_message(&self) -> &str {
        &self.input.text
    }

    /// Says a whole thought.
    ///
    /// # Errors
    /// When an earlier verb was refused, or the turn has ended.
    pub fn internal_monologue(&self, text: impl Into<String>) -> Result<(), TurnError> {
        let text = text.into();
        self.queue(
            move |interface| async move { interface.internal_monologue(text).await.map(drop) },
        )
    }

    /// Says a whole message.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub fn assistant_message(&self, text: impl Into<String>) -> Result<(), TurnError> {
        let text = text.into();
        self.queue(
            move |interface| async move { interface.assistant_message(text).await.map(drop) },
        )
    }

    /// Takes a line as `MemGPT` agents give it; see [`crate::Interface::function_message`].
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub fn function_message(&self, line: impl Into<String>) -> Result<(), TurnError> {
        let line = line.into();
        self.queue(move |interface| async move { interface.function_message(&line).await })
    }

    /// Says that a tool is called, and waits until that is on disk: the tool may run then.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub fn tool_called(
        &self,
        name: impl Into<String>,
        args: Map<String, Value>,
    ) -> Result<CallId, TurnError> {
        let name = name.into();
        self.wait(move |interface| async move { interface.tool_called(name, args).await })
    }

    /// Says what a call came back with.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub fn tool_returned(
        &self,
        call: CallId,
        name: impl Into<String>,
        status: ToolStatus,
        text: impl Into<String>,
    ) -> Result<(), TurnError> {
        let (name, text) = (name.into(), text.into());
        self.queue(move |interface| async move {
            interface.tool_returned(&call, name, status, text, None).await
        })
    }

    /// Shows people what the agent is about.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub fn status(&self, text: impl Into<String>) -> Result<(), TurnError> {
        let text = text.into();
        self.queue(move |interface| async move { interface.status(text).await })
    }

    /// Says what model calls cost.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub fn usage(&self, usage: Usage) -> Result<(), TurnError> {
        self.queue(move |interface| async move { interface.usage(usage).await })
    }

    /// Ends the turn and waits until that is accepted.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub fn finish(
        &self,
        message: Option<String>,
        usage: Option<Usage>,
    ) -> Result<Finish, TurnError> {
        self.wait(
            move |interface| async move { interface.finish(message.map(Into::into), usage).await },
        )
    }

    /// Carries out what was queued and joins the pump. A turn that was not finished ends here.
    ///
    /// # Errors
    /// The first verb that was refused.
    pub fn close(mut self) -> Result<(), TurnError> {
        drop(self.verbs.take());
        if let Some(pump) = self.pump.take() {
            // A panic there was a verb's; its turn ends as failed.
            drop(pump.join());
        }
        locked(&self.failure).take().map_or(Ok(()), Err)
    }

    fn queue<F>(
        &self,
        verb: impl FnOnce(crate::Interface) -> F + Send + 'static,
    ) -> Result<(), TurnError>
    where
        F: Future<Output = Result<(), TurnError>> + Send + 'static,
    {
        if let Some(error) = locked(&self.failure).clone() {
            return Err(error);
        }
        let verbs = self.verbs.as_ref().ok_or(TurnError::Ended)?;
        verbs
            .send(Box::new(move |interface| Box::pin(verb(interface))))
            .map_err(|_| TurnError::Ended)
    }

    fn wait<T, F>(
        &self,
        verb: impl FnOnce(crate::Interface) -> F + Send + 'static,
    ) -> Result<T, TurnError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, TurnError>> + Send + 'static,
    {
        let (reply, answer) = sync_channel(1);
        self.queue(move |interface| async move {
            // Room for one answer, and one is sent.
            drop(reply.send(verb(interface).await));
            Ok(())
        })?;
        answer.recv().map_err(|_| TurnError::Ended)?
    }
}

/// A synchronous agent.
pub trait Agent: Send + Sync + 'static {
    /// Runs one turn on a thread of its own.
    ///
    /// # Errors
    /// What made the turn fail.
    fn run(&self, turn: &crate::Turn, interface: &Interface) -> Result<(), AgentError>;
}

/// Runs a synchronous agent's turns on at most `threads` threads; further turns wait.
pub struct OnThreads<A> {
    agent: Arc<A>,
    threads: Arc<Semaphore>,
}

impl<A: Agent> OnThreads<A> {
    /// Wraps a synchronous agent for [`crate::Hub::new`].
    #[must_use]
    pub fn new(agent: A, threads: usize) -> Self {
        Self { agent: Arc::new(agent), threads: Arc::new(Semaphore::new(threads)) }
    }
}

impl<A: Agent> crate::Agent for OnThreads<A> {
    fn run(&self, turn: crate::Turn) -> BoxFuture<'static, Result<(), AgentError>> {
        let (agent, threads) = (Arc::clone(&self.agent), Arc::clone(&self.threads));
        Box::pin(async move {
            let gone = |_| AgentError::new("stopping", "the server is stopping");
            // The permit goes along: a turn that was cancelled still holds its thread until it returns.
            let permit = threads.acquire_owned().await.map_err(gone)?;
            let runtime = Handle::current();
            let work = tokio::task::spawn_blocking(move || {
                let interface = Interface::new(turn.interface.clone(), runtime);
                let outcome = agent.run(&turn, &interface);
                drop(permit);
                drop(turn);
                let closed = interface.close();
                outcome.and_then(|()| closed.map_err(AgentError::from))
            });
            match work.await {
                Ok(outcome) => outcome,
                Err(_) => Err(AgentError::new(
                    "agent_panicked",
                    "The agent broke off because of a defect in it.",
                )),
            }
        })
    }
}

/// [`crate::Embedded`] for synchronous programs: it owns a runtime and its threads.
pub struct Embedded {
    embedded: Option<crate::Embedded>,
    runtime: Option<Runtime>,
}

/// A registered client of a synchronous program: an iterator over frames.
pub struct Client {
    id: ClientId,
    frames: mpsc::Receiver<String>,
}

impl Client {
    /// Its name, for `unregister_client`.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.id
    }
}

impl Iterator for Client {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.frames.blocking_recv()
    }
}

impl Embedded {
    /// Opens the store in `dir`, and the agent called `name`, made when it is not there.
    ///
    /// # Errors
    /// When the store cannot be opened or no thread can be had.
    pub fn open(dir: &Path, name: &str) -> Result<Self, Refusal> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("thoughtwire")
            .enable_all()
            .build()
            .map_err(|error| {
                Refusal::new(RefusalCode::Internal, format!("no runtime can be started: {error}"))
            })?;
        let embedded = runtime.block_on(crate::Embedded::open(dir, name))?;
        Ok(Self { embedded: Some(embedded), runtime: Some(runtime) })
    }

    /// The session, until [`Embedded::close`].
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        self.embedded.as_ref().map(crate::Embedded::session)
    }

    /// Registers a client: from now on it is streamed every frame, in this encoding.
    ///
    /// # Errors
    /// When the hub has stopped.
    pub fn register_client(&self, encoding: Encoding) -> Result<Client, Refusal> {
        let (embedded, runtime) = self.parts()?;
        let mut client = runtime.block_on(embedded.register_client(encoding))?;
        let id = client.id();
        let (sender, frames) = mpsc::channel(FRAMES);
        runtime.spawn(async move {
            while let Some(frame) = client.next().await {
                if sender.send(frame).await.is_err() {
                    break;
                }
            }
        });
        Ok(Client { id, frames })
    }

    /// Ends a client's stream.
    pub fn unregister_client(&self, client: ClientId) {
        if let Some(embedded) = &self.embedded {
            embedded.unregister_client(client);
        }
    }

    /// Tells the agent something: a turn starts.
    ///
    /// # Errors
    /// While another turn runs, and when the session cannot be saved.
    pub fn user_message(&self, text: impl Into<String>) -> Result<Interface, Refusal> {
        let (embedded, runtime) = self.parts()?;
        let interface = runtime.block_on(embedded.user_message(text))?;
        Ok(Interface::new(interface, runtime.handle().clone()))
    }

    /// Ends what runs, saves everything, and joins the threads.
    pub fn close(mut self) {
        if let (Some(embedded), Some(runtime)) = (self.embedded.take(), self.runtime.take()) {
            runtime.block_on(embedded.close());
        }
    }

    fn parts(&self) -> Result<(&crate::Embedded, &Runtime), Refusal> {
        match (&self.embedded, &self.runtime) {
            (Some(embedded), Some(runtime)) => Ok((embedded, runtime)),
            (_, _) => Err(Refusal::new(RefusalCode::Stopping, "it was closed")),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Never blocks; what was accepted is on its way to the disk, what was not ends at the next start.
            runtime.shutdown_background();
        }
    }
}
