//! Synchronous agents, on threads of the runtime.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::interface::BlockingInterface;
use crate::agent::{Agent, Turn};
use crate::turn_message::AgentError;

/// A synchronous agent.
pub trait BlockingAgent: Send + Sync + 'static {
    /// Runs one turn on a thread of its own.
    ///
    /// # Errors
    /// The error with which the turn fails.
    fn run(&self, turn: &Turn, interface: &BlockingInterface) -> Result<(), AgentError>;
}

/// Runs a synchronous agent's turns on at most `threads` threads. Further turns wait.
pub struct OnThreads<A> {
    agent: Arc<A>,
    threads: Arc<Semaphore>,
}

impl<A: BlockingAgent> OnThreads<A> {
    /// Wraps a synchronous agent for [`crate::Hub::new`].
    #[must_use]
    pub fn new(agent: A, threads: usize) -> Self {
        Self { agent: Arc::new(agent), threads: Arc::new(Semaphore::new(threads)) }
    }
}

impl<A: BlockingAgent> Agent for OnThreads<A> {
    fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
        let (agent, threads) = (Arc::clone(&self.agent), Arc::clone(&self.threads));
        Box::pin(async move {
            let gone = |_| AgentError::new("stopping", "the server is stopping");
            // The permit belongs to the thread: a turn that was cancelled holds its thread until
            // the agent returns.
            let permit = threads.acquire_owned().await.map_err(gone)?;
            let runtime = Handle::current();
            let work = tokio::task::spawn_blocking(move || {
                let interface = BlockingInterface::new(turn.interface.clone(), runtime);
                let outcome = agent.run(&turn, &interface);
                drop(permit);
                drop(turn);
                let closed = interface.close();
                outcome.and_then(|()| closed.map_err(AgentError::from))
            });
            let panicked = |_| {
                AgentError::new("agent_panicked", "The agent broke off because of a defect in it.")
            };
            work.await.unwrap_or_else(|error| Err(panicked(error)))
        })
    }
}
