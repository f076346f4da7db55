//! A short test request to a model.

use std::sync::Arc;

use futures::StreamExt as _;
use thoughtwire_proto::Style;

use super::{ModelError, ModelResolver, Providers, ReplyPiece, Timeouts};
use crate::prompt::{Prompt, PromptEntry, Purpose};

/// Asks a model one short question and reads the answer to its end.
///
/// # Errors
/// Fails if the name is unknown, a setting is missing, or the model does not answer.
pub async fn try_model(
    name: &str,
    providers: &Providers,
    timeouts: Timeouts,
) -> Result<(), ModelError> {
    let model = ModelResolver::new(providers.clone(), timeouts).get(name)?;
    let prompt = Prompt {
        purpose: Purpose::Turn,
        style: Style::Native,
        system: "You are being tried out. Answer with one word.".to_owned(),
        blocks: std::sync::Arc::default(),
        chat: vec![Arc::new(PromptEntry::User("Are you there?".to_owned()))],
        turn_from: 0,
        tools: Vec::new(),
        // Enough for models that think before they answer.
        max_output_tokens: Some(256),
        context_window: None,
    };
    let mut reply = model.reply(Arc::new(prompt));
    while let Some(piece) = reply.next().await {
        if let ReplyPiece::End(done) = piece? {
            return match done.stopped {
                // It answered, with more text than it was allowed.
                None | Some(ModelError::Length(_)) => Ok(()),
                Some(error) => Err(error),
            };
        }
    }
    Err(ModelError::Cut("The answer was cut off. Try again, or try another model.".to_owned()))
}
