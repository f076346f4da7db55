//! Reads all rows of a backup, for another database.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use thoughtwire_proto::{Event, Role, Timestamp};
use tokio::sync::mpsc;

use super::data_file::DataFile;
use super::{backup, erasing, peers, schema};
use crate::StoreError;
use crate::moving::{ColumnKind, ColumnValues, EVENTS, MovedTable, NOTES, RowChunk, SAID, TABLES};

/// Maximum number of rows of a chunk, and bytes of text from which on it is sent.
const CHUNK_ROWS: usize = 1_000;
const CHUNK_BYTES: usize = 1 << 20;

/// Reads all rows of a backup and sends them. An empty directory takes a copy of it, which is
/// brought to this version's schema first. Blocks; ends early where nobody receives.
pub(crate) fn read_all(
    file: &Path,
    scratch: &Path,
    now: Timestamp,
    chunks: &mpsc::Sender<RowChunk>,
) -> Result<(), StoreError> {
    backup::restore(file, scratch)?;
    let mut connection = DataFile::of(scratch).open_writer()?;
    schema::migrate(&mut connection)?;
    backup::begin_anew(&mut connection)?;
    peers::close_all(&connection, now)?;
    while erasing::erase_deleted(&connection)? {}
    for table in TABLES.iter().chain([&NOTES, &EVENTS]) {
        if !read_table(&connection, table, chunks)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads a table. False where nobody receives any more.
fn read_table(
    connection: &Connection,
    table: &'static MovedTable,
    chunks: &mpsc::Sender<RowChunk>,
) -> Result<bool, StoreError> {
    let mut statement = connection.prepare(table.select)?;
    let mut rows = statement.query([])?;
    let mut chunk = GrowingChunk::new(table);
    let mut said = GrowingChunk::new(&SAID);
    while let Some(row) = rows.next()? {
        for at in 0..row.as_ref().column_count().min(table.columns.len()) {
            chunk.push(at, row.get_ref(at)?)?;
        }
        if std::ptr::eq(table, &EVENTS) {
            let event: Event =
                serde_json::from_str(row.get_ref(4)?.as_str().map_err(|error| broken(&error))?)?;
            if let Some((role, text)) = event.said() {
                let role = match role {
                    Role::User => "user",
                    Role::Assistant => "assistant",
                };
                said.push(0, row.get_ref(0)?)?;
                said.push(1, row.get_ref(1)?)?;
                said.push(2, row.get_ref(6)?)?;
                said.push(3, row.get_ref(2)?)?;
                said.push(4, ValueRef::Text(role.as_bytes()))?;
                said.push(5, ValueRef::Text(text.as_bytes()))?;
                said.end_row();
            }
        }
        chunk.end_row();
        for chunk in [&mut chunk, &mut said] {
            if chunk.is_full() && chunks.blocking_send(chunk.take()).is_err() {
                return Ok(false);
            }
        }
    }
    let sent = [chunk, said]
        .into_iter()
        .all(|mut chunk| chunk.chunk.rows == 0 || chunks.blocking_send(chunk.take()).is_ok());
    Ok(sent)
}

/// A chunk that grows row by row.
struct GrowingChunk {
    chunk: RowChunk,
    bytes: usize,
}

impl GrowingChunk {
    fn new(table: &'static MovedTable) -> Self {
        let values = |(_, kind): &(&str, ColumnKind)| match kind {
            ColumnKind::Text => ColumnValues::Texts(Vec::new()),
            ColumnKind::Number | ColumnKind::Flag => ColumnValues::Numbers(Vec::new()),
            ColumnKind::Bytes => ColumnValues::Bytes(Vec::new()),
        };
        let columns = table.columns.iter().map(values).collect();
        Self { chunk: RowChunk { table, columns, rows: 0 }, bytes: 0 }
    }

    /// Adds a column of the row.
    fn push(&mut self, at: usize, value: ValueRef<'_>) -> Result<(), StoreError> {
        let wrong = || StoreError::Corrupt(format!("a column of {}", self.chunk.table.name));
        match self.chunk.columns.get_mut(at).ok_or_else(wrong)? {
            ColumnValues::Texts(texts) => {
                let text = value.as_str_or_null().map_err(|error| broken(&error))?;
                self.bytes += text.map_or(0, str::len);
                texts.push(text.map(str::to_owned));
            }
            ColumnValues::Numbers(numbers) => {
                numbers.push(value.as_i64_or_null().map_err(|error| broken(&error))?);
            }
            ColumnValues::Bytes(bytes) => {
                let value = value.as_blob().map_err(|error| broken(&error))?;
                self.bytes += value.len();
                bytes.push(value.to_vec());
            }
        }
        Ok(())
    }

    fn end_row(&mut self) {
        self.chunk.rows += 1;
    }

    fn is_full(&self) -> bool {
        self.chunk.rows >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES
    }

    /// Gives the rows so far, and begins again.
    fn take(&mut self) -> RowChunk {
        std::mem::replace(self, Self::new(self.chunk.table)).chunk
    }
}

fn broken(error: &rusqlite::types::FromSqlError) -> StoreError {
    StoreError::Corrupt(error.to_string())
}
