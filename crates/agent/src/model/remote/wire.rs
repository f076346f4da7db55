//! Providers: where they are, and how to be let in.

use std::sync::Arc;

use genai::adapter::AdapterKind;
use genai::resolver::{AuthData, Endpoint as BaseUrl};
use genai::{ModelIden, ServiceTarget};

use crate::model::{Endpoint, ModelError, Providers};

/// How much of a provider's own words goes into an error.
const LONGEST_QUOTE: usize = 300;

/// Whose wire is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provider {
    /// Chat completions, as `OpenAI` and many others have them.
    OpenAi,
    /// `OpenAI`'s Responses.
    OpenAiResponses,
    /// Anthropic's messages.
    Anthropic,
    /// Google's Gemini.
    Gemini,
    /// Ollama's own.
    Ollama,
}

impl Provider {
    const ALL: [Self; 5] = [Self::OpenAi, Self::OpenAiResponses, Self::Anthropic, Self::Gemini, Self::Ollama];

    /// The provider that a model's name begins with, and the rest of the name.
    pub(crate) fn of(name: &str) -> Option<(Self, &str)> {
        let (prefix, model) = name.split_once('/')?;
        Self::ALL.into_iter().find(|provider| provider.prefix() == prefix).map(|provider| (provider, model))
    }

    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::OpenAiResponses => "openai-responses",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
        }
    }

    pub(crate) const fn adapter(self) -> AdapterKind {
        match self {
            Self::OpenAi => AdapterKind::OpenAI,
            Self::OpenAiResponses => AdapterKind::OpenAIResp,
            Self::Anthropic => AdapterKind::Anthropic,
            Self::Gemini => AdapterKind::Gemini,
            Self::Ollama => AdapterKind::Ollama,
        }
    }

    /// The variables that hold its key and its address.
    pub(crate) const fn variables(self) -> (&'static str, &'static str) {
        match self {
            Self::OpenAi | Self::OpenAiResponses => ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
            Self::Anthropic => ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
            Self::Gemini => ("GEMINI_API_KEY", "GEMINI_BASE_URL"),
            Self::Ollama => ("OLLAMA_API_KEY", "OLLAMA_HOST"),
        }
    }

    const fn usual_url(self) -> &'static str {
        match self {
            Self::OpenAi | Self::OpenAiResponses => "https://api.openai.com/v1/",
            Self::Anthropic => "https://api.anthropic.com/v1/",
            Self::Gemini => "https://generativelanguage.googleapis.com/v1beta/",
            Self::Ollama => "http://127.0.0.1:11434/",
        }
    }

    /// The version that its address ends in; people's addresses often lack it, as those of the providers' own libraries do.
    const fn version(self) -> &'static str {
        match self {
            // Compatible endpoints have their own paths, so the address is taken as it is.
            Self::OpenAi | Self::OpenAiResponses | Self::Ollama => "",
            Self::Anthropic => "v1/",
            Self::Gemini => "v1beta/",
        }
    }

    fn endpoint(self, providers: &Providers) -> &Endpoint {
        match self {
            Self::OpenAi | Self::OpenAiResponses => &providers.openai,
            Self::Anthropic => &providers.anthropic,
            Self::Gemini => &providers.gemini,
            Self::Ollama => &providers.ollama,
        }
    }
}

/// Where a provider is and how to be let in.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) provider: Provider,
    url: Arc<str>,
    key: Option<Arc<str>>,
}

impl Wire {
    pub(crate) fn new(provider: Provider, providers: &Providers) -> Result<Self, ModelError> {
        let given = |value: &Option<String>| value.as_deref().map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned);
        let Endpoint { api_key, base_url } = provider.endpoint(providers);
        let (key, url) = (given(api_key), given(base_url));
        let (key_variable, url_variable) = provider.variables();
        if key.is_none() && url.is_none() && provider != Provider::Ollama {
            return Err(ModelError::Unset(format!(
                "the model `{}/…` needs the variable {key_variable}, or {url_variable} for an endpoint that takes no key",
                provider.prefix()
            )));
        }
        let mut url = url.unwrap_or_else(|| provider.usual_url().to_owned());
        // As Ollama's own tools take it.
        if provider == Provider::Ollama && !url.contains("://") {
            url = format!("http://{url}");
        }
        // Without it, the last segment would be replaced by what is asked for.
        if !url.ends_with('/') {
            url.push('/');
        }
        match reqwest::Url::parse(&url) {
            Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {
                let ends_in_version = parsed.path_segments().and_then(|mut segments| segments.rfind(|segment| !segment.is_empty()));
                if ends_in_version.is_none_or(|last| !last.starts_with('v')) {
                    url.push_str(provider.version());
                }
            }
            Ok(_) | Err(_) => {
                return Err(ModelError::Unset(format!(
                    "{url_variable} is no http or https address; it should look like {}",
                    provider.usual_url().trim_end_matches('/')
                )));
            }
        }
        Ok(Self { provider, url: url.into(), key: key.map(Into::into) })
    }

    pub(crate) fn target(&self, model: &str) -> ServiceTarget {
        ServiceTarget {
            endpoint: BaseUrl::from_owned(&*self.url),
            // An endpoint that takes no key takes any.
            auth: AuthData::from_single(self.key.as_deref().unwrap_or("none")),
            model: ModelIden::new(self.provider.adapter(), model.to_owned()),
        }
    }

    /// The endpoint for people: without credentials or a query that may be in its address.
    pub(super) fn shown(&self) -> String {
        reqwest::Url::parse(&self.url).map_or_else(
            |_| "the endpoint".to_owned(),
            |url| {
                let port = url.port().map_or(String::new(), |port| format!(":{port}"));
                format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or("?"))
            },
        )
    }

    /// What a provider said, short and without the key.
    pub(super) fn quoted(&self, words: &str) -> String {
        let mut words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(key) = &self.key {
            words = words.replace(&**key, "***");
        }
        match words.char_indices().nth(LONGEST_QUOTE) {
            Some((at, _)) => format!("{}…", words.get(..at).unwrap_or_default()),
            None => words,
        }
    }
}
