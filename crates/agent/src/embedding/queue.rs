//! Vectors made in the background, a few texts of each agent at a time.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use thoughtwire_proto::AgentId;
use thoughtwire_store::{SearchedTexts, Store, StoreError, UnembeddedTexts};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::metrics::EmbeddingMetrics;
use super::schedule::{EmbeddingSchedule, QueuedTexts, Work};
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
    worker: EmbeddingWorker,
    task: OnceLock<AbortOnDropHandle<()>>,
}

/// The part that the queue and its task share.
#[derive(Clone)]
struct EmbeddingWorker {
    schedule: Arc<Mutex<EmbeddingSchedule>>,
    added: Arc<Notify>,
    progress: watch::Sender<QueueProgress>,
    metrics: EmbeddingMetrics,
    store: Arc<Store>,
    embedder: Embedder,
}

/// Numbers that rise while the queue is worked at.
#[derive(Debug, Clone, Copy, Default)]
struct QueueProgress {
    steps: u64,
    failures: u64,
}

impl EmbeddingQueue {
    pub(crate) fn new(store: Arc<Store>, embedder: Embedder) -> Self {
        let worker = EmbeddingWorker {
            schedule: Arc::default(),
            added: Arc::default(),
            progress: watch::Sender::default(),
            metrics: EmbeddingMetrics::default(),
            store,
            embedder,
        };
        Self(Arc::new(QueueShared { worker, task: OnceLock::new() }))
    }

    pub(crate) fn metrics(&self) -> &EmbeddingMetrics {
        &self.0.worker.metrics
    }

    /// Number of an agent's texts that wait for their vectors, as far as they were counted.
    pub(crate) fn waiting(&self, agent: &AgentId) -> usize {
        let schedule = self.0.worker.schedule.lock();
        schedule.waiting_of(agent, SearchedTexts::Notes)
            + schedule.waiting_of(agent, SearchedTexts::Said)
    }

    /// Adds new texts of an agent. `count` is their number as far as it is known.
    pub(crate) fn add(&self, agent: &AgentId, of: SearchedTexts, count: usize) {
        self.change(|schedule| schedule.add((agent.clone(), of), count, Instant::now()));
    }

    /// Adds texts that a search found without a vector. They may be anywhere among the agent's
    /// texts, so all of these are looked at, but not more often than every ten minutes.
    pub(crate) fn add_missing(&self, agent: &AgentId, of: SearchedTexts, count: usize) {
        self.change(|schedule| schedule.add_missing((agent.clone(), of), count, Instant::now()));
    }

    /// Adds the texts of all agents that have no vector of this model. Gives their number.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn add_all(&self) -> Result<usize, StoreError> {
        let worker = &self.0.worker;
        let memory = worker.store.memory();
        while memory.index_recall().await? {}
        let missing = memory.count_without_vector(None, &worker.embedder.vectors_name()).await?;
        let total = missing.iter().map(|texts| texts.count).sum();
        self.change(|schedule| {
            for UnembeddedTexts { agent, of, count } in missing {
                schedule.add_missing((agent, of), count, Instant::now());
            }
        });
        Ok(total)
    }

    fn change(&self, change: impl FnOnce(&mut EmbeddingSchedule)) {
        let worker = &self.0.worker;
        worker.change(change);
        worker.added.notify_one();
        self.0.task.get_or_init(|| {
            let worker = worker.clone();
            AbortOnDropHandle::new(tokio::spawn(async move { worker.run().await }))
        });
    }

    /// Adds new texts of an agent, and waits until all of its texts have their vectors, the model
    /// fails, or some seconds are over.
    pub(crate) async fn add_and_wait(&self, agent: &AgentId, of: SearchedTexts, count: usize) {
        let worker = &self.0.worker;
        let mut progress = worker.progress.subscribe();
        let failures = progress.borrow_and_update().failures;
        self.add(agent, of, count);
        let texts = (agent.clone(), of);
        let done = async {
            // Progress of others wakes it too; a failure is for all.
            while worker.schedule.lock().contains(&texts) {
                if progress.changed().await.is_err()
                    || progress.borrow_and_update().failures != failures
                {
                    return;
                }
            }
        };
        // The texts are saved; their vectors may come later.
        drop(tokio::time::timeout(PATIENCE, done).await);
    }
}

impl EmbeddingWorker {
    /// Works as long as the queue exists.
    async fn run(&self) {
        let mut failures = 0;
        loop {
            let work = self.schedule.lock().next(Instant::now());
            let texts = match work {
                Work::Now(texts) => texts,
                Work::Later(at) => {
                    tokio::select! {
                        () = self.added.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                    continue;
                }
                Work::None => {
                    self.added.notified().await;
                    continue;
                }
            };
            let key = texts.key.clone();
            match self.embed_some(&texts).await {
                Ok(step) => {
                    failures = 0;
                    self.metrics.made.inc_by(step.count as u64);
                    self.change(|schedule| {
                        schedule.passed(&key, step.last, step.count, step.waiting);
                    });
                    self.progress.send_modify(|progress| progress.steps += 1);
                }
                Err(EmbedError::Store(error)) => {
                    // The next search of this agent queues it again.
                    tracing::warn!(%error, agent = %key.0, "vectors could not be stored");
                    self.change(|schedule| schedule.drop_texts(&key));
                    self.progress.send_modify(|progress| progress.steps += 1);
                }
                Err(EmbedError::Model(error)) => {
                    self.metrics.failures.inc();
                    // A text that the model refuses holds up its agent only.
                    let is_own = error.may_depend_on_text();
                    let earlier = if is_own { texts.failures } else { failures };
                    let pause = PAUSES.get(earlier).or(PAUSES.last()).copied();
                    let pause = pause.unwrap_or_default();
                    tracing::warn!(
                        %error,
                        seconds = pause.as_secs(),
                        "the embedding model failed; texts are found by words until it works again"
                    );
                    self.change(|schedule| {
                        schedule.failed(&key, is_own.then(|| Instant::now() + pause));
                    });
                    self.progress.send_modify(|progress| progress.failures += 1);
                    if !is_own {
                        failures += 1;
                        tokio::time::sleep(pause).await;
                    }
                }
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut EmbeddingSchedule)) {
        let mut schedule = self.schedule.lock();
        change(&mut schedule);
        self.metrics.waiting.set(i64::try_from(schedule.waiting()).unwrap_or(i64::MAX));
    }

    /// Makes the vectors of some texts.
    async fn embed_some(&self, queued: &QueuedTexts) -> Result<EmbeddingStep, EmbedError> {
        let memory = self.store.memory();
        let ((agent, of), model) = (&queued.key, self.embedder.vectors_name());
        if *of == SearchedTexts::Said {
            while memory.index_recall().await.map_err(EmbedError::Store)? {}
        }
        let texts = memory.without_vector(agent, *of, &model, queued.after, BATCH).await;
        let texts = texts.map_err(EmbedError::Store)?;
        let count = texts.len();
        if count == 0 {
            return Ok(EmbeddingStep { last: None, count, waiting: Some(0) });
        }
        // A full batch of texts that nobody counted, such as a long conversation.
        let waiting = if count == BATCH && queued.waiting <= BATCH {
            Some(self.count(agent, *of, &model).await?.saturating_sub(count))
        } else {
            None
        };
        let (ids, texts): (Vec<i64>, Vec<String>) = texts.into_iter().unzip();
        let last = ids.last().copied().filter(|_| count == BATCH);
        let vectors = self.embed_each(texts).await.map_err(EmbedError::Model)?;
        let vectors = ids.into_iter().zip(vectors).collect();
        memory.set_vectors(agent, *of, &model, vectors).await.map_err(EmbedError::Store)?;
        Ok(EmbeddingStep { last, count, waiting })
    }

    async fn count(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        model: &str,
    ) -> Result<usize, EmbedError> {
        let counted = self.store.memory().count_without_vector(Some(agent), model).await;
        let counted = counted.map_err(EmbedError::Store)?;
        Ok(counted.into_iter().filter(|texts| texts.of == of).map(|texts| texts.count).sum())
    }

    /// Makes the vectors of texts. A text that the model refuses by itself gets a vector of zeros:
    /// it is found by words, and asked for again with another model.
    async fn embed_each(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, ModelError> {
        let error = match self.embedder.embed(texts.clone()).await {
            Ok(vectors) => return Ok(vectors),
            Err(error) if error.may_depend_on_text() => error,
            Err(error) => return Err(error),
        };
        let mut found: Vec<Option<Vec<f32>>> = Vec::with_capacity(texts.len());
        for text in texts {
            match self.embedder.embed(vec![text]).await {
                Ok(vectors) => found.extend(vectors.into_iter().map(Some)),
                Err(error) if error.may_depend_on_text() => found.push(None),
                Err(error) => return Err(error),
            }
        }
        // If it refuses all texts, they are hardly the reason.
        let Some(length) = found.iter().flatten().next().map(Vec::len) else { return Err(error) };
        let refused = found.iter().filter(|vector| vector.is_none()).count();
        tracing::warn!(%error, refused, "texts without meaning: the embedding model refused them");
        Ok(found.into_iter().map(|found| found.unwrap_or_else(|| vec![0.0; length])).collect())
    }
}

/// A batch of texts that have their vectors now.
struct EmbeddingStep {
    /// Number of the last text; `None` if there are no more.
    last: Option<i64>,
    count: usize,
    /// Number of texts that still wait, where they were counted.
    waiting: Option<usize>,
}

enum EmbedError {
    Store(StoreError),
    Model(ModelError),
}
