//! Queries of a person or a model.

use crate::analysis::{Analyzer, TermRole};

/// Maximum number of terms of a query.
const MOST_TERMS: usize = 256;
/// Weight of a part of a word.
const PART_WEIGHT: f32 = 0.4;
/// Opening quotation marks, each with its closing one.
const QUOTES: [(char, char); 6] =
    [('"', '"'), ('“', '”'), ('„', '“'), ('«', '»'), ('「', '」'), ('『', '』')];

/// A query: words, and phrases in quotation marks.
///
/// A quoted phrase must stand in a text as it is. If it stands in none, its words count alone.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchQuery {
    pub(crate) terms: Vec<QueryTerm>,
    /// Terms that follow one another.
    pub(crate) phrases: Vec<Vec<String>>,
}

/// A term to look for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueryTerm {
    pub(crate) text: String,
    pub(crate) weight: f32,
}

impl SearchQuery {
    /// Reads a query.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let analyzer = Analyzer::default();
        let found = analyzer.terms(text);
        let has_word = found.iter().any(|term| matches!(term.role, TermRole::Word));
        let mut terms: Vec<QueryTerm> = Vec::new();
        for term in found {
            let weight = match term.role {
                TermRole::Word => 1.0,
                TermRole::Stop if !has_word => 1.0,
                TermRole::Part => PART_WEIGHT,
                TermRole::Stop | TermRole::Single => continue,
            };
            match terms.iter_mut().find(|known| known.text == term.text) {
                Some(known) => known.weight = known.weight.max(weight),
                None => terms.push(QueryTerm { text: term.text, weight }),
            }
        }
        terms.truncate(MOST_TERMS);
        let phrases = quoted(text)
            .map(|phrase| analyzer.terms(phrase).into_iter().map(|term| term.text).collect())
            .filter(|phrase: &Vec<String>| !phrase.is_empty())
            .collect();
        Self { terms, phrases }
    }

    /// Whether it has no word to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

/// The texts in quotation marks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (at, open) =
                rest.char_indices().find(|(_, c)| QUOTES.iter().any(|(open, _)| open == c))?;
            let inside = rest.get(at + open.len_utf8()..)?;
            let (_, close) = QUOTES.iter().find(|(known, _)| *known == open)?;
            match inside.find(*close) {
                Some(end) => {
                    rest = inside.get(end + close.len_utf8()..)?;
                    return inside.get(..end);
                }
                None => rest = inside,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_stand_in_quotation_marks() {
        let found: Vec<_> = quoted("say \"good morning\" and 「傘」 or \"open").collect();
        assert_eq!(found, ["good morning", "傘"]);
    }

    #[test]
    fn stop_words_count_where_there_is_nothing_else() {
        let texts = |query: &str| -> Vec<String> {
            SearchQuery::new(query).terms.into_iter().map(|term| term.text).collect()
        };
        assert_eq!(texts("Who are you?"), ["who", "are", "you"]);
        assert_eq!(texts("Who is Ada?"), ["ada"]);
        assert!(SearchQuery::new(" …?! ").is_empty());
    }
}
