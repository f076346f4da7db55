//! Embeddings: texts as vectors, so that texts with the same meaning are close together.

mod local;
mod metrics;
mod prefixes;
mod queue;
mod remote;
mod schedule;

use std::fmt;
use std::sync::Arc;

use crate::model::{ModelError, Providers};
use local::LocalEmbedder;
pub(crate) use metrics::EmbeddingMetrics;
pub use prefixes::EmbeddingPrefixes;
pub(crate) use queue::EmbeddingQueue;
use remote::RemoteEmbedder;

/// Number of texts in one request.
const BATCH: usize = 64;
/// Number of characters of a text that are embedded: as many as every embedding model reads. A
/// single overlong text would make the request fail for all the others.
const MOST_CHARS: usize = 6_000;

/// Turns texts into vectors. Cheap to clone.
///
/// Names: `openai/NAME` (any OpenAI-compatible endpoint), `gemini/NAME`, `ollama/NAME`, and
/// `local:DIR` for a directory with a static model2vec model (`tokenizer.json`,
/// `model.safetensors`, `config.json`), which needs no network. Vectors of different names cannot
/// be compared.
///
/// ```no_run
/// # use thoughtwire_agent::{Embedder, Providers};
/// # async fn run() -> Result<(), thoughtwire_agent::ModelError> {
/// let embedder = Embedder::open("ollama/nomic-embed-text", &Providers::default())?;
/// let vectors = embedder.embed(vec!["tea".into(), "coffee".into()]).await?;
/// let likeness: f32 = vectors[0].iter().zip(&vectors[1]).map(|(a, b)| a * b).sum();
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Embedder {
    name: Arc<str>,
    source: EmbeddingSource,
    /// The model for queries, where a provider has one of its own.
    query_source: Option<EmbeddingSource>,
    /// Words in front of queries and of documents.
    prefixes: Arc<(String, String)>,
}

#[derive(Clone)]
enum EmbeddingSource {
    Remote(Arc<RemoteEmbedder>),
    Local(LocalEmbedder),
}

impl Embedder {
    /// Opens an embedding model by name. Does not use the network; a local model is read from disk,
    /// which blocks.
    ///
    /// # Errors
    /// Fails if the name is unknown, the provider lacks a setting, or the directory has no model.
    pub fn open(name: &str, providers: &Providers) -> Result<Self, ModelError> {
        Self::open_with(name, providers, EmbeddingPrefixes::default())
    }

    /// Opens an embedding model as [`Embedder::open`] does, with prefixes of queries and documents
    /// in the place of those that the model is known to want.
    ///
    /// # Errors
    /// As [`Embedder::open`].
    pub fn open_with(
        name: &str,
        providers: &Providers,
        prefixes: EmbeddingPrefixes,
    ) -> Result<Self, ModelError> {
        let remote = |name: &str| {
            RemoteEmbedder::open(name, providers).map(Arc::new).map(EmbeddingSource::Remote)
        };
        let (source, query_source) = match name.strip_prefix("local:") {
            Some(dir) => (EmbeddingSource::Local(LocalEmbedder::open(dir)?), None),
            None => {
                let query = prefixes::query_model(name).map(|name| remote(&name)).transpose()?;
                (remote(name)?, query)
            }
        };
        let prefixes = Arc::new(prefixes::of_model(name, prefixes));
        Ok(Self { name: name.into(), source, query_source, prefixes })
    }

    /// The name it was opened with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of the vectors of its texts: the model's, with the prefix where there is one. Vectors
    /// with different names cannot be compared. When the name changes, all texts are embedded
    /// again.
    #[must_use]
    pub fn vectors_name(&self) -> String {
        match self.prefixes.1.as_str() {
            "" => self.name.to_string(),
            prefix => format!("{} with {prefix:?}", self.name),
        }
    }

    /// Turns a query into a vector of length 1.
    ///
    /// # Errors
    /// Fails with the model's error after the last retry.
    pub async fn embed_query(&self, query: &str) -> Result<Vec<f32>, ModelError> {
        let source = self.query_source.as_ref().unwrap_or(&self.source);
        let texts = vec![prefixed(&self.prefixes.0, query)];
        let found = self.embed_with(source, EmbeddedSide::Query, texts).await?;
        // As many as texts: that was checked.
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// Turns texts into vectors of length 1, one for each text in the same order. If a local model
    /// knows no word of a text, the vector is all zeros.
    ///
    /// # Errors
    /// Fails with the model's error after the last retry.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, ModelError> {
        let texts = texts.iter().map(|text| prefixed(&self.prefixes.1, text)).collect();
        self.embed_with(&self.source, EmbeddedSide::Document, texts).await
    }

    async fn embed_with(
        &self,
        source: &EmbeddingSource,
        side: EmbeddedSide,
        texts: Vec<String>,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(BATCH) {
            let found = match source {
                EmbeddingSource::Remote(remote) => remote.embed(batch, side).await?,
                EmbeddingSource::Local(local) => local.embed(batch).await?,
            };
            self.check(&found, batch.len(), vectors.first())?;
            vectors.extend(found.into_iter().map(unit));
        }
        Ok(vectors)
    }

    /// Checks that there is one usable vector for each text.
    fn check(
        &self,
        found: &[Vec<f32>],
        wanted: usize,
        before: Option<&Vec<f32>>,
    ) -> Result<(), ModelError> {
        let name = &self.name;
        if found.len() != wanted {
            let found = found.len();
            return Err(ModelError::Failed(format!(
                "The embedding model `{name}` made {found} vectors of {wanted} texts."
            )));
        }
        let length = before.or_else(|| found.first()).map_or(0, Vec::len);
        if found.iter().any(|vector| {
            vector.len() != length
                || vector.is_empty()
                || vector.iter().any(|number| !number.is_finite())
        }) {
            return Err(ModelError::Failed(format!(
                "The embedding model `{name}` made vectors that cannot be used."
            )));
        }
        Ok(())
    }
}

impl fmt::Debug for Embedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedder").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The side of a search that a text is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EmbeddedSide {
    Query,
    Document,
}

fn prefixed(prefix: &str, text: &str) -> String {
    prefix.chars().chain(text.chars().take(MOST_CHARS)).collect()
}

/// Scales a vector to length 1.
fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    // Squares of large numbers would overflow `f32`.
    let length = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        for number in &mut vector {
            *number = (f64::from(*number) / length) as f32;
        }
    }
    vector
}
