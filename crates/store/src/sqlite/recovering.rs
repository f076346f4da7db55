//! Recovery in SQLite: keeping the text that a crash cut when a session is loaded.

use std::sync::Arc;

use rusqlite::{Connection, params};
use thoughtwire_proto::{SessionId, StreamKind, Timestamp};

use super::logs::append;
use super::row::{RowCache, get_id, row_of};
use super::{Handle, sessions};
use crate::logs::kind_name;
use crate::{Batch, OpenItem, StoreError, StoredSession, recovery};

impl Handle {
    /// Recovers a session. Gives it as it is on disk then.
    pub(super) async fn recover(
        &self,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Option<StoredSession>, StoreError> {
        let rows = Arc::clone(&self.database.rows);
        self.writer().write(move |connection| recover(connection, &rows, &session, now)).await
    }
}

fn recover(
    connection: &Connection,
    rows: &RowCache,
    id: &SessionId,
    now: Timestamp,
) -> Result<Option<StoredSession>, StoreError> {
    let Some(stored) = sessions::read(connection, id)? else { return Ok(None) };
    let open = open_items(connection, &stored)?;
    let (records, state) = recovery::recover(&stored.state, open, now)?;
    if let Some(row) = row_of(connection, id)? {
        connection.prepare_cached("DELETE FROM open_items WHERE session = ?")?.execute([row])?;
    }
    if !records.is_empty() {
        tracing::info!(session = %id, "kept the text of a turn that a crash cut");
        let batch = Batch::new(id.clone(), stored.state.head(), records, state.clone())?;
        append(connection, rows, &batch)?;
    }
    Ok(Some(StoredSession { state, ..stored }))
}

/// Checkpoints of the turn's open items, in the order of their ids.
fn open_items(
    connection: &Connection,
    session: &StoredSession,
) -> Result<Vec<OpenItem>, StoreError> {
    let Some(turn) = session.state.turn().map(|turn| &turn.id) else { return Ok(Vec::new()) };
    let mut select = connection.prepare_cached(
        "SELECT item, kind, text, continues FROM open_items
         WHERE session = (SELECT num FROM sessions WHERE id = ?) AND turn = ? ORDER BY item",
    )?;
    let mut rows = select.query(params![session.id.as_str(), turn.as_str()])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let kinds = [StreamKind::Thought, StreamKind::Message, StreamKind::ToolArgs];
        let Some(kind) = kinds.into_iter().find(|kind| kind_name(*kind) == name) else { continue };
        let (item, text) = (get_id(row, 0)?, row.get(2)?);
        let continued: Option<String> = row.get(3)?;
        let continues = continued.map(|_| get_id(row, 3)).transpose()?;
        items.push(OpenItem { item, turn: turn.clone(), kind, text, continues });
    }
    Ok(items)
}
