//! Items of a turn that are open, with their text so far.

use thoughtwire_proto::{Delta, Event, ItemId, Partial, StreamKind, TurnEvent};

use super::chunks::first_piece;
use super::open_text::OutputText;

/// The open items, oldest first.
#[derive(Default)]
pub(super) struct LiveItems(Vec<LiveItem>);

/// An open item.
#[derive(Clone)]
pub(super) struct LiveItem {
    pub(super) item: ItemId,
    pub(super) kind: StreamKind,
    pub(super) text: String,
    pub(super) continues: Option<ItemId>,
}

impl LiveItems {
    pub(super) fn add(&mut self, delta: Delta) {
        let Delta { item, kind, text, continues, .. } = delta;
        match self.0.iter_mut().find(|live| live.item == item) {
            Some(live) => live.text.push_str(&text),
            None => self.0.push(LiveItem { item, kind, text, continues }),
        }
    }

    pub(super) fn reach(&mut self, partial: Partial) {
        let Partial { item, kind, text, continues, .. } = partial;
        match self.0.iter_mut().find(|live| live.item == item) {
            Some(live) => live.text = text,
            None => self.0.push(LiveItem { item, kind, text, continues }),
        }
    }

    /// Forgets the items that a record ends.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Turn(TurnEvent::Thought { item, .. } | TurnEvent::Message { item, .. }) => {
                self.0.retain(|live| live.item != *item);
            }
            Event::Turn(TurnEvent::ToolCalled { call, .. }) => {
                self.0.retain(|live| live.item.as_str() != call.as_str());
            }
            Event::Turn(TurnEvent::Resumed { .. }) => self.0.clear(),
            Event::Session(_) | Event::Input(_) | Event::Turn(_) | Event::Other(_) => {}
        }
    }

    /// The item whose text may be sent before its event, because its event is certain to be shown
    /// next: the built-in agent ends an item before it begins another. Only a call of which the
    /// item is the message may be open as well. `None` also if no new piece is complete.
    pub(super) fn next(&self, open: Option<&OutputText>) -> Option<&LiveItem> {
        let mut texts = self.0.iter().filter(|live| live.kind != StreamKind::ToolArgs);
        let growing = open.filter(|open| !open.is_cut);
        let live = match growing {
            Some(open) => texts.find(|live| open.takes(&live.item, live.continues.as_ref()))?,
            None => {
                let live = texts.next()?;
                let calls = self.0.iter().filter(|live| live.kind == StreamKind::ToolArgs);
                if texts.next().is_some() || calls.count() > 1 {
                    return None;
                }
                live
            }
        };
        let is_news = match open.filter(|open| open.takes(&live.item, live.continues.as_ref())) {
            Some(open) => open.has_piece(&live.item, &live.text),
            None => first_piece(&live.text).is_some(),
        };
        is_news.then_some(live)
    }
}
