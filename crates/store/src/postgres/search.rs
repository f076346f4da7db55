//! Search by words: what is indexed of a text, and how results rank.
//!
//! PostgreSQL finds the texts that contain a word. Words are split, folded and stemmed here, so
//! that they are the same as in the other backends: PostgreSQL's own parser takes addresses,
//! numbers and words with hyphens as units of their own.

use std::collections::HashMap;

use rust_stemmers::{Algorithm, Stemmer};
use thoughtwire_proto::AgentId;
use tokio_postgres::{Client, Row};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::sql::{Text, args, get_count, get_text, rows};
use crate::script::{self, WordQuery};
use crate::{Page, StoreError};

/// Maximum number of words of a text that are indexed: PostgreSQL knows no later positions
/// (<https://www.postgresql.org/docs/current/textsearch-limitations.html>).
const MOST_WORDS: usize = 16_383;

/// Maximum number of positions of one word in a text, by the same source.
const MOST_POSITIONS: usize = 255;

/// Maximum number of characters of a word that are compared.
const MOST_CHARS: usize = 200;

/// How quickly more of the same word counts less, and how much a text's length matters: the usual
/// values of BM25, as in FTS5 (<https://www.sqlite.org/fts5.html#the_bm25_function>).
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The indexed words of a text.
pub(crate) struct IndexedWords {
    /// Words with their positions, in the language of `tsvector`.
    pub(crate) words: String,
    /// Number of words.
    pub(crate) length: i64,
}

impl IndexedWords {
    /// Indexes a text.
    pub(crate) fn of(text: &str) -> Self {
        let indexed = script::indexed(text);
        let words = words(indexed.as_deref().unwrap_or(text));
        let mut positions: HashMap<&str, Vec<String>> = HashMap::new();
        for (at, word) in words.iter().take(MOST_WORDS).enumerate() {
            let of_word = positions.entry(word).or_default();
            if of_word.len() < MOST_POSITIONS {
                of_word.push((at + 1).to_string());
            }
        }
        let entries: Vec<_> = positions
            .into_iter()
            .map(|(word, positions)| format!("'{word}':{}", positions.join(",")))
            .collect();
        Self { words: entries.join(" "), length: i64::try_from(words.len()).unwrap_or(i64::MAX) }
    }
}

/// Splits a text into words without case, accents and endings.
fn words(text: &str) -> Vec<String> {
    let stemmer = Stemmer::create(Algorithm::English);
    let folded: String = text.nfkd().filter(|char| !is_combining_mark(*char)).collect();
    folded
        .to_lowercase()
        .split(|char: char| !char.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| {
            let word: String = word.chars().take(MOST_CHARS).collect();
            stemmer.stem(&word).into_owned()
        })
        .collect()
}

/// A phrase of a search: words that follow one another.
type Phrase = Vec<String>;

fn phrases(search: &[String]) -> Vec<Phrase> {
    search.iter().map(|phrase| words(phrase)).filter(|words| !words.is_empty()).collect()
}

/// Any of some phrases, in the language of `tsquery`.
fn tsquery(phrases: &[Phrase]) -> String {
    let phrase = |words: &Phrase| {
        let words: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        format!("({})", words.join(" <-> "))
    };
    phrases.iter().map(phrase).collect::<Vec<_>>().join(" | ")
}

/// A table with indexed texts.
pub(super) struct SearchedTable {
    /// The table, with what it is joined with.
    pub(super) from: &'static str,
    /// The two numbers that name a row.
    pub(super) key: &'static str,
    /// Order of rows of equal rank, by those numbers.
    pub(super) newest_first: bool,
}

/// The two numbers that name a row of a [`SearchedTable`].
pub(super) type RowKey = (i64, i64);

/// Searches an agent's texts by words: first as they stand, then by parts of runs. Gives a page of
/// row keys, best first.
pub(super) async fn search(
    sql: &Client,
    table: &SearchedTable,
    agent: &AgentId,
    query: &str,
    (offset, limit): (usize, usize),
) -> Result<Page<RowKey>, StoreError> {
    let Some(WordQuery { exact, parts }) = script::query(query) else { return Ok(Page::empty()) };
    let mut found = matches(sql, table, agent, &phrases(&exact)).await?;
    if found.is_empty()
        && let Some(parts) = parts
    {
        found = matches(sql, table, agent, &phrases(&parts)).await?;
    }
    let total = found.len();
    Ok(Page { items: found.into_iter().skip(offset).take(limit).collect(), total })
}

/// Finds the texts with any of some phrases, best first.
async fn matches(
    sql: &Client,
    table: &SearchedTable,
    agent: &AgentId,
    phrases: &[Phrase],
) -> Result<Vec<RowKey>, StoreError> {
    if phrases.is_empty() {
        return Ok(Vec::new());
    }
    let SearchedTable { from, key, .. } = table;
    let statement = format!(
        "SELECT {key}, length,
                (SELECT coalesce(
                    string_agg(lexeme || ':' || array_to_string(positions, ','), ' '), '')
                 FROM unnest(words) WHERE lexeme = ANY ($3))
         FROM {from} WHERE agent = $1 AND words @@ $2::text::tsquery"
    );
    let query = tsquery(phrases);
    let wanted: Vec<_> = phrases.iter().flatten().map(|word| Text(word)).collect();
    let found = rows(sql, &statement, args![Text(agent.as_str()), Text(&query), wanted]).await?;
    let texts = found
        .iter()
        .map(|row| FoundText::read(row, phrases))
        .collect::<Result<Vec<_>, StoreError>>()?;
    let total = rows(
        sql,
        &format!("SELECT count(*) FROM {from} WHERE agent = $1"),
        args![Text(agent.as_str())],
    )
    .await?;
    let total = total.first().map_or(Ok(0), |row| get_count(row, 0))?;
    Ok(ranked(texts, total, phrases.len(), table.newest_first))
}

/// A text that was found.
struct FoundText {
    key: RowKey,
    length: f64,
    /// How often it has each phrase.
    times: Vec<f64>,
}

impl FoundText {
    fn read(row: &Row, phrases: &[Phrase]) -> Result<Self, StoreError> {
        let listed = get_text(row, 3)?;
        let mut positions: HashMap<&str, Vec<u32>> = HashMap::new();
        for entry in listed.split(' ') {
            if let Some((word, at)) = entry.rsplit_once(':') {
                let at = at.split(',').filter_map(|at| at.parse().ok());
                positions.insert(word, at.collect());
            }
        }
        let times = phrases.iter().map(|phrase| f64::from(times(phrase, &positions))).collect();
        Ok(Self { key: (row.try_get(0)?, row.try_get(1)?), length: length(row)?, times })
    }
}

fn length(row: &Row) -> Result<f64, StoreError> {
    // A text is shorter than the numbers that have no exact form here.
    Ok(row.try_get::<_, i64>(2)? as f64)
}

/// Number of times that a text has a phrase.
fn times(phrase: &[String], positions: &HashMap<&str, Vec<u32>>) -> u32 {
    let Some((first, rest)) = phrase.split_first() else { return 0 };
    let Some(starts) = positions.get(first.as_str()) else { return 0 };
    let follows = |start: u32| {
        rest.iter().zip(start + 1..).all(|(word, at)| {
            positions.get(word.as_str()).is_some_and(|places| places.contains(&at))
        })
    };
    let count = starts.iter().filter(|start| follows(**start)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Orders texts by BM25, among a number of texts in all.
fn ranked(texts: Vec<FoundText>, total: usize, phrases: usize, newest_first: bool) -> Vec<RowKey> {
    let count = texts.len().max(1) as f64;
    let average = (texts.iter().map(|text| text.length).sum::<f64>() / count).max(1.0);
    let weights: Vec<f64> = (0..phrases)
        .map(|phrase| {
            let having =
                |text: &&FoundText| text.times.get(phrase).is_some_and(|times| *times > 0.0);
            let with = texts.iter().filter(having).count() as f64;
            // As FTS5: a phrase that most texts have counts a little, not against them.
            ((total as f64 - with + 0.5) / (with + 0.5)).ln().max(1e-6)
        })
        .collect();
    let score = |text: &FoundText| -> f64 {
        let damping = K1 * (1.0 - B + B * text.length / average);
        let times = text.times.iter().zip(&weights);
        times.map(|(times, weight)| weight * times * (K1 + 1.0) / (times + damping)).sum()
    };
    let mut scored: Vec<_> = texts.into_iter().map(|text| (score(&text), text.key)).collect();
    scored.sort_by(|(one, one_key), (other, other_key)| {
        let by_key = one_key.cmp(other_key);
        other.total_cmp(one).then(if newest_first { by_key.reverse() } else { by_key })
    });
    scored.into_iter().map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_no_case_accents_or_endings() {
        assert_eq!(words("Umbrellas, CAFÉ-bought!"), ["umbrella", "cafe", "bought"]);
        let mut entries: Vec<_> =
            IndexedWords::of("tea, milk, Tea").words.split(' ').map(str::to_owned).collect();
        entries.sort();
        assert_eq!(entries, ["'milk':2", "'tea':1,3"]);
    }

    #[test]
    fn a_phrase_counts_where_its_words_follow_one_another() {
        let positions = HashMap::from([("a", vec![1, 4, 7]), ("b", vec![2, 8])]);
        let phrase = ["a".to_owned(), "b".to_owned()];
        assert_eq!(times(&phrase, &positions), 2);
        assert_eq!(times(&phrase[..1], &positions), 3);
    }
}
