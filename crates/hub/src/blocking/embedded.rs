//! [`crate::Embedded`] for synchronous programs.

use std::path::Path;

use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::{Refusal, RefusalCode, SessionId};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::interface::BlockingInterface;
use crate::clients::{Client, ClientId};
use crate::embedded::Embedded;

/// Frames that are read ahead for a blocking client. Beyond that it reads on from its cursor.
const FRAMES: usize = 64;

/// A registered client of a synchronous program: an iterator over frames.
pub struct BlockingClient {
    id: ClientId,
    frames: mpsc::Receiver<String>,
    reading: JoinHandle<()>,
}

impl BlockingClient {
    pub(super) fn new(mut client: Client, runtime: &Handle) -> Self {
        let id = client.id();
        let (sender, frames) = mpsc::channel(FRAMES);
        let reading = runtime.spawn(async move {
            while let Some(frame) = client.next().await {
                if sender.send(frame).await.is_err() {
                    break;
                }
            }
        });
        Self { id, frames, reading }
    }

    /// Id of the client, for `unregister_client`.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.id
    }
}

impl Iterator for BlockingClient {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.frames.blocking_recv()
    }
}

impl Drop for BlockingClient {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// [`crate::Embedded`] for synchronous programs. It owns a runtime and its threads.
pub struct BlockingEmbedded {
    embedded: Option<Embedded>,
    runtime: Option<Runtime>,
}

impl BlockingEmbedded {
    /// Opens the store in `dir` and the agent called `name`. An agent that does not exist is made.
    ///
    /// # Errors
    /// When the store cannot be opened or no thread can be started.
    pub fn open(dir: &Path, name: &str) -> Result<Self, Refusal> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("thoughtwire")
            .enable_all()
            .build()
            .map_err(|error| {
                Refusal::new(RefusalCode::Internal, format!("no runtime can be started: {error}"))
            })?;
        let embedded = runtime.block_on(Embedded::open(dir, name))?;
        Ok(Self { embedded: Some(embedded), runtime: Some(runtime) })
    }

    /// Id of the session; `None` after [`BlockingEmbedded::close`].
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        self.embedded.as_ref().map(Embedded::session)
    }

    /// Registers a client. From now on it is streamed every frame in this encoding.
    ///
    /// # Errors
    /// When the hub has stopped.
    pub fn register_client(&self, encoding: Encoding) -> Result<BlockingClient, Refusal> {
        let (embedded, runtime) = self.parts()?;
        let client = runtime.block_on(embedded.register_client(encoding))?;
        Ok(BlockingClient::new(client, runtime.handle()))
    }

    /// Ends a client's stream. An unknown id does nothing: that client has left already.
    pub fn unregister_client(&self, client: ClientId) {
        if let Some(embedded) = &self.embedded {
            embedded.unregister_client(client);
        }
    }

    /// Sends the agent an input. A turn starts, for which the program speaks.
    ///
    /// # Errors
    /// While another turn runs, and when the session cannot be saved.
    pub fn user_message(&self, text: impl Into<String>) -> Result<BlockingInterface, Refusal> {
        let (embedded, runtime) = self.parts()?;
        let interface = runtime.block_on(embedded.user_message(text))?;
        Ok(BlockingInterface::new(interface, runtime.handle().clone()))
    }

    /// Ends the running turn, saves everything, and joins the threads.
    pub fn close(mut self) {
        if let (Some(embedded), Some(runtime)) = (self.embedded.take(), self.runtime.take()) {
            runtime.block_on(embedded.close());
        }
    }

    fn parts(&self) -> Result<(&Embedded, &Runtime), Refusal> {
        match (&self.embedded, &self.runtime) {
            (Some(embedded), Some(runtime)) => Ok((embedded, runtime)),
            (_, _) => Err(Refusal::new(RefusalCode::Stopping, "it was closed")),
        }
    }
}

impl Drop for BlockingEmbedded {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Never blocks. Accepted appends are on their way to the disk; a turn that runs is
            // ended at the next start.
            runtime.shutdown_background();
        }
    }
}
