//! Models of providers, over their own wires, through the library genai.

mod explain;
mod reading;
mod request;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryFutureExt};
use genai::Client;
use genai::chat::ChatOptions;

use super::{Model, ModelError, Piece, Timeouts};
use crate::prompt::Prompt;
pub(crate) use explain::explain;
use reading::Reading;
pub(crate) use wire::{Provider, Wire};

/// The HTTP client that all models share.
pub(crate) fn client(connect: Duration) -> Result<Client, ModelError> {
    // The process may have chosen a provider already; then that one is used.
    rustls::crypto::ring::default_provider().install_default().ok();
    let http = reqwest::Client::builder()
        .connect_timeout(connect)
        .build()
        .map_err(|error| ModelError::Failed(format!("no HTTP client can be made: {error}")))?;
    Client::builder().with_reqwest(http).build().map_err(|error| ModelError::Failed(format!("no model client can be made: {error}")))
}

/// A provider's model.
pub(crate) struct Remote {
    client: Client,
    wire: Wire,
    name: String,
    timeouts: Timeouts,
}

impl Remote {
    pub(crate) fn new(client: Client, wire: Wire, name: String, timeouts: Timeouts) -> Self {
        Self { client, wire, name, timeouts }
    }
}

impl Model for Remote {
    fn reply(&self, prompt: Arc<Prompt>) -> BoxStream<'static, Result<Piece, ModelError>> {
        let (client, wire, style, timeouts) = (self.client.clone(), self.wire.clone(), prompt.style, self.timeouts);
        let target = wire.target(&self.name);
        let pieces = async move {
            // With tool calls captured, their ids and indexes are right; without, ids collide. With
            // the rest captured, what a provider wants to see again is there at the end.
            let mut options = ChatOptions::default()
                .with_capture_usage(true)
                .with_capture_tool_calls(true)
                .with_capture_content(true)
                .with_capture_reasoning_content(wire.provider != Provider::OpenAi);
            options.max_tokens = prompt.max_output_tokens;
            match client.exec_chat_stream(target, request::write(&prompt), Some(&options)).await {
                Ok(response) => Ok(Reading::new(response.stream, wire, style).pieces()),
                Err(error) => Err(explain(&error, &wire)),
            }
        };
        timely(pieces.try_flatten_stream().boxed(), timeouts)
    }
}

/// Ends a stream that keeps people waiting. Dropping it drops the request.
fn timely(pieces: BoxStream<'static, Result<Piece, ModelError>>, timeouts: Timeouts) -> BoxStream<'static, Result<Piece, ModelError>> {
    stream::unfold((Some(pieces), timeouts.first), move |(pieces, within)| async move {
        let mut pieces = pieces?;
        match tokio::time::timeout(within, pieces.next()).await {
            Ok(piece) => piece.map(|piece| (piece, (Some(pieces), timeouts.silence))),
            Err(_) => {
                let seconds = within.as_secs_f64();
                let error = if within == timeouts.first {
                    ModelError::Late(format!("The model said nothing for {seconds} s. Ask again, or ask another."))
                } else {
                    ModelError::Cut(format!(
                        "The model fell silent in the middle for {seconds} s. What came of the reply is kept; ask again."
                    ))
                };
                Some((Err(error), (None, within)))
            }
        }
    })
    .boxed()
}
