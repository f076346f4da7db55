//! `openai/NAME`: any OpenAI-compatible endpoint, through the library genai.

mod explain;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryFutureExt};
use genai::adapter::AdapterKind;
use genai::chat::{
    ChatMessage, ChatOptions, ChatRequest, ChatStream, ChatStreamEvent, MessageContent, StreamEnd, Tool, ToolCall, ToolResponse,
};
use genai::resolver::{AuthData, Endpoint};
use genai::{Client, ModelIden, ServiceTarget};
use serde_json::Value;
use thoughtwire_proto::{CallId, Style, ToolStatus, Usage};

use super::{Done, Model, ModelError, Piece, Providers};
use crate::prompt::{Chat, Prompt};
use crate::tools;
use explain::explain;

const DEFAULT_URL: &str = "https://api.openai.com/v1/";
/// Large models take their time before the first word, but not this long between two.
const SILENCE: Duration = Duration::from_secs(180);
const CONNECT: Duration = Duration::from_secs(10);
/// How much of a provider's own words goes into an error.
const LONGEST_QUOTE: usize = 300;

/// Where the endpoint is and how to be let in.
#[derive(Clone)]
pub(crate) struct Wire {
    url: Arc<str>,
    key: Option<Arc<str>>,
}

impl Wire {
    pub(crate) fn new(providers: &Providers) -> Result<Self, ModelError> {
        let given = |value: &Option<String>| value.as_deref().map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned);
        let (key, url) = (given(&providers.openai_api_key), given(&providers.openai_base_url));
        if key.is_none() && url.is_none() {
            return Err(ModelError::Unset(
                "the model `openai/…` needs the variable OPENAI_API_KEY, or OPENAI_BASE_URL for an endpoint that takes no key".to_owned(),
            ));
        }
        let mut url = url.unwrap_or_else(|| DEFAULT_URL.to_owned());
        // Without it, the last segment would be replaced by what is asked for.
        if !url.ends_with('/') {
            url.push('/');
        }
        match reqwest::Url::parse(&url) {
            Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {}
            Ok(_) | Err(_) => {
                return Err(ModelError::Unset(
                    "OPENAI_BASE_URL is no http or https address; it should look like http://127.0.0.1:8000/v1".to_owned(),
                ));
            }
        }
        Ok(Self { url: url.into(), key: key.map(Into::into) })
    }

    /// The endpoint for people: without credentials or a query that may be in its address.
    fn shown(&self) -> String {
        reqwest::Url::parse(&self.url).map_or_else(
            |_| "the endpoint".to_owned(),
            |url| {
                format!(
                    "{}://{}{}",
                    url.scheme(),
                    url.host_str().unwrap_or("?"),
                    url.port().map_or(String::new(), |port| format!(":{port}"))
                )
            },
        )
    }

    /// What a provider said, short and without the key.
    fn quoted(&self, words: &str) -> String {
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

/// The HTTP client that all models share.
pub(crate) fn client() -> Result<Client, ModelError> {
    // The process may have chosen a provider already; then that one is used.
    rustls::crypto::ring::default_provider().install_default().ok();
    let http = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .build()
        .map_err(|error| ModelError::Failed(format!("no HTTP client can be made: {error}")))?;
    Client::builder().with_reqwest(http).build().map_err(|error| ModelError::Failed(format!("no model client can be made: {error}")))
}

/// A model behind an OpenAI-compatible endpoint.
pub(crate) struct OpenAi {
    client: Client,
    wire: Wire,
    name: String,
}

impl OpenAi {
    pub(crate) fn new(client: Client, wire: Wire, name: String) -> Self {
        Self { client, wire, name }
    }
}

impl Model for OpenAi {
    fn reply(&self, prompt: Arc<Prompt>) -> BoxStream<'static, Result<Piece, ModelError>> {
        let (client, wire, style) = (self.client.clone(), self.wire.clone(), prompt.style);
        let target = ServiceTarget {
            endpoint: Endpoint::from_owned(&*wire.url),
            // An endpoint that takes no key takes any.
            auth: AuthData::from_single(wire.key.as_deref().unwrap_or("none")),
            model: ModelIden::new(AdapterKind::OpenAI, self.name.clone()),
        };
        async move {
            // With tool calls captured, their ids and indexes are right; without, ids collide.
            let options = ChatOptions::default().with_capture_usage(true).with_capture_tool_calls(true);
            match client.exec_chat_stream(target, request(&prompt), Some(&options)).await {
                Ok(response) => {
                    Ok(Reading { stream: response.stream, wire, style, calls: Vec::new(), ready: VecDeque::new(), over: false }.pieces())
                }
                Err(error) => Err(explain(&error, &wire)),
            }
        }
        .try_flatten_stream()
        .boxed()
    }
}

/// A reply that is being read.
struct Reading {
    stream: ChatStream,
    wire: Wire,
    style: Style,
    calls: Vec<Sent>,
    ready: VecDeque<Piece>,
    over: bool,
}

/// How much of a call's arguments went out: the library's chunks hold all of them so far.
struct Sent {
    id: String,
    bytes: usize,
}

impl Reading {
    fn pieces(self) -> impl futures::Stream<Item = Result<Piece, ModelError>> + Send {
        stream::unfold(self, |mut reading| async move { reading.next().await.map(|piece| (piece, reading)) })
    }

    async fn next(&mut self) -> Option<Result<Piece, ModelError>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(Ok(piece));
            }
            if self.over {
                return None;
            }
            match self.stream.next().await {
                Some(Ok(event)) => self.take(event),
                // The first error is the end, whatever the library sends behind it.
                Some(Err(error)) => {
                    self.over = true;
                    return Some(Err(explain(&error, &self.wire)));
                }
                // A cut connection ends without an `End`; the listener misses the `Done` then.
                None => self.over = true,
            }
        }
    }

    fn take(&mut self, event: ChatStreamEvent) {
        match event {
            ChatStreamEvent::Chunk(chunk) => self.ready.push_back(match self.style {
                Style::Native => Piece::Message(chunk.content),
                Style::Memgpt => Piece::Thought(chunk.content),
            }),
            ChatStreamEvent::ReasoningChunk(chunk) => self.ready.push_back(Piece::Thought(chunk.content)),
            ChatStreamEvent::ToolCallChunk(chunk) => self.take_call(chunk.tool_call),
            ChatStreamEvent::End(end) => {
                self.over = true;
                self.ready.push_back(Piece::Done(Done { usage: usage(&end), last: None }));
            }
            ChatStreamEvent::Start | ChatStreamEvent::ThoughtSignatureChunk(_) | ChatStreamEvent::Heartbeat => {}
        }
    }

    fn take_call(&mut self, chunk: ToolCall) {
        let index = self.calls.iter().position(|sent| sent.id == chunk.call_id).unwrap_or_else(|| {
            self.calls.push(Sent { id: chunk.call_id.clone(), bytes: 0 });
            let index = self.calls.len() - 1;
            self.ready.push_back(Piece::Call { index, name: chunk.fn_name, provider_id: Some(chunk.call_id) });
            index
        });
        let so_far = match chunk.fn_arguments {
            Value::String(json) => json,
            Value::Null => String::new(),
            whole @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => whole.to_string(),
        };
        if let Some(sent) = self.calls.get_mut(index)
            && let Some(json) = so_far.get(sent.bytes..).filter(|json| !json.is_empty())
        {
            sent.bytes = so_far.len();
            self.ready.push_back(Piece::Args { index, json: json.to_owned() });
        }
    }
}

fn usage(end: &StreamEnd) -> Usage {
    let count = |tokens: Option<i32>| tokens.and_then(|tokens| u64::try_from(tokens).ok());
    end.captured_usage.as_ref().map_or_else(Usage::default, |usage| Usage {
        input_tokens: count(usage.prompt_tokens).unwrap_or(0),
        output_tokens: count(usage.completion_tokens).unwrap_or(0),
        cached_tokens: usage.prompt_tokens_details.as_ref().and_then(|details| count(details.cached_tokens)),
    })
}

/// Writes a prompt as the wire has it.
fn request(prompt: &Prompt) -> ChatRequest {
    let tools = prompt
        .tools
        .iter()
        .map(|tool| Tool::new(tool.name.clone()).with_description(tool.description.clone()).with_schema(tool.schema.clone()));
    ChatRequest::new(messages(prompt)).with_system(prompt.system.clone()).with_tools(tools.collect::<Vec<_>>())
}

/// Groups what the agent thought, said and called between two others' words into one message.
fn messages(prompt: &Prompt) -> Vec<ChatMessage> {
    let mut messages = Vec::new();
    let mut said = Said::default();
    let mut sending = 0_usize;
    let mut ids: HashMap<&CallId, String> = HashMap::new();
    for entry in &prompt.chat {
        match entry {
            Chat::Note(text) => {
                said.close(&mut messages);
                messages.push(ChatMessage::system(text.as_str()));
            }
            Chat::User(text) => {
                said.close(&mut messages);
                messages.push(ChatMessage::user(text.as_str()));
            }
            // Natively reasoning is not sent back: providers do not expect it.
            Chat::Thought(text) => match prompt.style {
                Style::Native => {}
                Style::Memgpt => said.add(text, &mut messages),
            },
            // What a `send_message` call said stands in its arguments already.
            Chat::Message(text) if sending == 0 => said.add(text, &mut messages),
            Chat::Message(_) => {}
            Chat::Called { call, name, args, provider_id } => {
                let id = provider_id.clone().unwrap_or_else(|| call.to_string());
                ids.insert(call, id.clone());
                sending += usize::from(tools::Tool::named(name) == Some(tools::Tool::SendMessage));
                said.calls.push(ToolCall {
                    call_id: id,
                    fn_name: name.clone(),
                    fn_arguments: Value::Object(args.clone()),
                    thought_signatures: None,
                });
            }
            Chat::Returned { call, name, status, text } => {
                sending = sending.saturating_sub(usize::from(tools::Tool::named(name) == Some(tools::Tool::SendMessage)));
                said.close(&mut messages);
                let text = match status {
                    ToolStatus::Success => text.clone(),
                    ToolStatus::Error => format!("Error: {text}"),
                };
                messages.push(ChatMessage::from(ToolResponse::new(ids.remove(call).unwrap_or_else(|| call.to_string()), text)));
            }
        }
    }
    said.close(&mut messages);
    messages
}

/// One message of the agent, being gathered.
#[derive(Default)]
struct Said {
    text: String,
    calls: Vec<ToolCall>,
}

impl Said {
    fn add(&mut self, text: &str, messages: &mut Vec<ChatMessage>) {
        if !self.text.is_empty() || !self.calls.is_empty() {
            self.close(messages);
        }
        self.text.push_str(text);
    }

    fn close(&mut self, messages: &mut Vec<ChatMessage>) {
        let said = std::mem::take(self);
        let mut content = MessageContent::default();
        if !said.text.is_empty() {
            content.push(said.text);
        }
        for call in said.calls {
            content.push(call);
        }
        if !content.is_empty() {
            messages.push(ChatMessage::assistant(content));
        }
    }
}
