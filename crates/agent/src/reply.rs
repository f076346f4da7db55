//! Streaming of a model's reply into the turn: text is published at once, calls are collected.

use std::pin::pin;
use std::time::Instant;

use futures::{Stream, StreamExt};
use serde_json::{Map, Value};
use thoughtwire_hub::{Final, Interface, ItemWriter, TurnError, new_id};
use thoughtwire_proto::{CallId, ItemId, Usage};

use crate::message_text::MessageExtractor;
use crate::model::{ModelError, ReplyEnd, ReplyPiece};
use crate::resuming::{CutKind, CutText, OverlapFilter};
use crate::tool::BuiltInTool;
use crate::{PromptEntry, call_args};

/// Result of one reply.
pub(crate) struct ModelReply {
    /// Thoughts and messages that are already published.
    pub(crate) published: Vec<PromptEntry>,
    /// The calls to run.
    pub(crate) calls: Vec<ReplyCall>,
    /// The message that ends the turn, if there are no calls.
    pub(crate) last: Option<Final>,
    /// Whether the person received a message, apart from the last one.
    pub(crate) has_messaged: bool,
    /// MemGPT's inner monologue, for a turn that would end without a message.
    pub(crate) monologue: String,
    pub(crate) usage: Usage,
}

/// A call that the model made.
pub(crate) struct ReplyCall {
    pub(crate) call: CallId,
    pub(crate) name: String,
    /// The arguments, or what is wrong with them.
    pub(crate) args: Result<Map<String, Value>, String>,
    pub(crate) provider_id: Option<String>,
    /// The message that a `send_message` call streamed already.
    pub(crate) streamed: Option<ItemWriter>,
    /// The text that this message continues.
    pub(crate) cut: Option<CutText>,
}

/// Reason why a reply failed.
pub(crate) enum ReplyFault {
    Model(ModelError),
    TurnError(TurnError),
}

impl From<TurnError> for ReplyFault {
    fn from(error: TurnError) -> Self {
        Self::TurnError(error)
    }
}

/// Consumer of one reply.
pub(crate) struct ReplyReader {
    interface: Interface,
    open: OpenReplyItem,
    calls: Vec<StreamedCall>,
    published: Vec<PromptEntry>,
    begun: bool,
    has_messaged: bool,
    monologue: String,
    /// White space at the beginning of an item. The item opens with its first visible character.
    blank: String,
    /// Time of the first piece.
    first: Option<Instant>,
    /// Cost of the reply, known at its end.
    usage: Usage,
    /// A text that the first item of its kind continues.
    cut: Option<CutText>,
    /// Whether the turn goes on after this reply, so that its last message ends here.
    goes_on: bool,
    /// Drops what that item repeats.
    overlap: Option<(TextKind, OverlapFilter)>,
}

/// The item that receives text.
enum OpenReplyItem {
    Nothing,
    Item(TextKind, ItemWriter),
}

/// Kind of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextKind {
    Thought,
    Monologue,
    Message,
}

struct StreamedCall {
    index: usize,
    call: CallId,
    name: String,
    provider_id: Option<String>,
    json: String,
    streamed: Option<StreamedMessage>,
    /// White space at the beginning of the message, held back until its first visible character.
    blank: String,
}

/// The message of a `send_message` call while its arguments arrive.
struct StreamedMessage {
    extractor: MessageExtractor,
    /// The text that it continues, and the filter of what it repeats of that.
    continued: Option<(CutText, OverlapFilter)>,
    writer: ItemWriter,
}

impl TextKind {
    /// Whether a text of this kind continues a cut one.
    fn continues(self, cut: CutKind) -> bool {
        match (self, cut) {
            (Self::Monologue, CutKind::Monologue) | (Self::Message, CutKind::Message) => true,
            (Self::Thought | Self::Monologue, CutKind::Message)
            | (Self::Thought | Self::Message, CutKind::Monologue) => false,
        }
    }
}

impl ReplyReader {
    /// Makes a reader of a reply. `cut` is a text that the reply continues. If the turn `goes_on`
    /// after the reply, no message is left open for its end.
    pub(crate) fn new(interface: Interface, cut: Option<CutText>, goes_on: bool) -> Self {
        Self {
            cut,
            goes_on,
            overlap: None,
            interface,
            open: OpenReplyItem::Nothing,
            calls: Vec::new(),
            published: Vec::new(),
            begun: false,
            has_messaged: false,
            monologue: String::new(),
            blank: String::new(),
            first: None,
            usage: Usage::default(),
        }
    }

    /// Whether any output arrived. The request must not be repeated then.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
            || !matches!(self.open, OpenReplyItem::Nothing)
            || !self.calls.is_empty()
            || !self.published.is_empty()
    }

    /// Time of the first piece.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.first
    }

    /// Cost of the reply, also if it was stopped.
    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// Consumes the reply to its end. After a fault, the end of the turn marks the open item
    /// incomplete.
    pub(crate) async fn read(
        &mut self,
        reply: impl Stream<Item = Result<ReplyPiece, ModelError>>,
    ) -> Result<ModelReply, ReplyFault> {
        let mut reply = pin!(reply);
        while let Some(piece) = reply.next().await {
            self.first.get_or_insert_with(Instant::now);
            match piece.map_err(ReplyFault::Model)? {
                ReplyPiece::Thought(text) => self.write(TextKind::Thought, &text).await?,
                ReplyPiece::Monologue(text) => {
                    self.monologue.push_str(&text);
                    self.write(TextKind::Monologue, &text).await?;
                }
                ReplyPiece::Message(text) => self.write(TextKind::Message, &text).await?,
                ReplyPiece::Whole(text) => {
                    self.close().await?;
                    self.begun = true;
                    self.has_messaged = true;
                    // A model that sends whole messages may send any number of them. No later step
                    // needs them, so they are not kept.
                    self.interface.assistant_message(text).await?;
                }
                ReplyPiece::Call { index, name, provider_id } => {
                    self.begin_call(index, name, provider_id).await?;
                }
                ReplyPiece::Args { index, json } => self.continue_call(index, &json).await?,
                ReplyPiece::ProviderState(kept) => {
                    self.published.push(PromptEntry::ProviderState(kept));
                }
                ReplyPiece::WasThought => self.reclassify().await?,
                ReplyPiece::End(ReplyEnd { usage, last: _, stopped: Some(error) }) => {
                    self.usage = usage;
                    return Err(self.stop(error).await?);
                }
                ReplyPiece::End(ReplyEnd { usage, last, stopped: None }) => {
                    self.usage = usage;
                    return self.end(last, usage).await;
                }
            }
        }
        Err(ReplyFault::Model(ModelError::Cut(
            "The model's reply was cut off. The part that arrived is kept; ask again.".to_owned(),
        )))
    }

    /// Writes text of one kind, without what it repeats of a text that it continues.
    async fn write(&mut self, kind: TextKind, text: &str) -> Result<(), ReplyFault> {
        if self.overlap.is_none()
            && let Some(cut) = self.cut.as_ref().filter(|cut| kind.continues(cut.kind))
        {
            self.overlap = Some((kind, OverlapFilter::new(&cut.text)));
        }
        match &mut self.overlap {
            Some((of, filter)) if *of == kind => {
                let text = filter.push(text);
                if text.is_empty() { Ok(()) } else { self.write_new(kind, &text).await }
            }
            Some(_) | None => self.write_new(kind, text).await,
        }
    }

    /// Ends the search for a repetition.
    async fn end_overlap(&mut self) -> Result<(), ReplyFault> {
        if let Some((kind, mut filter)) = self.overlap.take() {
            let rest = filter.end();
            if !rest.is_empty() {
                self.write_new(kind, &rest).await?;
            }
            self.cut = None;
        }
        Ok(())
    }

    /// Takes the item that an item of a kind continues.
    fn continued(&mut self, kind: CutKind) -> Option<ItemId> {
        self.cut.take_if(|cut| cut.kind == kind).map(|cut| cut.item)
    }

    /// Writes text of one kind. Text of another kind ends the open item.
    async fn write_new(&mut self, kind: TextKind, text: &str) -> Result<(), ReplyFault> {
        match &mut self.open {
            OpenReplyItem::Item(open, writer) if *open == kind => {
                return Ok(writer.write(text).await?);
            }
            OpenReplyItem::Item(..) | OpenReplyItem::Nothing => {}
        }
        // Providers refuse a history with a blank text, and nobody can read one.
        if text.trim().is_empty() {
            if matches!(self.open, OpenReplyItem::Nothing) {
                self.blank.push_str(text);
            }
            return Ok(());
        }
        let blank = std::mem::take(&mut self.blank);
        self.close_item().await?;
        let (mut writer, cut) = match kind {
            TextKind::Thought => (self.interface.open_thought(), None),
            TextKind::Monologue => {
                (self.interface.open_thought(), self.continued(CutKind::Monologue))
            }
            TextKind::Message => (self.interface.open_message(), self.continued(CutKind::Message)),
        };
        if let Some(cut) = cut {
            writer = writer.continuing(cut);
        }
        writer.write(&format!("{blank}{text}")).await?;
        self.open = OpenReplyItem::Item(kind, writer);
        Ok(())
    }

    /// Ends the open item and publishes its event.
    async fn close(&mut self) -> Result<(), ReplyFault> {
        self.end_overlap().await?;
        self.close_item().await
    }

    async fn close_item(&mut self) -> Result<(), ReplyFault> {
        self.blank.clear();
        if let OpenReplyItem::Item(kind, writer) =
            std::mem::replace(&mut self.open, OpenReplyItem::Nothing)
        {
            let text = writer.text().to_owned();
            self.has_messaged |= kind == TextKind::Message;
            self.published.push(match kind {
                TextKind::Thought | TextKind::Monologue => PromptEntry::Thought(text),
                TextKind::Message => PromptEntry::Message(text),
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
    ) -> Result<(), ReplyFault> {
        self.close().await?;
        let streamed = (BuiltInTool::named(&name) == Some(BuiltInTool::SendMessage)).then(|| {
            let mut writer = self.interface.open_message();
            let continued = self.cut.take_if(|cut| cut.kind == CutKind::Message).map(|cut| {
                let overlap = OverlapFilter::new(&cut.text);
                (cut, overlap)
            });
            if let Some((cut, _)) = &continued {
                writer = writer.continuing(cut.item.clone());
            }
            StreamedMessage { extractor: MessageExtractor::default(), continued, writer }
        });
        self.calls.push(StreamedCall {
            index,
            call: new_id(),
            name,
            provider_id,
            json: String::new(),
            streamed,
            blank: String::new(),
        });
        Ok(())
    }

    async fn continue_call(&mut self, index: usize, json: &str) -> Result<(), ReplyFault> {
        let Some(open) = self.calls.iter_mut().find(|open| open.index == index) else {
            return Err(ReplyFault::Model(ModelError::Failed(
                "The model sent arguments for a call that it had not announced. Ask again."
                    .to_owned(),
            )));
        };
        open.json.push_str(json);
        self.interface.tools().stream_args(&open.call, json).await?;
        if let Some(StreamedMessage { extractor, continued, writer }) = &mut open.streamed {
            let words = extractor.push(json);
            let words = match continued {
                Some((_, overlap)) => overlap.push(&words),
                None => words,
            };
            if writer.text().is_empty() && words.trim().is_empty() {
                open.blank.push_str(&words);
            } else {
                let words = format!("{}{words}", std::mem::take(&mut open.blank));
                writer.write(&words).await?;
            }
        }
        Ok(())
    }

    /// Turns the open message into a thought and ends it.
    async fn reclassify(&mut self) -> Result<(), ReplyFault> {
        match std::mem::replace(&mut self.open, OpenReplyItem::Nothing) {
            OpenReplyItem::Item(TextKind::Message, writer) => {
                self.open = OpenReplyItem::Item(TextKind::Thought, writer.into_thought());
            }
            open @ (OpenReplyItem::Item(TextKind::Thought | TextKind::Monologue, _)
            | OpenReplyItem::Nothing) => {
                self.open = open;
            }
        }
        self.monologue.clear();
        self.close().await
    }

    /// Ends a reply that was stopped. The open item stays open, and the end of the turn marks it
    /// incomplete. The text of a refusal is complete, so its item ends. Calls are not run.
    async fn stop(&mut self, error: ModelError) -> Result<ReplyFault, ReplyFault> {
        if matches!(error, ModelError::Refused(_)) {
            self.close().await?;
        }
        Ok(ReplyFault::Model(error))
    }

    async fn end(&mut self, last: Option<String>, usage: Usage) -> Result<ModelReply, ReplyFault> {
        let calls: Vec<ReplyCall> =
            std::mem::take(&mut self.calls).into_iter().map(StreamedCall::close).collect();
        self.end_overlap().await?;
        let last = match (last, std::mem::replace(&mut self.open, OpenReplyItem::Nothing)) {
            (None, OpenReplyItem::Item(TextKind::Message, writer))
                if calls.is_empty() && !self.goes_on =>
            {
                Some(writer.into())
            }
            (last, open) => {
                self.open = open;
                self.close().await?;
                last.map(Final::Text)
            }
        };
        // A blank last message does not count.
        let last = last.filter(|last| match last {
            Final::Text(text) => !text.trim().is_empty(),
            Final::Open(_) => true,
        });
        Ok(ModelReply {
            published: std::mem::take(&mut self.published),
            calls,
            last,
            has_messaged: self.has_messaged,
            monologue: std::mem::take(&mut self.monologue),
            usage,
        })
    }
}

impl StreamedCall {
    fn close(self) -> ReplyCall {
        let args = call_args::parse(&self.name, &self.json);
        let (streamed, cut) = match self.streamed {
            Some(StreamedMessage { writer, continued, .. }) => (
                Some(writer).filter(|writer| !writer.text().is_empty()),
                continued.map(|(cut, _)| cut),
            ),
            None => (None, None),
        };
        ReplyCall {
            call: self.call,
            name: self.name,
            args,
            provider_id: self.provider_id,
            streamed,
            cut,
        }
    }
}
