//! The text of an output item as a stream sends it.

use serde_json::{Value, json};
use thoughtwire_proto::{ItemId, StreamKind};

use super::chunks::first_piece;
use super::events::EventLog;

/// A reasoning or message item that is not done.
pub(super) struct OutputText {
    kind: OutputTextKind,
    id: String,
    index: usize,
    /// The item that grows now: the first one, or one that continues it.
    item: ItemId,
    /// The whole text so far.
    text: String,
    /// Where the text of `item` begins.
    begin: usize,
    /// Bytes of the text that were sent.
    sent: usize,
    /// Whether `item` was cut. Then another may continue it.
    pub(super) is_cut: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputTextKind {
    Reasoning,
    Message,
}

impl OutputText {
    /// Begins an output item.
    pub(super) fn begin(kind: StreamKind, item: &ItemId, index: usize, log: &mut EventLog) -> Self {
        let (kind, id) = match kind {
            StreamKind::Thought => (OutputTextKind::Reasoning, format!("rs_{item}")),
            StreamKind::Message | StreamKind::ToolArgs => {
                (OutputTextKind::Message, format!("msg_{item}"))
            }
        };
        let open = Self {
            kind,
            id,
            index,
            item: item.clone(),
            text: String::new(),
            begin: 0,
            sent: 0,
            is_cut: false,
        };
        let added = open.output_item("in_progress", &[]);
        log.push("response.output_item.added", json!({"output_index": index, "item": added}));
        let part = open.part("");
        log.push(open.names().part_added, open.located(&json!({"part": part})));
        open
    }

    /// Whether an item is this text's, or goes on with it.
    pub(super) fn takes(&self, item: &ItemId, continues: Option<&ItemId>) -> bool {
        self.item == *item || continues == Some(&self.item)
    }

    /// Whether a piece is complete once the text of an item so far is taken.
    pub(super) fn has_piece(&self, item: &ItemId, text: &str) -> bool {
        let before = if self.item == *item { self.begin } else { self.text.len() };
        let unsent = self.text.get(self.sent..before).unwrap_or_default();
        let rest = text.get(self.sent.saturating_sub(before)..).unwrap_or_default();
        first_piece(&format!("{unsent}{rest}")).is_some()
    }

    /// Takes the text of an item so far.
    pub(super) fn reach(&mut self, item: &ItemId, text: &str) {
        if self.item != *item {
            self.item = item.clone();
            self.begin = self.text.len();
            self.is_cut = false;
        }
        self.text.truncate(self.begin);
        self.text.push_str(text);
        // An item's event may differ from what was streamed of it.
        self.sent = self.sent.min(self.text.len());
        while !self.text.is_char_boundary(self.sent) {
            self.sent -= 1;
        }
    }

    /// Sends the pieces that are complete.
    pub(super) fn send(&mut self, log: &mut EventLog) {
        while let Some(rest) = self.text.get(self.sent..)
            && let Some(end) = first_piece(rest)
        {
            self.send_piece(end, log);
        }
    }

    fn send_piece(&mut self, bytes: usize, log: &mut EventLog) {
        let end = self.sent + bytes;
        let piece = self.text.get(self.sent..end).unwrap_or_default().to_owned();
        self.sent = end;
        log.push(
            self.names().delta,
            self.located(&match self.kind {
                OutputTextKind::Reasoning => json!({"delta": piece}),
                OutputTextKind::Message => json!({"delta": piece, "logprobs": []}),
            }),
        );
    }

    /// Ends the output item. Returns its place and the item.
    pub(super) fn end(mut self, log: &mut EventLog) -> (usize, Value) {
        self.send(log);
        let rest = self.text.len() - self.sent;
        if rest > 0 {
            self.send_piece(rest, log);
        }
        let text = self.text.as_str();
        log.push(
            self.names().text_done,
            self.located(&match self.kind {
                OutputTextKind::Reasoning => json!({"text": text}),
                OutputTextKind::Message => json!({"text": text, "logprobs": []}),
            }),
        );
        let part = self.part(text);
        log.push(self.names().part_done, self.located(&json!({"part": part})));
        let status = if self.is_cut { "incomplete" } else { "completed" };
        let item = self.output_item(status, &[part]);
        let done = json!({"output_index": self.index, "item": item});
        log.push("response.output_item.done", done);
        (self.index, item)
    }

    fn part(&self, text: &str) -> Value {
        match self.kind {
            OutputTextKind::Reasoning => json!({"type": "summary_text", "text": text}),
            OutputTextKind::Message => {
                json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
            }
        }
    }

    fn output_item(&self, status: &str, parts: &[Value]) -> Value {
        let id = &self.id;
        match self.kind {
            OutputTextKind::Reasoning => {
                json!({"id": id, "type": "reasoning", "summary": parts, "status": status})
            }
            OutputTextKind::Message => json!({
                "id": id, "type": "message", "role": "assistant", "status": status,
                "content": parts
            }),
        }
    }

    /// A body with the place of the text.
    fn located(&self, rest: &Value) -> Value {
        let mut body = match self.kind {
            OutputTextKind::Reasoning => {
                json!({"item_id": self.id, "output_index": self.index, "summary_index": 0})
            }
            OutputTextKind::Message => {
                json!({"item_id": self.id, "output_index": self.index, "content_index": 0})
            }
        };
        if let (Some(body), Some(rest)) = (body.as_object_mut(), rest.as_object()) {
            body.extend(rest.clone());
        }
        body
    }

    fn names(&self) -> TextEvents {
        match self.kind {
            OutputTextKind::Reasoning => TextEvents {
                part_added: "response.reasoning_summary_part.added",
                delta: "response.reasoning_summary_text.delta",
                text_done: "response.reasoning_summary_text.done",
                part_done: "response.reasoning_summary_part.done",
            },
            OutputTextKind::Message => TextEvents {
                part_added: "response.content_part.added",
                delta: "response.output_text.delta",
                text_done: "response.output_text.done",
                part_done: "response.content_part.done",
            },
        }
    }
}

/// Names of the events of a text.
struct TextEvents {
    part_added: &'static str,
    delta: &'static str,
    text_done: &'static str,
    part_done: &'static str,
}
