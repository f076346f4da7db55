//! Static embedding models on this machine: a vector for each word, and their mean for a text.

use std::path::Path;

use model2vec_rs::model::StaticModel;

use crate::model::ModelError;

/// A model2vec model; clones share it.
#[derive(Clone)]
pub(super) struct LocalEmbedder(StaticModel);

impl LocalEmbedder {
    /// Reads a model's files.
    pub(super) fn open(dir: &str) -> Result<Self, ModelError> {
        let path = Path::new(dir);
        let shown = path.display();
        if !path.is_dir() {
            return Err(ModelError::Unknown(format!(
                "there is no directory `{shown}` for the embedding model `local:DIR`"
            )));
        }
        StaticModel::from_pretrained(path, None, None, None).map(Self).map_err(|error| {
            ModelError::Unknown(format!(
                "the directory `{shown}` has no static embedding model that can be used \
                 ({error:#}); \
                 it needs a model2vec model's tokenizer.json, model.safetensors and config.json"
            ))
        })
    }

    pub(super) async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError> {
        let (model, texts) = (self.0.clone(), texts.to_vec());
        // Encoding takes milliseconds, and a broken model may panic in it.
        tokio::task::spawn_blocking(move || model.encode(&texts)).await.map_err(|_| {
            ModelError::Failed(
                "The local embedding model crashed on a text. Check that its files are complete."
                    .to_owned(),
            )
        })
    }
}
