//! Listening to a model's reply: its words go out as they come, its calls are gathered.

use std::pin::pin;
use std::time::Instant;

use futures::{Stream, StreamExt};
use serde_json::{Map, Value};
use thoughtwire_hub::{Final, Interface, ItemWriter, TurnError, new_id};
use thoughtwire_proto::{CallId, Usage};

use crate::model::{Done, ModelError, Piece};
use crate::spoken::Spoken;
use crate::tool::Tool;
use crate::{Chat, call_args};

/// What was heard in one reply.
pub(crate) struct Heard {
    /// Thoughts and messages that are said already.
    pub(crate) said: Vec<Chat>,
    /// What to call.
    pub(crate) calls: Vec<HeardCall>,
    /// The message that ends the turn, when nothing was called.
    pub(crate) last: Option<Final>,
    /// Whether the person was told anything, the last message aside.
    pub(crate) has_spoken: bool,
    /// Words of MemGPT's inner monologue, for a turn that would end without a message.
    pub(crate) monologue: String,
    pub(crate) usage: Usage,
}

/// A call that the model wants.
pub(crate) struct HeardCall {
    pub(crate) call: CallId,
    pub(crate) name: String,
    /// The arguments, or what is wrong with them.
    pub(crate) args: Result<Map<String, Value>, String>,
    pub(crate) provider_id: Option<String>,
    /// The message that a `send_message` call streamed already.
    pub(crate) spoken: Option<ItemWriter>,
}

/// Why listening stopped.
pub(crate) enum Fault {
    Model(ModelError),
    TurnError(TurnError),
}

impl From<TurnError> for Fault {
    fn from(error: TurnError) -> Self {
        Self::TurnError(error)
    }
}

/// Listens to one reply.
pub(crate) struct Listener {
    interface: Interface,
    open: Open,
    calls: Vec<OpenCall>,
    said: Vec<Chat>,
    begun: bool,
    has_spoken: bool,
    monologue: String,
    /// White space at the beginning of an item: there is no item until something can be read.
    blank: String,
    /// When the first piece came.
    first: Option<Instant>,
    /// What the reply cost, once its end says so.
    usage: Usage,
}

/// The item whose words come in.
enum Open {
    Nothing,
    Item(Spoke, ItemWriter),
}

/// What words are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoke {
    Thought,
    Monologue,
    Message,
}

struct OpenCall {
    index: usize,
    call: CallId,
    name: String,
    provider_id: Option<String>,
    json: String,
    spoken: Option<(Spoken, ItemWriter)>,
    /// White space at the beginning of the message, held back until something can be read.
    blank: String,
}

impl Listener {
    pub(crate) fn new(interface: Interface) -> Self {
        Self {
            interface,
            open: Open::Nothing,
            calls: Vec::new(),
            said: Vec::new(),
            begun: false,
            has_spoken: false,
            monologue: String::new(),
            blank: String::new(),
            first: None,
            usage: Usage::default(),
        }
    }

    /// Whether anything was heard: a request must not be repeated then.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
            || !matches!(self.open, Open::Nothing)
            || !self.calls.is_empty()
            || !self.said.is_empty()
    }

    /// When the first piece of the reply came.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.first
    }

    /// What the reply cost, also when it was stopped.
    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// Listens to the end. A fault leaves the open item to the turn's end, which marks it incomplete.
    pub(crate) async fn listen(
        &mut self,
        reply: impl Stream<Item = Result<Piece, ModelError>>,
    ) -> Result<Heard, Fault> {
        let mut reply = pin!(reply);
        while let Some(piece) = reply.next().await {
            self.first.get_or_insert_with(Instant::now);
            match piece.map_err(Fault::Model)? {
                Piece::Thought(text) => self.write(Spoke::Thought, &text).await?,
                Piece::Monologue(text) => {
                    self.monologue.push_str(&text);
                    self.write(Spoke::Monologue, &text).await?;
                }
                Piece::Message(text) => self.write(Spoke::Message, &text).await?,
                Piece::Whole(text) => {
                    self.close().await?;
                    self.begun = true;
                    self.has_spoken = true;
                    // A model that speaks in whole messages makes any number of them, and no step
                    // follows that would have to know them: they are not kept.
                    self.interface.assistant_message(text).await?;
                }
                Piece::Call { index, name, provider_id } => {
                    self.begin_call(index, name, provider_id).await?;
                }
                Piece::Args { index, json } => self.continue_call(index, &json).await?,
                Piece::Kept(kept) => self.said.push(Chat::Kept(kept)),
                Piece::WasThought => self.reclassify().await?,
                Piece::Done(Done { usage, last: _, stopped: Some(error) }) => {
                    self.usage = usage;
                    return Err(self.stop(error).await?);
                }
                Piece::Done(Done { usage, last, stopped: None }) => {
                    self.usage = usage;
                    return self.end(last, usage).await;
                }
            }
        }
        Err(Fault::Model(ModelError::Cut(
            "The model's reply broke off before its end. What came of it is kept; ask again."
                .to_owned(),
        )))
    }

    /// Takes words of one kind; words of another kind end the open item.
    async fn write(&mut self, spoke: Spoke, text: &str) -> Result<(), Fault> {
        match &mut self.open {
            Open::Item(kind, writer) if *kind == spoke => return Ok(writer.write(text).await?),
            Open::Item(..) | Open::Nothing => {}
        }
        // Providers refuse a history in which a text is blank, and nobody can read one.
        if text.trim().is_empty() {
            if matches!(self.open, Open::Nothing) {
                self.blank.push_str(text);
            }
            return Ok(());
        }
        let blank = std::mem::take(&mut self.blank);
        self.close().await?;
        let mut writer = match spoke {
            Spoke::Thought | Spoke::Monologue => self.interface.open_thought(),
            Spoke::Message => self.interface.open_message(),
        };
        writer.write(&format!("{blank}{text}")).await?;
        self.open = Open::Item(spoke, writer);
        Ok(())
    }

    /// Ends the open item: its event goes out.
    async fn close(&mut self) -> Result<(), Fault> {
        self.blank.clear();
        if let Open::Item(spoke, writer) = std::mem::replace(&mut self.open, Open::Nothing) {
            let text = writer.text().to_owned();
            self.has_spoken |= spoke == Spoke::Message;
            self.said.push(match spoke {
                Spoke::Thought | Spoke::Monologue => Chat::Thought(text),
                Spoke::Message => Chat::Message(text),
            });
            writer.finish().await?;
        }
        Ok(())
    }

    async fn begin_call(
        &mut self,
        index: usize,
        name: String,
        provider_id: Option<String>,
    ) -> Result<(), Fault> {
        self.close().await?;
        let spoken = (Tool::named(&name) == Some(Tool::SendMessage))
            .then(|| (Spoken::default(), self.interface.open_message()));
        self.calls.push(OpenCall {
            index,
            call: new_id(),
            name,
            provider_id,
            json: String::new(),
            spoken,
            blank: String::new(),
        });
        Ok(())
    }

    async fn continue_call(&mut self, index: usize, json: &str) -> Result<(), Fault> {
        let Some(open) = self.calls.iter_mut().find(|open| open.index == index) else {
            return Err(Fault::Model(ModelError::Failed(
                "The model sent arguments for a call that it had not begun.".to_owned(),
            )));
        };
        open.json.push_str(json);
        self.interface.tools().stream_args(&open.call, json).await?;
        if let Some((spoken, writer)) = &mut open.spoken {
            let words = spoken.hear(json);
            if writer.text().is_empty() && words.trim().is_empty() {
                open.blank.push_str(&words);
            } else {
                let words = format!("{}{words}", std::mem::take(&mut open.blank));
                writer.write(&words).await?;
            }
        }
        Ok(())
    }

    /// Ends the open message as the thought that it was.
    async fn reclassify(&mut self) -> Result<(), Fault> {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Item(Spoke::Message, writer) => {
                self.open = Open::Item(Spoke::Thought, writer.into_thought());
            }
            open @ (Open::Item(Spoke::Thought | Spoke::Monologue, _) | Open::Nothing) => {
                self.open = open;
            }
        }
        self.monologue.clear();
        self.close().await
    }

    /// Ends a reply whose model was stopped. The open item stays open, for the turn's end to mark
    /// it as incomplete, except for the words of a refusal: they are whole. Calls are not run.
    async fn stop(&mut self, error: ModelError) -> Result<Fault, Fault> {
        if matches!(error, ModelError::Refused(_)) {
            self.close().await?;
        }
        Ok(Fault::Model(error))
    }

    async fn end(&mut self, last: Option<String>, usage: Usage) -> Result<Heard, Fault> {
        let calls: Vec<HeardCall> =
            std::mem::take(&mut self.calls).into_iter().map(OpenCall::close).collect();
        let last = match (last, std::mem::replace(&mut self.open, Open::Nothing)) {
            (None, Open::Item(Spoke::Message, writer)) if calls.is_empty() => Some(writer.into()),
            (last, open) => {
                self.open = open;
                self.close().await?;
                last.map(Final::Text)
            }
        };
        // A whole last message with nothing to read is none.
        let last = last.filter(|last| match last {
            Final::Text(text) => !text.trim().is_empty(),
            Final::Open(_) => true,
        });
        Ok(Heard {
            said: std::mem::take(&mut self.said),
            calls,
            last,
            has_spoken: self.has_spoken,
            monologue: std::mem::take(&mut self.monologue),
            usage,
        })
    }
}

impl OpenCall {
    fn close(self) -> HeardCall {
        let args = call_args::parse(&self.name, &self.json);
        let spoken =
            self.spoken.map(|(_, writer)| writer).filter(|writer| !writer.text().is_empty());
        HeardCall { call: self.call, name: self.name, args, provider_id: self.provider_id, spoken }
    }
}
