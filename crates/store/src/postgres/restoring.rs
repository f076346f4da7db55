//! Fills an empty database with the rows of a backup, in one transaction.

use tokio::sync::mpsc;
use tokio_postgres::Client;

use super::connecting::{Connections, DatabaseAddress};
use super::schema;
use super::sql::{Text, TypedArgument, args, argument, execute, get_i64, only_row};
use crate::StoreError;
use crate::moving::{ColumnKind, ColumnValues, EVENTS, MovedTable, RowChunk};

/// Numbers that PostgreSQL gives itself, as a table and its column.
const NUMBERED: [(&str, &str); 4] =
    [("agents", "num"), ("sessions", "num"), ("notes", "id"), ("peers", "num")];

/// A transaction that fills a database. Dropping it changes nothing there.
pub(crate) struct DatabaseFilling {
    sql: Client,
}

impl DatabaseFilling {
    /// Begins with an empty database, whose schema is brought to this version.
    ///
    /// # Errors
    /// When it has data, a server has it open, or it cannot be reached.
    pub(crate) async fn begin(url: &str) -> Result<Self, StoreError> {
        let sql = Connections::new(DatabaseAddress::parse(url)?)?.connect().await?;
        schema::migrate(&sql).await?;
        sql.batch_execute("BEGIN").await?;
        // No server begins to write meanwhile.
        sql.batch_execute("LOCK TABLE nodes, agents, sessions, peers, keys IN EXCLUSIVE MODE")
            .await?;
        let data = "SELECT (SELECT count(*) FROM agents) + (SELECT count(*) FROM sessions)
                         + (SELECT count(*) FROM peers) + (SELECT count(*) FROM keys)";
        if get_i64(&only_row(&sql, data, args![]).await?, 0)? > 0 {
            return Err(StoreError::Invalid(
                "there is data in the database already, and it was left alone: choose an empty \
                 database"
                    .to_owned(),
            ));
        }
        let live = "SELECT count(*) FROM nodes
                    WHERE state = 'live' AND lease_until > clock_timestamp()";
        if get_i64(&only_row(&sql, live, args![]).await?, 0)? > 0 {
            return Err(StoreError::Invalid(
                "a server has the database open; stop it, and start it again when the data is \
                 there"
                    .to_owned(),
            ));
        }
        Ok(Self { sql })
    }

    /// Writes what is received until the sender is gone. Tells of the number of events of each
    /// step.
    pub(crate) async fn write_all(
        &self,
        chunks: &mut mpsc::Receiver<RowChunk>,
        mut written: impl FnMut(u64),
    ) -> Result<(), StoreError> {
        while let Some(chunk) = chunks.recv().await {
            write(&self.sql, &chunk).await?;
            if std::ptr::eq(chunk.table, &EVENTS) {
                written(u64::try_from(chunk.rows).unwrap_or(0));
            }
        }
        Ok(())
    }

    /// Saves everything that was written.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        let count = "UPDATE sessions SET said = messages.count
                     FROM (SELECT session, count(*) AS count FROM said GROUP BY session) AS messages
                     WHERE session = num";
        execute(&self.sql, count, args![]).await?;
        for (table, column) in NUMBERED {
            let next = format!(
                "SELECT setval(pg_get_serial_sequence('{table}', '{column}'),
                               (SELECT coalesce(max({column}), 0) + 1 FROM {table}), false)"
            );
            only_row(&self.sql, &next, args![]).await?;
        }
        self.sql.batch_execute("COMMIT").await?;
        // Searches are planned by what the tables contain.
        self.sql.batch_execute("ANALYZE").await?;
        Ok(())
    }
}

/// Writes rows with one statement.
async fn write(sql: &Client, chunk: &RowChunk) -> Result<(), StoreError> {
    let values: Vec<ColumnArgument<'_>> = chunk.columns.iter().map(ColumnArgument::of).collect();
    let arguments: Vec<TypedArgument<'_>> = values.iter().map(ColumnArgument::typed).collect();
    execute(sql, &insert(chunk.table), &arguments).await?;
    Ok(())
}

/// The statement that writes rows of a table, given by column.
fn insert(table: &MovedTable) -> String {
    let MovedTable { name, columns, on_conflict, .. } = table;
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let (mut arrays, mut values) = (Vec::new(), Vec::new());
    for (number, (name, kind)) in (1..).zip(*columns) {
        let (array, value) = match kind {
            ColumnKind::Text => ("text", String::new()),
            ColumnKind::Number => ("bigint", String::new()),
            ColumnKind::Flag => ("bigint", " != 0".to_owned()),
            ColumnKind::Bytes => ("bytea", String::new()),
        };
        arrays.push(format!("${number}::{array}[]"));
        values.push(format!("one.{name}{value}"));
    }
    let (names, arrays) = (names.join(", "), arrays.join(", "));
    let values = values.join(", ");
    format!(
        "INSERT INTO {name} ({names}) OVERRIDING SYSTEM VALUE
         SELECT {values} FROM unnest({arrays}) AS one ({names}) {on_conflict}"
    )
}

/// A column as an argument of a statement.
enum ColumnArgument<'a> {
    Texts(Vec<Option<Text<'a>>>),
    Numbers(&'a Vec<Option<i64>>),
    Bytes(&'a Vec<Vec<u8>>),
}

impl<'a> ColumnArgument<'a> {
    fn of(values: &'a ColumnValues) -> Self {
        match values {
            ColumnValues::Texts(texts) => {
                Self::Texts(texts.iter().map(|text| text.as_deref().map(Text)).collect())
            }
            ColumnValues::Numbers(numbers) => Self::Numbers(numbers),
            ColumnValues::Bytes(bytes) => Self::Bytes(bytes),
        }
    }

    fn typed(&self) -> TypedArgument<'_> {
        match self {
            Self::Texts(texts) => argument(texts),
            Self::Numbers(numbers) => argument(*numbers),
            Self::Bytes(bytes) => argument(*bytes),
        }
    }
}
