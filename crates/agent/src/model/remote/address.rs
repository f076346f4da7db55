//! Where a provider is and how to be let in.

use std::sync::Arc;

use genai::resolver::{AuthData, Endpoint};
use genai::{ModelIden, ServiceTarget};
use reqwest::Url;

use super::Wire;
use crate::model::{ModelError, Providers};

/// How much of a provider's own words goes into an error.
const LONGEST_QUOTE: usize = 300;

/// Where a provider is, what it speaks, and how to be let in.
#[derive(Clone)]
pub(crate) struct Address {
    pub(super) wire: Wire,
    url: Arc<Url>,
    key: Option<Arc<str>>,
}

impl Address {
    pub(crate) fn new(wire: Wire, providers: &Providers) -> Result<Self, ModelError> {
        let endpoint = wire.endpoint(providers);
        let given = |value: &Option<String>| {
            value.as_deref().map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let (key, url) = (given(&endpoint.api_key), given(&endpoint.base_url));
        if let Some(variable) = wire.key_variable()
            && key.is_none()
            && url.is_none()
        {
            let (prefix, url) = (wire.prefix(), wire.url_variable());
            return Err(ModelError::Unset(format!(
                "the model `{prefix}/…` needs the variable {variable}, or {url} for an endpoint that takes no key"
            )));
        }
        let url =
            complete(wire, url.as_deref().unwrap_or(wire.default_url())).ok_or_else(|| {
                let (variable, example) = (wire.url_variable(), example(wire));
                ModelError::Unset(format!(
                    "{variable} is no http or https address; it should look like {example}"
                ))
            })?;
        Ok(Self { wire, url: Arc::new(url), key: key.map(Into::into) })
    }

    /// What the library asks, for a model of this provider.
    pub(crate) fn target(&self, model: &str) -> ServiceTarget {
        ServiceTarget {
            endpoint: Endpoint::from_owned(self.url.as_str()),
            // An endpoint that takes no key takes any.
            auth: AuthData::from_single(self.key.as_deref().unwrap_or("none")),
            model: ModelIden::new(self.wire.adapter(), model.to_owned()),
        }
    }

    /// The endpoint for people: without credentials or a query that may be in its address.
    pub(crate) fn shown(&self) -> String {
        let port = self.url.port().map_or(String::new(), |port| format!(":{port}"));
        format!("{}://{}{port}", self.url.scheme(), self.url.host_str().unwrap_or("?"))
    }

    /// What a provider said, short and without the key.
    pub(super) fn quoted(&self, words: &str) -> String {
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = crate::masking::masked(words, self.key.as_deref());
        match words.char_indices().nth(LONGEST_QUOTE) {
            Some((at, _)) => format!("{}…", words.get(..at).unwrap_or_default()),
            None => words,
        }
    }
}

/// Completes an address to what the library appends its paths to; none when it is none.
fn complete(wire: Wire, given: &str) -> Option<Url> {
    let mut url = Url::parse(&with_scheme(wire, given)).ok()?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return None;
    }
    let mut path = url.path().trim_end_matches('/').to_owned();
    let last = path.rsplit('/').next().unwrap_or_default();
    // The providers' own libraries take these without the version, and append it.
    match wire {
        Wire::Anthropic if last != "v1" => path.push_str("/v1"),
        Wire::Gemini if !last.starts_with("v1") => path.push_str("/v1beta"),
        Wire::OpenAi | Wire::Responses | Wire::Anthropic | Wire::Gemini | Wire::Ollama => {}
    }
    // Without it, the last segment would be replaced by what is asked for.
    path.push('/');
    url.set_path(&path);
    Some(url)
}

/// `OLLAMA_HOST` may lack the scheme, the port and the host: `127.0.0.1`, `box:11434`, `:8000`.
fn with_scheme(wire: Wire, given: &str) -> String {
    match wire {
        Wire::Ollama if !given.contains("://") => {
            let (host, path) = given.split_once('/').unwrap_or((given, ""));
            let host =
                if host.starts_with(':') { format!("127.0.0.1{host}") } else { host.to_owned() };
            let has_port =
                host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            let port = if has_port { "" } else { ":11434" };
            format!("http://{host}{port}/{path}")
        }
        Wire::OpenAi | Wire::Responses | Wire::Anthropic | Wire::Gemini | Wire::Ollama => {
            given.to_owned()
        }
    }
}

const fn example(wire: Wire) -> &'static str {
    match wire {
        Wire::OpenAi | Wire::Responses => "http://127.0.0.1:8000/v1",
        Wire::Anthropic | Wire::Gemini => "http://127.0.0.1:8000",
        Wire::Ollama => "http://127.0.0.1:11434",
    }
}
