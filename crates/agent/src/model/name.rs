//! Parsing of model names.

use super::load::LoadModel;
use super::remote::{Address, ProviderWire};
use super::{ModelError, Providers};

/// Checks whether a model can be used: its name is known, its parameters are valid, and its
/// provider's settings are present. Does not use the network.
///
/// ```
/// use thoughtwire_agent::{Providers, check_model};
/// assert!(check_model("offline", &Providers::default()).is_ok());
/// assert!(check_model("ollama/llama3.2", &Providers::default()).is_ok());
/// let error = check_model("openai/gpt-5-mini", &Providers::default()).unwrap_err();
/// assert!(error.to_string().contains("OPENAI_API_KEY"));
/// ```
///
/// # Errors
/// Says what is wrong and what to do.
pub fn check_model(name: &str, providers: &Providers) -> Result<(), ModelError> {
    ModelName::parse(name, providers).map(drop)
}

pub(super) enum ModelName {
    Offline,
    Load(LoadModel),
    Remote { model: String, address: Address },
}

impl ModelName {
    pub(super) fn parse(name: &str, providers: &Providers) -> Result<Self, ModelError> {
        if name == "offline" {
            return Ok(Self::Offline);
        }
        if let Some(parameters) =
            name.strip_prefix("load:").or_else(|| (name == "load").then_some(""))
        {
            return LoadModel::parse(parameters).map(Self::Load);
        }
        if let Some((wire, model)) = ProviderWire::of(name) {
            return Ok(Self::Remote {
                model: model?.to_owned(),
                address: Address::new(wire, providers)?,
            });
        }
        let remote: Vec<String> =
            ProviderWire::ALL.iter().map(|wire| format!("`{}/NAME`", wire.prefix())).collect();
        Err(ModelError::Unknown(format!(
            "there is no model `{}`; known are `offline`, {} and \
             `load:items=N,bytes=B,rate=R,deltas=yes|no`",
            name.escape_debug(),
            remote.join(", ")
        )))
    }
}
