//! Vectors made in the background, a few texts of each agent at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thoughtwire_proto::AgentId;
use thoughtwire_store::{SearchedTexts, Store, StoreError};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{BATCH, Embedder};
use crate::model::ModelError;

/// Time that somebody waits for the vectors of new texts.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pauses after failures of the model, the last one for all further ones.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(300),
];

/// A queue of agents whose texts need vectors. Clones share it; its task ends with the last one.
#[derive(Clone)]
pub(crate) struct EmbeddingQueue(Arc<QueueShared>);

struct QueueShared {
    work: Arc<QueuedWork>,
    store: Arc<Store>,
    embedder: Embedder,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// Texts of one agent.
type AgentTexts = (AgentId, SearchedTexts);

struct QueuedWork {
    /// Each agent is in it at most once; the first one is worked at.
    agents: Mutex<VecDeque<AgentTexts>>,
    /// Rises when an agent's texts have their vectors, and when the model fails.
    progress: watch::Sender<u64>,
}

impl EmbeddingQueue {
    pub(crate) fn new(store: Arc<Store>, embedder: Embedder) -> Self {
        let work = QueuedWork { agents: Mutex::default(), progress: watch::Sender::new(0) };
        Self(Arc::new(QueueShared {
            work: Arc::new(work),
            store,
            embedder,
            task: Mutex::default(),
        }))
    }

    /// Number of agents in the queue.
    pub(crate) fn waiting(&self) -> usize {
        self.0.work.agents.lock().len()
    }

    /// Adds an agent's texts, unless they are in the queue.
    pub(crate) fn add(&self, agent: &AgentId, of: SearchedTexts) {
        let entry = (agent.clone(), of);
        {
            let mut agents = self.0.work.agents.lock();
            if !agents.contains(&entry) {
                agents.push_back(entry);
            }
        }
        let mut task = self.0.task.lock();
        if task.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let work = Arc::clone(&self.0.work);
            let (store, embedder) = (Arc::clone(&self.0.store), self.0.embedder.clone());
            let run = async move { work.run(&store, &embedder).await };
            *task = Some(AbortOnDropHandle::new(tokio::spawn(run)));
        }
    }

    /// Adds an agent's texts, and waits until they have their vectors, the model fails, or some
    /// seconds are over.
    pub(crate) async fn add_and_wait(&self, agent: &AgentId, of: SearchedTexts) {
        let mut progress = self.0.work.progress.subscribe();
        self.add(agent, of);
        let entry = (agent.clone(), of);
        let done = async {
            // Progress of others wakes it too; a failure is for all.
            while self.0.work.agents.lock().contains(&entry) {
                let failures = *progress.borrow_and_update() & FAILED;
                if progress.changed().await.is_err() || *progress.borrow() & FAILED != failures {
                    return;
                }
            }
        };
        // The texts are saved; their vectors may come later.
        drop(tokio::time::timeout(PATIENCE, done).await);
    }
}

/// Bit of the progress that changes with each failure.
const FAILED: u64 = 1 << 63;

impl QueuedWork {
    /// Works until nothing is queued.
    async fn run(&self, store: &Store, embedder: &Embedder) {
        let mut failures = 0;
        loop {
            let Some(first) = self.agents.lock().front().cloned() else { return };
            match embed_some(store, embedder, &first).await {
                Ok(has_more) => {
                    failures = 0;
                    self.next(&first, has_more);
                }
                Err(EmbedError::Store(error)) => {
                    // The next search of this agent queues it again.
                    tracing::warn!(%error, agent = %first.0, "vectors could not be stored");
                    self.next(&first, false);
                }
                Err(EmbedError::Model(error)) => {
                    let pause = PAUSES.get(failures).or(PAUSES.last()).copied();
                    let pause = pause.unwrap_or_default();
                    tracing::warn!(
                        %error,
                        seconds = pause.as_secs(),
                        "the embedding model failed; texts are found by words until it works again"
                    );
                    failures += 1;
                    self.progress.send_modify(|progress| *progress ^= FAILED);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Passes on to the next agent. One with more texts takes its turn again.
    fn next(&self, done: &AgentTexts, has_more: bool) {
        {
            let mut agents = self.agents.lock();
            agents.retain(|entry| entry != done);
            if has_more {
                agents.push_back(done.clone());
            }
        }
        self.progress
            .send_modify(|progress| *progress = (*progress & FAILED) | ((*progress & !FAILED) + 1));
    }
}

enum EmbedError {
    Store(StoreError),
    Model(ModelError),
}

/// Makes the vectors of some texts. Tells whether there may be more.
async fn embed_some(
    store: &Store,
    embedder: &Embedder,
    (agent, of): &AgentTexts,
) -> Result<bool, EmbedError> {
    let memory = store.memory();
    if *of == SearchedTexts::Said {
        while memory.index_recall().await.map_err(EmbedError::Store)? {}
    }
    let texts = memory.without_vector(agent, *of, &embedder.vectors_name(), BATCH).await;
    let texts = texts.map_err(EmbedError::Store)?;
    let has_more = texts.len() == BATCH;
    if texts.is_empty() {
        return Ok(false);
    }
    let (ids, texts): (Vec<i64>, Vec<String>) = texts.into_iter().unzip();
    let vectors = embedder.embed(texts).await.map_err(EmbedError::Model)?;
    let vectors = ids.into_iter().zip(vectors).collect();
    let saved = memory.set_vectors(agent, *of, &embedder.vectors_name(), vectors).await;
    saved.map(|()| has_more).map_err(EmbedError::Store)
}
