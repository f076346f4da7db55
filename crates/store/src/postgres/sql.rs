//! Statements: their arguments, their columns, and text as PostgreSQL can hold it.
//!
//! Every statement is sent with the types of its arguments and without a name. Named statements
//! belong to one connection of the database, which a pooler in transaction mode does not keep.

use std::error::Error;
use std::pin::Pin;

use bytes::BytesMut;
use thoughtwire_proto::{Id, Record, Seq, Timestamp};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Row};

use crate::StoreError;

/// Work on a connection.
pub(super) type SqlFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Columns of a record, for [`record`].
pub(super) const RECORD: &str = "seq, at, turn, body";

/// Text as an argument. PostgreSQL's text cannot contain the character NUL, which a message of a
/// person or a model can: it is stored as [`ESCAPE`] and a letter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a>(pub(super) &'a str);

/// First character of a stored pair. "Substitute" in ASCII.
const ESCAPE: char = '\u{1a}';

/// The pairs for NUL and for [`ESCAPE`] itself.
const NUL_PAIR: &str = "\u{1a}0";
const ESCAPE_PAIR: &str = "\u{1a}1";

impl ToSql for Text<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let mut rest = self.0;
        while let Some((before, after)) = rest.split_once(['\0', ESCAPE]) {
            out.extend_from_slice(before.as_bytes());
            let is_nul = rest.as_bytes().get(before.len()) == Some(&0);
            out.extend_from_slice(if is_nul { NUL_PAIR } else { ESCAPE_PAIR }.as_bytes());
            rest = after;
        }
        out.extend_from_slice(rest.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TEXT
    }

    to_sql_checked!();
}

/// The text that a [`Text`] was stored for.
fn unescaped(stored: String) -> String {
    if !stored.contains(ESCAPE) {
        return stored;
    }
    stored.replace(NUL_PAIR, "\0").replace(ESCAPE_PAIR, "\u{1a}")
}

/// A type of arguments, with its name in PostgreSQL.
pub(super) trait Argument: ToSql + Sync {
    /// The type in PostgreSQL.
    const TYPE: Type;
}

macro_rules! argument_types {
    ($($rust:ty => $sql:ident),* $(,)?) => {
        $(impl Argument for $rust { const TYPE: Type = Type::$sql; })*
    };
}

argument_types! {
    Text<'_> => TEXT,
    Option<Text<'_>> => TEXT,
    Vec<Text<'_>> => TEXT_ARRAY,
    Vec<Option<Text<'_>>> => TEXT_ARRAY,
    i64 => INT8,
    Option<i64> => INT8,
    Vec<i64> => INT8_ARRAY,
    Vec<Option<i64>> => INT8_ARRAY,
    bool => BOOL,
    Vec<bool> => BOOL_ARRAY,
    Vec<u8> => BYTEA,
    Vec<Vec<u8>> => BYTEA_ARRAY,
}

/// An argument with its type.
pub(super) type TypedArgument<'a> = (&'a (dyn ToSql + Sync), Type);

/// Gives an argument its type.
pub(super) fn argument<T: Argument>(value: &T) -> TypedArgument<'_> {
    (value, T::TYPE)
}

/// The arguments of a statement.
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::postgres::sql::argument(&$value)),*] };
}
pub(super) use args;

/// Runs a statement. Gives its rows.
pub(super) async fn rows(
    sql: &Client,
    statement: &str,
    arguments: &[TypedArgument<'_>],
) -> Result<Vec<Row>, StoreError> {
    Ok(sql.query_typed(statement, arguments).await?)
}

/// Runs a statement. Gives its first row.
pub(super) async fn first_row(
    sql: &Client,
    statement: &str,
    arguments: &[TypedArgument<'_>],
) -> Result<Option<Row>, StoreError> {
    Ok(rows(sql, statement, arguments).await?.into_iter().next())
}

/// Runs a statement that gives one row.
pub(super) async fn only_row(
    sql: &Client,
    statement: &str,
    arguments: &[TypedArgument<'_>],
) -> Result<Row, StoreError> {
    let row = first_row(sql, statement, arguments).await?;
    row.ok_or_else(|| StoreError::Corrupt("a statement gave no row".to_owned()))
}

/// Runs a statement. Gives the number of rows that it changed.
pub(super) async fn execute(
    sql: &Client,
    statement: &str,
    arguments: &[TypedArgument<'_>],
) -> Result<u64, StoreError> {
    Ok(sql.execute_typed(statement, arguments).await?)
}

/// A number as PostgreSQL holds it. Larger ones are cut.
pub(super) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A limit or an offset as PostgreSQL holds it.
pub(super) fn count_to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Reads a number.
pub(super) fn get_i64(row: &Row, at: usize) -> Result<i64, StoreError> {
    Ok(row.try_get(at)?)
}

/// Reads a number that is not negative.
pub(super) fn get_u64(row: &Row, at: usize) -> Result<u64, StoreError> {
    Ok(u64::try_from(get_i64(row, at)?).unwrap_or(0))
}

/// Reads a number of things.
pub(super) fn get_count(row: &Row, at: usize) -> Result<usize, StoreError> {
    Ok(usize::try_from(get_i64(row, at)?).unwrap_or(0))
}

/// Reads a position.
pub(super) fn get_seq(row: &Row, at: usize) -> Result<Seq, StoreError> {
    get_u64(row, at).map(Seq)
}

/// Reads an instant.
pub(super) fn get_time(row: &Row, at: usize) -> Result<Timestamp, StoreError> {
    get_i64(row, at).map(Timestamp::from_millis)
}

/// Reads an instant that may be absent.
pub(super) fn find_time(row: &Row, at: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.try_get::<_, Option<i64>>(at)?.map(Timestamp::from_millis))
}

/// Reads a text.
pub(super) fn get_text(row: &Row, at: usize) -> Result<String, StoreError> {
    Ok(unescaped(row.try_get(at)?))
}

/// Reads a text that may be absent.
pub(super) fn find_text(row: &Row, at: usize) -> Result<Option<String>, StoreError> {
    Ok(row.try_get::<_, Option<String>>(at)?.map(unescaped))
}

/// Reads an id.
pub(super) fn get_id<K>(row: &Row, at: usize) -> Result<Id<K>, StoreError> {
    Id::new(get_text(row, at)?).map_err(|bad| StoreError::Corrupt(bad.to_string()))
}

/// Reads a value that is stored as JSON.
pub(super) fn get_json<T: serde::de::DeserializeOwned>(
    row: &Row,
    at: usize,
) -> Result<T, StoreError> {
    Ok(serde_json::from_str(&get_text(row, at)?)?)
}

/// Reads a record from its [`RECORD`] columns.
pub(super) fn record(row: &Row) -> Result<Record, StoreError> {
    let turn = find_text(row, 2)?.map(Id::new).transpose();
    Ok(Record {
        seq: get_seq(row, 0)?,
        at: get_time(row, 1)?,
        turn: turn.map_err(|bad| StoreError::Corrupt(bad.to_string()))?,
        event: get_json(row, 3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_nul_comes_back_as_it_was() {
        for text in ["", "tea", "\0", "a\0b\u{1a}0\0", "\u{1a}\u{1a}1", "é\0é"] {
            let mut stored = BytesMut::new();
            Text(text).to_sql(&Type::TEXT, &mut stored).unwrap();
            assert!(!stored.contains(&0), "{text:?}");
            let stored = String::from_utf8(stored.to_vec()).unwrap();
            assert_eq!(unescaped(stored), text);
        }
    }
}
