//! Rows on their way from an SQLite file to another database.

/// Rows of one table, by column.
pub(crate) struct RowChunk {
    /// The table, as PostgreSQL names it.
    pub(crate) table: &'static MovedTable,
    /// Columns in the order of the table's.
    pub(crate) columns: Vec<ColumnValues>,
    /// Number of rows.
    pub(crate) rows: usize,
}

/// Values of one column.
pub(crate) enum ColumnValues {
    Texts(Vec<Option<String>>),
    Numbers(Vec<Option<i64>>),
    Bytes(Vec<Vec<u8>>),
}

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    Text,
    Number,
    /// A number that is 0 or 1 in SQLite.
    Flag,
    Bytes,
}

/// A table that is moved.
pub(crate) struct MovedTable {
    pub(crate) name: &'static str,
    /// Columns in PostgreSQL.
    pub(crate) columns: &'static [(&'static str, ColumnKind)],
    /// The rows in SQLite, with the columns in the same order. Columns behind those of the query
    /// are made here.
    pub(crate) select: &'static str,
    /// The clause for a row that is there already.
    pub(crate) on_conflict: &'static str,
}

use ColumnKind::{Bytes, Flag, Number, Text};

/// Messages of the logs, which are made from the events.
pub(crate) static SAID: MovedTable = MovedTable {
    name: "said",
    columns: &[
        ("session", Number),
        ("seq", Number),
        ("agent", Text),
        ("at", Number),
        ("role", Text),
        ("text", Text),
    ],
    select: "",
    on_conflict: "",
};

/// Events, whose messages go into [`SAID`]. The agent is read with them for that.
pub(crate) static EVENTS: MovedTable = MovedTable {
    name: "events",
    columns: &[
        ("session", Number),
        ("seq", Number),
        ("at", Number),
        ("turn", Text),
        ("body", Text),
        ("call", Text),
    ],
    select: "SELECT session, seq, at, turn, body, call, agent
             FROM events JOIN sessions ON num = session WHERE seq >= first ORDER BY events.id",
    on_conflict: "",
};

/// Notes.
pub(crate) static NOTES: MovedTable = MovedTable {
    name: "notes",
    columns: &[
        ("id", Number),
        ("agent", Text),
        ("at", Number),
        ("text", Text),
        ("source", Text),
        ("digest", Text),
    ],
    select: "SELECT id, agent, at, text, source, digest FROM notes
             WHERE agent IN (SELECT id FROM agents) ORDER BY id",
    on_conflict: "",
};

/// Tables whose rows are moved as they are, but for sessions' node: nobody has them yet.
pub(crate) static TABLES: &[MovedTable] = &[
    MovedTable {
        name: "agents",
        columns: &[
            ("num", Number),
            ("id", Text),
            ("owner", Text),
            ("name", Text),
            ("spec", Text),
            ("main_session", Text),
            ("created_at", Number),
            ("notes", Number),
            ("notes_bytes", Number),
        ],
        select: "SELECT num, id, user, name, spec, main_session, created_at, notes, notes_bytes
                 FROM agents ORDER BY num",
        on_conflict: "",
    },
    MovedTable {
        name: "sessions",
        columns: &[
            ("num", Number),
            ("id", Text),
            ("owner", Text),
            ("agent", Text),
            ("epoch", Text),
            ("first", Number),
            ("head", Number),
            ("state", Text),
            ("running", Flag),
            ("queued", Number),
            ("title", Text),
            ("created_at", Number),
            ("updated_at", Number),
            ("keep_days", Number),
            ("keep_events", Number),
            ("keep_idle", Number),
        ],
        select: "SELECT num, id, user, agent, epoch, first, head, state, running, queued, title,
                        created_at, updated_at, keep_days, keep_events, keep_idle
                 FROM sessions ORDER BY num",
        on_conflict: "",
    },
    MovedTable {
        name: "receipts",
        columns: &[
            ("owner", Text),
            ("session", Number),
            ("id", Text),
            ("digest", Text),
            ("answer", Text),
        ],
        select: "SELECT user, session, id, digest, answer FROM receipts
                 WHERE session = 0 OR session IN (SELECT num FROM sessions)",
        on_conflict: "",
    },
    MovedTable {
        name: "open_items",
        columns: &[
            ("session", Number),
            ("item", Text),
            ("turn", Text),
            ("kind", Text),
            ("text", Text),
            ("continues", Text),
        ],
        select: "SELECT session, item, turn, kind, text, continues FROM open_items
                 WHERE session IN (SELECT num FROM sessions)",
        on_conflict: "",
    },
    MovedTable {
        name: "blocks",
        columns: &[
            ("agent", Text),
            ("label", Text),
            ("text", Text),
            ("most", Number),
            ("description", Text),
        ],
        select: "SELECT agent, label, text, most, description FROM blocks
                 WHERE agent IN (SELECT id FROM agents)",
        on_conflict: "",
    },
    MovedTable {
        name: "vectors",
        columns: &[
            ("texts", Number),
            ("text", Number),
            ("agent", Text),
            ("model", Text),
            ("vector", Bytes),
        ],
        // Messages get other numbers there, so their vectors are made again.
        select: "SELECT texts, text, agent, model, vector FROM vectors
                 WHERE texts = 0 AND text IN (SELECT id FROM notes)
                   AND agent IN (SELECT id FROM agents)",
        on_conflict: "",
    },
    MovedTable {
        name: "outputs",
        columns: &[("session", Number), ("call", Text), ("text", Text)],
        select: "SELECT session, call, text FROM outputs
                 WHERE session IN (SELECT num FROM sessions)",
        on_conflict: "",
    },
    MovedTable {
        name: "kept_replies",
        columns: &[("session", Number), ("seq", Number), ("body", Text)],
        select: "SELECT session, seq, body FROM kept_replies
                 WHERE session IN (SELECT num FROM sessions)",
        on_conflict: "",
    },
    MovedTable {
        name: "peers",
        columns: &[
            ("num", Number),
            ("owner", Text),
            ("wire", Text),
            ("space", Text),
            ("name", Text),
            ("selected", Text),
            ("selected_at", Number),
            ("created_at", Number),
        ],
        select: "SELECT num, user, wire, space, name, selected, selected_at, created_at
                 FROM peers ORDER BY num",
        on_conflict: "",
    },
    MovedTable {
        name: "chats",
        columns: &[
            ("owner", Text),
            ("space", Text),
            ("chat", Text),
            ("session", Text),
            ("archived_at", Number),
        ],
        select: "SELECT user, space, chat, session, archived_at FROM chats",
        on_conflict: "",
    },
    MovedTable {
        name: "peer_chats",
        columns: &[("peer", Number), ("chat", Text)],
        select: "SELECT peer, chat FROM peer_chats",
        on_conflict: "",
    },
    MovedTable {
        name: "proven",
        columns: &[
            ("peer", Number),
            ("session", Text),
            ("connection", Text),
            ("seq", Number),
            ("closed_at", Number),
            ("node", Number),
        ],
        // No node has the connections any more.
        select: "SELECT peer, session, connection, seq, closed_at, 0 FROM proven",
        on_conflict: "",
    },
    MovedTable {
        name: "keys",
        columns: &[
            ("id", Text),
            ("digest", Text),
            ("owner", Text),
            ("name", Text),
            ("scopes", Text),
            ("created_at", Number),
            ("expires_at", Number),
        ],
        select: "SELECT id, digest, user, name, scopes, created_at, expires_at FROM keys",
        on_conflict: "",
    },
    MovedTable {
        name: "clock",
        columns: &[("name", Text), ("millis", Number)],
        select: "SELECT name, millis FROM clock",
        on_conflict: "ON CONFLICT (name) DO UPDATE
                      SET millis = greatest(clock.millis, excluded.millis)",
    },
];
