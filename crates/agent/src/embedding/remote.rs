//! Providers' embedding models, through the library genai.

use genai::Client;
use genai::embed::EmbedRequest;

use crate::model::remote::{Address, Progress, Wire, client, explain};
use crate::model::{Awaited, ModelError, Providers, Timeouts};

/// How often a provider that is busy or out of reach is asked again.
const RETRIES: u32 = 3;

pub(super) struct Remote {
    client: Client,
    address: Address,
    model: String,
    timeouts: Timeouts,
}

impl Remote {
    pub(super) fn open(name: &str, providers: &Providers) -> Result<Self, ModelError> {
        let unknown = |why: &str| {
            ModelError::Unknown(format!(
                "there is no embedding model `{}`{why}; known are `openai/NAME`, `gemini/NAME`, `ollama/NAME` and `local:DIR`",
                name.escape_debug()
            ))
        };
        let (wire, model) = Wire::of(name).ok_or_else(|| unknown(""))?;
        match wire {
            Wire::OpenAi | Wire::Gemini | Wire::Ollama => {}
            Wire::Responses | Wire::Anthropic => return Err(unknown(": this provider has none")),
        }
        let model = model.map_err(|_| unknown(": it lacks its name"))?.to_owned();
        let timeouts = Timeouts::default();
        Ok(Self {
            address: Address::new(wire, providers)?,
            client: client(timeouts)?,
            model,
            timeouts,
        })
    }

    pub(super) async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut attempt = 0;
        loop {
            let error = match self.ask(texts).await {
                Ok(vectors) => return Ok(vectors),
                Err(error) => error,
            };
            let Some(wait) = error.retry_in(attempt).filter(|_| attempt < RETRIES) else {
                return Err(error);
            };
            attempt += 1;
            tracing::debug!(code = error.code(), attempt, "asking the embedding model again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn ask(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError> {
        // Providers refuse a text without words.
        let texts = texts
            .iter()
            .map(|text| if text.trim().is_empty() { " ".to_owned() } else { text.clone() });
        let request = EmbedRequest::new_batch(texts.collect());
        let answer = self.client.exec_embed(self.address.target(&self.model), request, None);
        let Ok(answer) = tokio::time::timeout(self.timeouts.first, answer).await else {
            let (at, seconds) = (self.address.shown(), self.timeouts.first.as_secs_f64());
            let reason = format!(
                "The embedding model at {at} did not answer for {seconds} s. Ask again later."
            );
            return Err(ModelError::TimedOut { reason, awaited: Awaited::First });
        };
        let mut embeddings =
            answer.map_err(|error| explain(&error, &self.address, Progress::Nothing))?.embeddings;
        embeddings.sort_by_key(|embedding| embedding.index);
        Ok(embeddings.into_iter().map(|embedding| embedding.vector).collect())
    }
}
