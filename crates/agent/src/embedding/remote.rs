//! Providers' embedding models.

use serde::Deserialize;
use serde_json::{Value, json};

use super::EmbeddedSide;

use crate::model::remote::{Address, ModelHttp, ProviderError, ProviderWire, unreadable};
use crate::model::{ModelError, ModelWait, Providers, Timeouts};

/// Number of retries of a provider that is busy or unreachable.
const RETRIES: u32 = 3;
/// Largest answer in bytes: 64 vectors of some thousand numbers each.
const ANSWER_BYTES: usize = 64 << 20;

pub(super) struct RemoteEmbedder {
    http: ModelHttp,
    address: Address,
    model: String,
    timeouts: Timeouts,
}

impl RemoteEmbedder {
    pub(super) fn open(name: &str, providers: &Providers) -> Result<Self, ModelError> {
        let unknown = |why: &str| {
            ModelError::Unknown(format!(
                "there is no embedding model `{}`{why}; known are `openai/NAME`, `gemini/NAME`, \
                 `ollama/NAME` and `local:DIR`",
                name.escape_debug()
            ))
        };
        let (wire, model) = ProviderWire::of(name).ok_or_else(|| unknown(""))?;
        match wire {
            ProviderWire::OpenAi | ProviderWire::Gemini | ProviderWire::Ollama => {}
            ProviderWire::Responses | ProviderWire::Anthropic => {
                return Err(unknown(": this provider has none"));
            }
        }
        let model = model.map_err(|_| unknown(": it lacks its name"))?.to_owned();
        let timeouts = Timeouts::default();
        Ok(Self {
            address: Address::new(wire, providers)?,
            http: ModelHttp::new(timeouts)?,
            model,
            timeouts,
        })
    }

    pub(super) async fn embed(
        &self,
        texts: &[String],
        side: EmbeddedSide,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut attempt = 0;
        loop {
            let error = match self.ask(texts, side).await {
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

    async fn ask(&self, texts: &[String], side: EmbeddedSide) -> Result<Vec<Vec<f32>>, ModelError> {
        // Providers refuse a text without words.
        let texts = texts.iter().map(|text| if text.trim().is_empty() { " " } else { text });
        let (path, body) = request(self.address.wire(), &self.model, side, texts);
        let asking = async {
            let body = self.http.post(&self.address, &path, &[], &body).await?;
            body.whole(ANSWER_BYTES, &self.address).await
        };
        let Ok(answer) = tokio::time::timeout(self.timeouts.first, asking).await else {
            let (at, seconds) = (self.address.shown(), self.timeouts.first.as_secs_f64());
            let reason = format!(
                "The embedding model at {at} did not answer for {seconds} s. Ask again later."
            );
            return Err(ModelError::TimedOut { reason, awaited: ModelWait::First });
        };
        let answer = answer?;
        vectors(self.address.wire(), &answer).ok_or_else(|| {
            let cause = serde_json::from_slice::<Value>(&answer).ok();
            let cause = cause.filter(|value| value.get("error").is_some());
            unreadable(cause.as_ref().map(ProviderError::in_value).as_ref(), &self.address)
        })
    }
}

/// The path and the body of a request.
fn request<'a>(
    wire: ProviderWire,
    model: &str,
    side: EmbeddedSide,
    texts: impl Iterator<Item = &'a str>,
) -> (String, Value) {
    match wire {
        ProviderWire::Gemini => {
            let full = format!("models/{model}");
            let task = match side {
                EmbeddedSide::Query => "RETRIEVAL_QUERY",
                EmbeddedSide::Document => "RETRIEVAL_DOCUMENT",
            };
            let one = |text| {
                let content = json!({"parts": [{"text": text}]});
                json!({"model": full, "content": content, "taskType": task})
            };
            let requests: Vec<Value> = texts.map(one).collect();
            (format!("{full}:batchEmbedContents"), json!({"requests": requests}))
        }
        ProviderWire::Ollama => {
            ("api/embed".to_owned(), json!({"model": model, "input": texts.collect::<Vec<_>>()}))
        }
        ProviderWire::OpenAi | ProviderWire::Responses | ProviderWire::Anthropic => {
            ("embeddings".to_owned(), json!({"input": texts.collect::<Vec<_>>(), "model": model}))
        }
    }
}

/// The vectors of an answer, in the order of their texts. Absent if it is not an answer.
fn vectors(wire: ProviderWire, answer: &[u8]) -> Option<Vec<Vec<f32>>> {
    #[derive(Deserialize)]
    struct OpenAiVectors {
        data: Vec<IndexedVector>,
    }
    #[derive(Deserialize)]
    struct IndexedVector {
        #[serde(default)]
        index: u64,
        embedding: Vec<f32>,
    }
    #[derive(Deserialize)]
    struct GeminiVectors {
        embeddings: Vec<GeminiVector>,
    }
    #[derive(Deserialize)]
    struct GeminiVector {
        values: Vec<f32>,
    }
    #[derive(Deserialize)]
    struct OllamaVectors {
        embeddings: Vec<Vec<f32>>,
    }
    match wire {
        ProviderWire::Gemini => {
            let answer: GeminiVectors = serde_json::from_slice(answer).ok()?;
            Some(answer.embeddings.into_iter().map(|vector| vector.values).collect())
        }
        ProviderWire::Ollama => {
            Some(serde_json::from_slice::<OllamaVectors>(answer).ok()?.embeddings)
        }
        ProviderWire::OpenAi | ProviderWire::Responses | ProviderWire::Anthropic => {
            let mut data = serde_json::from_slice::<OpenAiVectors>(answer).ok()?.data;
            data.sort_by_key(|vector| vector.index);
            Some(data.into_iter().map(|vector| vector.embedding).collect())
        }
    }
}
