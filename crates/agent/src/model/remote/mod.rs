//! Models of providers: `openai/NAME`, `openai-responses/NAME`, `anthropic/NAME`, `gemini/NAME` and
//! `ollama/NAME`.
//!
//! `request` encodes a request, `transport` sends it, and `reading` decodes the reply; each wire
//! has a module for both directions. A suffix of the name such as `-low` or `-high` selects the
//! reasoning effort; Anthropic's models think only with such a suffix.

mod address;
mod explain;
mod provider_error;
mod provider_state;
pub(crate) mod reading;
mod request;
mod transport;
mod wire;

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::Instant;

use super::{LanguageModel, ModelError, ModelWait, ReplyPiece, Timeouts};
use crate::prompt::Prompt;
use reading::{ReplyAssembly, ReplyStream};

pub(crate) use address::Address;
pub(crate) use explain::{ReplyProgress, connection_broke, too_much, unreadable};
pub(crate) use provider_error::ProviderError;
pub use provider_state::{ProviderCall, ProviderReasoning, ProviderState, ProviderThought};
pub(crate) use request::ProviderMemory;
pub(crate) use transport::ModelHttp;
pub(crate) use wire::ProviderWire;

/// A provider's model.
pub(crate) struct RemoteModel {
    http: ModelHttp,
    address: Address,
    name: String,
    timeouts: Timeouts,
    memory: ProviderMemory,
}

impl RemoteModel {
    pub(crate) fn new(
        http: ModelHttp,
        address: Address,
        name: String,
        timeouts: Timeouts,
        memory: ProviderMemory,
    ) -> Self {
        Self { http, address, name, timeouts, memory }
    }
}

impl LanguageModel for RemoteModel {
    fn reply(&self, prompt: Arc<Prompt>) -> BoxStream<'static, Result<ReplyPiece, ModelError>> {
        let maker = self.address.maker(&self.name);
        let encoded = request::encode(&prompt, self.address.wire, &self.name, &maker, &self.memory);
        let memory = self.memory.clone();
        let (http, address, timeouts) = (self.http.clone(), self.address.clone(), self.timeouts);
        let tools = prompt.tools.iter().map(|tool| encoded.sent_name(&tool.name).to_owned());
        let reply = ReplyAssembly::new(prompt.style, tools.collect(), maker);
        // The request is sent when the stream is first polled.
        let asking = async move {
            let asked = Instant::now();
            let sent = http.post(&address, &encoded.path, &encoded.headers, &encoded.body);
            let body = match tokio::time::timeout(timeouts.first, sent).await {
                Ok(body) => body?,
                Err(_) => return Err(silent(&address, timeouts)),
            };
            let reading = ReplyStream::new(body, address, reply, timeouts, asked);
            let state = (reading, encoded, memory);
            Ok(stream::unfold(state, |(mut reading, encoded, memory)| async move {
                let piece = reading.next().await?;
                if let Ok(ReplyPiece::ProviderState(kept)) = &piece {
                    memory.learn(kept);
                }
                let piece = piece.map(|mut piece| {
                    if let ReplyPiece::Call { name, .. } = &mut piece {
                        *name = encoded.tool_name(name).to_owned();
                    }
                    piece
                });
                Some((piece, (reading, encoded, memory)))
            }))
        };
        stream::once(asking)
            .flat_map(|asked| match asked {
                Ok(pieces) => pieces.boxed(),
                Err(error) => stream::once(async { Err(error) }).boxed(),
            })
            .boxed()
    }
}

/// The error of a request without any output in time.
fn silent(address: &Address, timeouts: Timeouts) -> ModelError {
    let (at, seconds) = (address.shown(), timeouts.first.as_secs_f64());
    ModelError::TimedOut {
        reason: format!("The model at {at} sent nothing for {seconds} s. Ask again later."),
        awaited: ModelWait::First,
    }
}
