//! Models of providers: `openai/NAME`, `openai-responses/NAME`, `anthropic/NAME`, `gemini/NAME` and
//! `ollama/NAME`.
//!
//! `request` encodes a request, `transport` sends it, and `reading` decodes the reply; each wire
//! has a module for both directions. A suffix of the name such as `-low` or `-high` selects the
//! reasoning effort; Anthropic's models think only with such a suffix.

mod address;
mod explain;
mod kept;
pub(crate) mod reading;
mod request;
mod said;
mod transport;
mod wire;

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::Instant;

use super::{Awaited, Model, ModelError, Piece, Timeouts};
use crate::prompt::Prompt;
use reading::{Assembly, Reading};

pub(crate) use address::Address;
pub(crate) use explain::{Progress, broken_off, too_much, unreadable};
pub use kept::{Kept, KeptCall, KeptReasoning, KeptThought};
pub(crate) use request::ProviderMemory;
pub(crate) use said::Said;
pub(crate) use transport::Http;
pub(crate) use wire::Wire;

/// A provider's model.
pub(crate) struct Remote {
    http: Http,
    address: Address,
    name: String,
    timeouts: Timeouts,
    memory: ProviderMemory,
}

impl Remote {
    pub(crate) fn new(
        http: Http,
        address: Address,
        name: String,
        timeouts: Timeouts,
        memory: ProviderMemory,
    ) -> Self {
        Self { http, address, name, timeouts, memory }
    }
}

impl Model for Remote {
    fn reply(&self, prompt: Arc<Prompt>) -> BoxStream<'static, Result<Piece, ModelError>> {
        let maker = self.address.maker(&self.name);
        let encoded = request::encode(&prompt, self.address.wire, &self.name, &maker, &self.memory);
        let memory = self.memory.clone();
        let (http, address, timeouts) = (self.http.clone(), self.address.clone(), self.timeouts);
        let tools = prompt.tools.iter().map(|tool| encoded.sent_name(&tool.name).to_owned());
        let reply = Assembly::new(prompt.style, tools.collect(), maker);
        // The request is sent when the stream is first polled.
        let asking = async move {
            let asked = Instant::now();
            let sent = http.post(&address, &encoded.path, &encoded.headers, &encoded.body);
            let body = match tokio::time::timeout(timeouts.first, sent).await {
                Ok(body) => body?,
                Err(_) => return Err(silent(&address, timeouts)),
            };
            let reading = Reading::new(body, address, reply, timeouts, asked);
            let state = (reading, encoded, memory);
            Ok(stream::unfold(state, |(mut reading, encoded, memory)| async move {
                let piece = reading.next().await?;
                if let Ok(Piece::Kept(kept)) = &piece {
                    memory.learn(kept);
                }
                let piece = piece.map(|mut piece| {
                    if let Piece::Call { name, .. } = &mut piece {
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
        awaited: Awaited::First,
    }
}
