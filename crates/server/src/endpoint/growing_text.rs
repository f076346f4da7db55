//! Texts that are sent to a client piece by piece, and cannot be taken back.

use thoughtwire_proto::ItemId;

/// The texts of one kind as a client has them: items one after the other.
///
/// Only one item grows at a time. Pieces of others are left out, and their texts come whole.
#[derive(Debug, Default)]
pub(crate) struct GrowingText {
    /// The item that grows, with the text that was sent of it.
    open: Option<(ItemId, String)>,
    has_text: bool,
}

/// Mark between two items.
const BETWEEN: &str = "\n\n";

impl GrowingText {
    /// Adds a piece of an item. Returns the text to send.
    pub(crate) fn add(
        &mut self,
        item: &ItemId,
        piece: &str,
        continues: Option<&ItemId>,
    ) -> Option<String> {
        match &mut self.open {
            Some((open, sent)) if open == item => {
                sent.push_str(piece);
                Some(piece.to_owned())
            }
            // A text may go on in another item.
            Some(_) if continues.is_none() => None,
            Some(_) | None => Some(self.begin(item, piece, continues)),
        }
        .filter(|new| !new.is_empty())
    }

    /// Takes the text of an item as far as it is known. Returns the text to send.
    pub(crate) fn reach(
        &mut self,
        item: &ItemId,
        text: &str,
        continues: Option<&ItemId>,
    ) -> Option<String> {
        match &mut self.open {
            Some((open, sent)) if open == item => {
                let new = text.get(common_bytes(sent, text)..).unwrap_or_default().to_owned();
                text.clone_into(sent);
                Some(new)
            }
            Some(_) if continues.is_none() => None,
            Some(_) | None => Some(self.begin(item, text, continues)),
        }
        .filter(|new| !new.is_empty())
    }

    /// Takes the whole text of an item. Returns the text to send.
    pub(crate) fn end(
        &mut self,
        item: &ItemId,
        text: &str,
        continues: Option<&ItemId>,
    ) -> Option<String> {
        let new = match self.open.take_if(|(open, _)| open == item) {
            Some((_, sent)) => text.get(common_bytes(&sent, text)..).unwrap_or_default().to_owned(),
            None => {
                let open = self.open.take();
                let new = self.begin(item, text, continues);
                self.open = open;
                new
            }
        };
        (!new.is_empty()).then_some(new)
    }

    /// Ends the item that grows: an interruption has cut it, and its text may never come whole.
    pub(crate) fn cut(&mut self) {
        self.open = None;
    }

    /// Adds a paragraph that belongs to no item. Returns the text to send.
    pub(crate) fn paragraph(&mut self, text: &str) -> String {
        let between = if self.has_text { BETWEEN } else { "" };
        self.has_text = true;
        format!("{between}{text}")
    }

    fn begin(&mut self, item: &ItemId, text: &str, continues: Option<&ItemId>) -> String {
        let between = if self.has_text && continues.is_none() { BETWEEN } else { "" };
        self.has_text = true;
        self.open = Some((item.clone(), text.to_owned()));
        format!("{between}{text}")
    }
}

/// Number of bytes that two texts have in common at their beginning, in whole characters.
pub(crate) fn common_bytes(one: &str, other: &str) -> usize {
    let pairs = one.chars().zip(other.chars());
    pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str) -> ItemId {
        ItemId::new(id).unwrap()
    }

    #[test]
    fn every_text_is_sent_once_and_in_one_piece_after_another() {
        let (one, two, three) = (item("i-1"), item("i-2"), item("i-3"));
        let mut text = GrowingText::default();
        let mut sent = String::new();
        let mut take = |new: Option<String>| sent.push_str(&new.unwrap_or_default());
        take(text.add(&one, "Hel", None));
        // Another item's pieces are left out while the first one grows.
        take(text.add(&two, "Wor", None));
        take(text.reach(&one, "Hello", None));
        take(text.end(&two, "World", None));
        take(text.end(&one, "Hello there", None));
        take(text.add(&three, ", you", Some(&one)));
        take(text.end(&three, ", you.", Some(&one)));
        assert_eq!(sent, "Hello\n\nWorld there, you.");
        assert_eq!(text.paragraph("End"), "\n\nEnd");
    }

    #[test]
    fn an_end_that_differs_from_its_pieces_adds_only_what_differs() {
        let one = item("i-1");
        let mut text = GrowingText::default();
        assert_eq!(text.add(&one, "a secret", None).unwrap(), "a secret");
        assert_eq!(text.end(&one, "a ***", None).unwrap(), "***");
        assert_eq!(text.end(&one, "a ***", None).unwrap(), "\n\na ***");
    }
}
