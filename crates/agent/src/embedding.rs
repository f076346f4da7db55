//! Embedding models: texts to vectors that lie near each other when their meanings do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use model2vec_rs::model::StaticModel;

use crate::model::remote::{Provider, Wire, client, explain};
use crate::model::{ModelError, Providers, Timeouts};

/// Texts per request: what every provider takes.
const BATCH: usize = 64;
/// The longest that one request may take.
const WITHIN: Duration = Duration::from_secs(60);
/// How often a provider that is busy or out of reach is asked again.
const RETRIES: u32 = 1;

/// An embedding model. Cheap to clone.
#[derive(Clone)]
pub struct Embedder {
    name: Arc<str>,
    mind: Mind,
}

#[derive(Clone)]
enum Mind {
    /// A provider's, by its model's name.
    Remote { client: genai::Client, wire: Wire, model: Arc<str> },
    /// One on this machine: a table of vectors, no network and no GPU.
    Static(Arc<StaticModel>),
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Embedder {
    /// Opens a model by its name: `openai/NAME`, `gemini/NAME`, `ollama/NAME`, or `local:DIR` for the
    /// directory of a Model2Vec model (`tokenizer.json`, `model.safetensors`, `config.json`). Reads
    /// files where it is local; reaches no network.
    ///
    /// # Errors
    /// When there is no such model, or what it needs is not there.
    pub fn open(name: &str, providers: &Providers) -> Result<Self, ModelError> {
        let mind = match name.strip_prefix("local:") {
            Some(dir) => Mind::Static(Arc::new(read_static(Path::new(dir))?)),
            None => match Provider::of(name) {
                Some((provider @ (Provider::OpenAi | Provider::Gemini | Provider::Ollama), model)) if !model.is_empty() => Mind::Remote {
                    client: client(Timeouts::default().connect)?,
                    wire: Wire::new(provider, providers)?,
                    model: model.into(),
                },
                Some(_) | None => {
                    return Err(ModelError::Unknown(format!(
                        "there is no embedding model `{}`; known are `openai/NAME`, `gemini/NAME`, `ollama/NAME` and `local:DIR`",
                        name.escape_debug()
                    )));
                }
            },
        };
        Ok(Self { name: name.into(), mind })
    }

    /// The name it was opened by. Vectors of models of different names cannot be compared.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One unit vector per text, in their order.
    ///
    /// # Errors
    /// When the provider cannot be had, or answers nonsense.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(BATCH) {
            let embedded = self.batch(batch.to_vec()).await?;
            if embedded.len() != batch.len() {
                return Err(ModelError::Failed(format!("The embedding model {} gave another number of vectors than texts.", self.name)));
            }
            vectors.extend(embedded.into_iter().map(unit));
        }
        Ok(vectors)
    }

    fn batch(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<Vec<f32>>, ModelError>> {
        match &self.mind {
            Mind::Static(model) => {
                let model = Arc::clone(model);
                let embedding = tokio::task::spawn_blocking(move || model.encode(&texts));
                Box::pin(async move { embedding.await.map_err(|_| ModelError::Failed("The embedding model broke off.".to_owned())) })
            }
            Mind::Remote { client, wire, model } => Box::pin(async move {
                let mut attempt = 0;
                loop {
                    let asking = client.embed_batch(wire.target(model), texts.clone(), None);
                    let error = match tokio::time::timeout(WITHIN, asking).await {
                        Ok(Ok(response)) => return Ok(response.into_vectors()),
                        Ok(Err(error)) => explain(&error, wire),
                        Err(_) => ModelError::Late(format!("The embedding model {} did not answer in time.", self.name)),
                    };
                    match error.retry_in(attempt).filter(|_| attempt < RETRIES) {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => return Err(error),
                    }
                    attempt += 1;
                }
            }),
        }
    }
}

fn read_static(dir: &Path) -> Result<StaticModel, ModelError> {
    // Said here, since the library takes a name that is no directory for one of a model hub.
    for file in ["tokenizer.json", "model.safetensors", "config.json"] {
        if !dir.join(file).is_file() {
            return Err(ModelError::Unset(format!("{} is no directory of a Model2Vec model: it has no {file}", dir.display())));
        }
    }
    StaticModel::from_pretrained(dir, None, Some(true), None)
        .map_err(|error| ModelError::Unset(format!("the embedding model in {} cannot be read: {error:#}", dir.display())))
}

/// The vector with the length 1; a zero vector stays.
fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|number| *number /= length);
    }
    vector
}
