//! The work of the running turn's agent.

use thoughtwire_proto::TurnId;
use thoughtwire_session::AgentExit;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use crate::turn_message::{AgentError, TurnMessage};

/// The running turn's work. Dropping it ends the work: what blocks in the agent is left to itself.
pub(crate) struct LiveTurn {
    pub(crate) id: TurnId,
    messages: mpsc::Receiver<TurnMessage>,
    worker: TurnWork,
}

/// Where the turn's work runs.
pub(crate) enum TurnWork {
    /// A task of ours.
    Task(JoinHandle<Result<(), AgentError>>),
    /// An embedder, who ends the turn by dropping the interface.
    Embedder,
    /// Nobody any more. Holds the exit until the last messages were taken.
    Exited(Option<AgentExit>),
}

/// One thing that comes from a turn's work.
pub(crate) enum TurnNews {
    Message(TurnMessage),
    Exited(AgentExit),
}

impl LiveTurn {
    pub(crate) fn new(id: TurnId, messages: mpsc::Receiver<TurnMessage>, worker: TurnWork) -> Self {
        Self { id, messages, worker }
    }

    /// Waits for the next message or the end of the work; the last messages come before the end.
    /// Safe to drop and call again.
    pub(crate) async fn next(&mut self) -> TurnNews {
        loop {
            let exit = match &mut self.worker {
                TurnWork::Task(task) => tokio::select! {
                    biased;
                    Some(message) = self.messages.recv() => return TurnNews::Message(message),
                    outcome = task => exit(outcome),
                },
                TurnWork::Embedder => match self.messages.recv().await {
                    Some(message) => return TurnNews::Message(message),
                    None => AgentExit::Completed,
                },
                TurnWork::Exited(exit) => {
                    // A thread of the agent may have sent them while its task ended.
                    if let Ok(message) = self.messages.try_recv() {
                        return TurnNews::Message(message);
                    }
                    match exit.take() {
                        Some(exit) => return TurnNews::Exited(exit),
                        None => std::future::pending().await,
                    }
                }
            };
            self.worker = TurnWork::Exited(Some(exit));
        }
    }
}

impl Drop for LiveTurn {
    fn drop(&mut self) {
        if let TurnWork::Task(task) = &self.worker {
            task.abort();
        }
    }
}

fn exit(outcome: Result<Result<(), AgentError>, JoinError>) -> AgentExit {
    match outcome {
        Ok(Ok(())) => AgentExit::Completed,
        Ok(Err(error)) => AgentExit::Failed(error),
        Err(error) if error.is_panic() => AgentExit::Panicked,
        Err(_) => AgentExit::Aborted,
    }
}
