//! Search by words in memory: a full-text index that lives for one search.
//!
//! It is the same index as in the SQLite backend, so that stemming, ranking and scripts agree. An
//! own implementation of them would have to be kept equal.

use rusqlite::{Connection, params};

use crate::{Page, StoreError, script};

/// A text to search in.
pub(super) struct IndexedText<'a> {
    /// Its number; of equal rank, the smallest is first.
    pub(super) id: i64,
    pub(super) text: &'a str,
    /// Whether it may be found. The others only count for the ranking.
    pub(super) is_candidate: bool,
}

/// Numbers of the texts that were found, best first.
#[derive(Default)]
pub(super) struct FoundTexts(Vec<i64>);

impl FoundTexts {
    /// A page of them.
    pub(super) fn page<T>(
        &self,
        offset: usize,
        limit: usize,
        get: impl Fn(i64) -> Option<T>,
    ) -> Page<T> {
        let items = self.0.iter().skip(offset).take(limit).filter_map(|id| get(*id));
        Page { items: items.collect(), total: self.0.len() }
    }
}

/// Searches texts by words.
pub(super) fn search<'a>(
    texts: impl Iterator<Item = IndexedText<'a>>,
    query: &str,
) -> Result<FoundTexts, StoreError> {
    let Some(query) = script::query(query) else { return Ok(FoundTexts::default()) };
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(
        "CREATE VIRTUAL TABLE words USING fts5 (
             text, candidate UNINDEXED, tokenize = 'porter unicode61'
         );
         BEGIN",
    )?;
    for IndexedText { id, text, is_candidate } in texts {
        let words = script::indexed(text);
        connection
            .prepare_cached("INSERT INTO words (rowid, text, candidate) VALUES (?, ?, ?)")?
            .execute(params![id, words.as_deref().unwrap_or(text), is_candidate])?;
    }
    const FROM: &str = "FROM words WHERE words MATCH ?1 AND candidate";
    let mut count = connection.prepare(&format!("SELECT count(*) {FROM}"))?;
    let (words, _) = query.matching(|words| count.query_row([words], |row| row.get(0)))?;
    let mut select = connection.prepare(&format!("SELECT rowid {FROM} ORDER BY rank, rowid"))?;
    let found = select.query_map([words], |row| row.get(0))?;
    Ok(FoundTexts(found.collect::<Result<_, _>>()?))
}
