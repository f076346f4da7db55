//! Models of providers, through the library genai: `openai/NAME`, `openai-responses/NAME`,
//! `anthropic/NAME`, `gemini/NAME` and `ollama/NAME`.
//!
//! An ending of a name such as `-low` or `-high` is read by the library as the effort of reasoning;
//! Anthropic's models think only with one.

mod address;
mod explain;
mod genai_request;
mod kept;
mod reading;
#[allow(dead_code, reason = "the library still writes the requests")]
pub(crate) mod request;
mod wire;

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryFutureExt};
use genai::Client;

use super::{Model, ModelError, Piece, Timeouts};
use crate::prompt::Prompt;
use reading::Reading;

pub(crate) use address::Address;
pub(crate) use explain::{Progress, explain};
pub use kept::{Kept, KeptCall, KeptReasoning, KeptThought};
pub(crate) use wire::Wire;

/// The HTTP client that all models share.
pub(crate) fn client(timeouts: Timeouts) -> Result<Client, ModelError> {
    // The process may have chosen a provider already; then that one is used.
    rustls::crypto::ring::default_provider().install_default().ok();
    // Only the HTTP client can tell connecting from waiting; all other time-outs are around the stream.
    let http = reqwest::Client::builder()
        .connect_timeout(timeouts.connect)
        .build()
        .map_err(|error| ModelError::Failed(format!("no HTTP client can be made: {error}")))?;
    Client::builder()
        .with_reqwest(http)
        .build()
        .map_err(|error| ModelError::Failed(format!("no model client can be made: {error}")))
}

/// A provider's model.
pub(crate) struct Remote {
    client: Client,
    address: Address,
    name: String,
    timeouts: Timeouts,
}

impl Remote {
    pub(crate) fn new(client: Client, address: Address, name: String, timeouts: Timeouts) -> Self {
        Self { client, address, name, timeouts }
    }
}

impl Model for Remote {
    fn reply(&self, prompt: Arc<Prompt>) -> BoxStream<'static, Result<Piece, ModelError>> {
        let (client, address, timeouts) =
            (self.client.clone(), self.address.clone(), self.timeouts);
        let target = address.target(&self.name);
        let options = genai_request::options(&prompt, address.wire, &self.name);
        async move {
            // The request itself goes out when the stream is first read.
            match client
                .exec_chat_stream(
                    target,
                    genai_request::request(&prompt, address.wire),
                    Some(&options),
                )
                .await
            {
                Ok(response) => {
                    Ok(Reading::new(response.stream, address, prompt.style, timeouts).pieces())
                }
                Err(error) => Err(explain(&error, &address, Progress::Nothing)),
            }
        }
        .try_flatten_stream()
        .boxed()
    }
}
