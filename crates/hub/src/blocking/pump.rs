//! The thread that carries out the verbs of a blocking interface in order.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::Interface;
use crate::turn_message::TurnError;

/// Verbs that may be queued. An agent that is faster than the disk is slowed to its pace.
const VERBS: usize = 256;

/// One verb, to be carried out on the async interface.
type QueuedVerb = Box<dyn FnOnce(Interface) -> BoxFuture<'static, Result<(), TurnError>> + Send>;

/// Queue and thread of one blocking interface.
pub(super) struct VerbPump {
    interface: Interface,
    runtime: Handle,
    verbs: Option<SyncSender<QueuedVerb>>,
    failure: Arc<Mutex<Option<TurnError>>>,
    thread: Option<JoinHandle<()>>,
}

impl VerbPump {
    pub(super) fn new(interface: Interface, runtime: Handle) -> Self {
        let (verbs, queue): (SyncSender<QueuedVerb>, Receiver<QueuedVerb>) = sync_channel(VERBS);
        let failure = Arc::new(Mutex::new(None));
        let (failed, served, handle) = (Arc::clone(&failure), interface.clone(), runtime.clone());
        let thread = std::thread::Builder::new().name("thoughtwire-verbs".to_owned());
        let thread = thread.spawn(move || {
            while let Ok(verb) = queue.recv() {
                if let Err(error) = handle.block_on(verb(served.clone())) {
                    failed.lock().get_or_insert(error);
                }
            }
        });
        // Without a thread the queue is closed, and each verb reports that the turn has ended.
        Self { interface, runtime, verbs: Some(verbs), failure, thread: thread.ok() }
    }

    /// The async interface, for what needs no waiting.
    pub(super) fn interface(&self) -> &Interface {
        &self.interface
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Queues a verb. Waits while the queue is full.
    ///
    /// # Errors
    /// When an earlier verb failed or the turn has ended.
    pub(super) fn queue<F>(
        &self,
        verb: impl FnOnce(Interface) -> F + Send + 'static,
    ) -> Result<(), TurnError>
    where
        F: Future<Output = Result<(), TurnError>> + Send + 'static,
    {
        if let Some(error) = self.failure.lock().clone() {
            return Err(error);
        }
        let verbs = self.verbs.as_ref().ok_or(TurnError::Ended)?;
        verbs
            .send(Box::new(move |interface| Box::pin(verb(interface))))
            .map_err(|_| TurnError::Ended)
    }

    /// Carries out a verb behind the queued ones and waits for its answer.
    ///
    /// The verb runs on the runtime and not on the pump's thread. So verbs of other threads go
    /// on while this one waits, for example for an approval.
    ///
    /// # Errors
    /// As [`VerbPump::queue`], and the verb's own errors.
    pub(super) fn wait<T, E, F>(
        &self,
        verb: impl FnOnce(Interface) -> F + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<TurnError> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let (reply, answer) = sync_channel(1);
        self.queue(move |interface| async move {
            let tasks = interface.tasks.clone();
            tasks.spawn(async move {
                // The channel has room for one answer, and one is sent.
                drop(reply.send(verb(interface).await));
            });
            Ok(())
        })?;
        answer.recv().map_err(|_| TurnError::Ended)?
    }

    /// Carries out what is queued and joins the thread.
    ///
    /// # Errors
    /// The error of the first verb that failed.
    pub(super) fn close(mut self) -> Result<(), TurnError> {
        drop(self.verbs.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was a verb's. Its turn ends as failed.
            drop(thread.join());
        }
        self.failure.lock().take().map_or(Ok(()), Err)
    }
}
