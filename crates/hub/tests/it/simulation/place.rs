//! A subscriber's place, kept while it is away.

use std::collections::HashMap;

use thoughtwire_proto::{
    Attached, Delta, Event, ItemId, Partial, Record, Start, TurnEvent, TurnId,
};

use super::texts::ShownTexts;

pub(crate) struct ReadPlace {
    pub(crate) room: usize,
    /// The last position it has; nothing before it was ever there.
    pub(crate) cursor: Option<u64>,
    pub(crate) caught_up: bool,
    /// It was told that its session is gone.
    pub(crate) told_gone: bool,
    /// It was told that what lies behind its cursor was deleted.
    pub(crate) told_trimmed: bool,
    /// Open items as it knows them.
    open: HashMap<ItemId, Open>,
}

struct Open {
    turn: TurnId,
    /// The next piece's number.
    next: u64,
    text: String,
}

impl ReadPlace {
    pub(crate) fn new(room: usize) -> Self {
        let (cursor, open) = (None, HashMap::new());
        Self { room, cursor, caught_up: false, told_gone: false, told_trimmed: false, open }
    }

    pub(crate) fn attached(&mut self, start: &Start, attached: &Attached) -> Option<String> {
        let before_first = attached.first.0 - 1;
        let fits = match start {
            Start::After(cursor) if cursor.seq <= attached.head && cursor.seq.0 >= before_first => {
                attached.recovered && attached.after == cursor.seq && !self.told_trimmed
            }
            Start::After(_) => !attached.recovered && attached.after.0 == before_first,
            Start::Head => attached.after == attached.head,
            Start::Last(count) => {
                attached.after.0 == attached.head.0.saturating_sub(*count).max(before_first)
            }
            Start::Proven(_) => false,
        };
        self.told_trimmed = false;
        (self.cursor, self.caught_up, self.told_gone) = (Some(attached.after.0), false, false);
        self.open.clear();
        (!fits).then(|| format!("asked for {start:?}, attached as {attached:?}"))
    }

    pub(crate) fn delta(&mut self, delta: &Delta) -> Option<String> {
        let fresh = || Open { turn: delta.turn.clone(), next: 0, text: String::new() };
        let open = self.open.entry(delta.item.clone()).or_insert_with(fresh);
        let expected = std::mem::replace(&mut open.next, delta.n + 1);
        open.text.push_str(&delta.text);
        (expected != delta.n)
            .then(|| format!("piece {} of {} where {expected} was due", delta.n, delta.item))
    }

    pub(crate) fn partial(&mut self, partial: &Partial) -> Option<String> {
        let open = Open { turn: partial.turn.clone(), next: partial.n, text: partial.text.clone() };
        let known = self.open.insert(partial.item.clone(), open);
        let fits = known.is_none_or(|known| partial.text.starts_with(&known.text));
        (!fits).then(|| format!("a partial takes back what was shown of {}", partial.item))
    }

    /// Notes the text of an open item as it is shown here.
    pub(crate) fn shown(&self, item: &ItemId, texts: &mut ShownTexts) -> Option<String> {
        let open = self.open.get(item)?;
        texts.shows(self.room, item, &open.turn, &open.text)
    }

    /// With `shaken`, a text may lose what a failing disk did not save. With `has_nodes`, it may
    /// lose what was not on disk when another node took the session.
    pub(crate) fn record(
        &mut self,
        record: &Record,
        shaken: bool,
        has_nodes: bool,
    ) -> Option<String> {
        let cursor = self.cursor.replace(record.seq.0);
        if cursor.map(|cursor| cursor + 1) != Some(record.seq.0) {
            return Some(format!("{} came behind {cursor:?}", record.seq));
        }
        if let Event::Turn(
            TurnEvent::Thought { item, text, complete, .. }
            | TurnEvent::Message { item, text, complete, .. },
        ) = &record.event
        {
            let is_cut = has_nodes && !complete;
            let fits = |shown: &str| text.starts_with(shown) || is_cut && shown.starts_with(text);
            let shown = self.open.remove(item);
            if shown.is_some_and(|shown| !fits(&shown.text)) {
                return Some(format!("{item} ended with other words than were shown"));
            }
        }
        if let (Event::Turn(TurnEvent::Ended { .. }), Some(turn)) = (&record.event, &record.turn) {
            let before = self.open.len();
            self.open.retain(|_, open| open.turn != *turn);
            if self.open.len() != before && !shaken {
                return Some(format!("turn {turn} ended and left items open"));
            }
        }
        None
    }

    pub(crate) fn check_rest(&self, head: u64) -> Option<String> {
        if self.cursor != Some(head) || !self.caught_up {
            return Some(format!(
                "stands at {:?} of {head}, caught up: {}",
                self.cursor, self.caught_up
            ));
        }
        (!self.open.is_empty())
            .then(|| format!("has open items at the end: {:?}", self.open.keys()))
    }
}
