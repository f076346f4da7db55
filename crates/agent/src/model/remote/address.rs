//! Address and credentials of a provider's endpoint.

use std::sync::Arc;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::{ProviderState, ProviderWire};
use crate::model::{ModelError, Providers};

/// Longest quote of a provider's error text in an error, in characters.
const LONGEST_QUOTE: usize = 300;
/// Shortest key that is masked, in bytes. Shorter keys are placeholders such as `none`, which are
/// ordinary words.
const SHORTEST_SECRET: usize = 8;
/// Number of consecutive bytes of a key that reveal it.
const REVEALING_BYTES: usize = 6;

/// A provider's endpoint: its wire, URL and key.
#[derive(Clone)]
pub(crate) struct Address {
    pub(super) wire: ProviderWire,
    url: Arc<Url>,
    key: Option<Arc<str>>,
}

impl Address {
    pub(crate) fn new(wire: ProviderWire, providers: &Providers) -> Result<Self, ModelError> {
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
                "the model `{prefix}/…` needs the variable {variable}, \
                 or {url} for an endpoint that takes no key"
            )));
        }
        let url =
            complete(wire, url.as_deref().unwrap_or(wire.default_url())).ok_or_else(|| {
                let (variable, example) = (wire.url_variable(), example(wire));
                ModelError::Unset(format!(
                    "{variable} is not an http or https address; it should look like {example}"
                ))
            })?;
        Ok(Self { wire, url: Arc::new(url), key: key.map(Into::into) })
    }

    /// The URL of a path, with the query of the base address.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = (*self.url).clone();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        url.set_path(&format!("{}{path}", url.path()));
        let own = url.query().unwrap_or_default();
        let both = [own, query].into_iter().filter(|query| !query.is_empty());
        let query = both.collect::<Vec<_>>().join("&");
        url.set_query((!query.is_empty()).then_some(&query));
        url
    }

    /// The header that carries the key.
    pub(super) fn authorization(&self) -> Option<(HeaderName, HeaderValue)> {
        // An endpoint that needs no key accepts any.
        let key = self.key.as_deref().unwrap_or("none");
        let (name, value) = match self.wire {
            ProviderWire::OpenAi | ProviderWire::Responses => {
                (AUTHORIZATION, format!("Bearer {key}"))
            }
            ProviderWire::Anthropic => (HeaderName::from_static("x-api-key"), key.to_owned()),
            ProviderWire::Gemini => (HeaderName::from_static("x-goog-api-key"), key.to_owned()),
            ProviderWire::Ollama => return None,
        };
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }

    /// Identifies a model of this provider as the maker of replies.
    pub(super) fn maker(&self, model: &str) -> String {
        ProviderState::maker(self.wire.prefix(), model, &self.shown())
    }

    /// The provider's wire.
    pub(crate) const fn wire(&self) -> ProviderWire {
        self.wire
    }

    /// The endpoint for people, without credentials and query.
    pub(crate) fn shown(&self) -> String {
        let port = self.url.port().map_or(String::new(), |port| format!(":{port}"));
        format!("{}://{}{port}", self.url.scheme(), self.url.host_str().unwrap_or("?"))
    }

    /// Quotes a provider's text, shortened and without the key.
    pub(super) fn quoted(&self, words: &str) -> String {
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = crate::masking::masked(words, self.secret());
        match words.char_indices().nth(LONGEST_QUOTE) {
            Some((at, _)) => format!("{}…", words.get(..at).unwrap_or_default()),
            None => words,
        }
    }

    /// Replaces words that contain a part of the key.
    pub(super) fn without_keys(&self, words: &str) -> String {
        let Some(key) = self.secret() else { return words.to_owned() };
        let parts: Vec<&str> =
            (0..key.len()).filter_map(|at| key.get(at..at + REVEALING_BYTES)).collect();
        let has_part = |word: &&str| parts.iter().any(|part| word.contains(part));
        let hide = |word| if has_part(&word) || word.contains("***") { "***" } else { word };
        words.split(' ').map(hide).collect::<Vec<_>>().join(" ")
    }

    fn secret(&self) -> Option<&str> {
        self.key.as_deref().filter(|key| key.len() >= SHORTEST_SECRET)
    }
}

/// Completes a base address so that paths can be appended. Absent if it is not a valid address.
fn complete(wire: ProviderWire, given: &str) -> Option<Url> {
    let mut url = Url::parse(&with_scheme(wire, given)).ok()?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return None;
    }
    let mut path = url.path().trim_end_matches('/').to_owned();
    let last = path.rsplit('/').next().unwrap_or_default();
    // The providers' own libraries take these without the version, and append it.
    match wire {
        ProviderWire::Anthropic if last != "v1" => path.push_str("/v1"),
        ProviderWire::Gemini if !last.starts_with("v1") => path.push_str("/v1beta"),
        ProviderWire::OpenAi
        | ProviderWire::Responses
        | ProviderWire::Anthropic
        | ProviderWire::Gemini
        | ProviderWire::Ollama => {}
    }
    path.push('/');
    url.set_path(&path);
    Some(url)
}

/// `OLLAMA_HOST` may lack the scheme, the port and the host: `127.0.0.1`, `box:11434`, `:8000`.
fn with_scheme(wire: ProviderWire, given: &str) -> String {
    match wire {
        ProviderWire::Ollama if !given.contains("://") => {
            let (host, path) = given.split_once('/').unwrap_or((given, ""));
            let host =
                if host.starts_with(':') { format!("127.0.0.1{host}") } else { host.to_owned() };
            let has_port =
                host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            let port = if has_port { "" } else { ":11434" };
            format!("http://{host}{port}/{path}")
        }
        ProviderWire::OpenAi
        | ProviderWire::Responses
        | ProviderWire::Anthropic
        | ProviderWire::Gemini
        | ProviderWire::Ollama => given.to_owned(),
    }
}

const fn example(wire: ProviderWire) -> &'static str {
    match wire {
        ProviderWire::OpenAi | ProviderWire::Responses => "http://127.0.0.1:8000/v1",
        ProviderWire::Anthropic | ProviderWire::Gemini => "http://127.0.0.1:8000",
        ProviderWire::Ollama => "http://127.0.0.1:11434",
    }
}
