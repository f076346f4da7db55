//! The file's schema, as numbered migrations that only go forward.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use crate::{StoreError, script};

/// Migration N takes a file from `user_version` N-1 to N. Never edited once released; only added to.
const MIGRATIONS: [&str; 9] = [
    "
CREATE TABLE agents (
    num INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, user TEXT NOT NULL, name TEXT NOT NULL,
    spec TEXT NOT NULL, main_session TEXT NOT NULL, created_at INTEGER NOT NULL, UNIQUE (user, name)
);
-- `running` and `queued` are derived from `state`, so that a start finds what is left to do without reading all.
CREATE TABLE sessions (
    num INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, user TEXT NOT NULL, agent TEXT NOT NULL, epoch TEXT NOT NULL,
    first INTEGER NOT NULL, head INTEGER NOT NULL, state TEXT NOT NULL, running INTEGER NOT NULL, queued INTEGER NOT NULL,
    title TEXT, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user, updated_at);
CREATE INDEX sessions_by_agent ON sessions (agent);
CREATE INDEX sessions_with_work ON sessions (num) WHERE running OR queued;
-- Append-ordered; keyed by session first, the same engine was measured three times slower.
CREATE TABLE events (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, turn TEXT, body TEXT NOT NULL
);
CREATE UNIQUE INDEX events_by_seq ON events (session, seq);
-- `session` is 0 for commands that belong to no session.
CREATE TABLE receipts (
    user TEXT NOT NULL, session INTEGER NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL, answer TEXT NOT NULL,
    PRIMARY KEY (user, session, id)
) WITHOUT ROWID;
CREATE TABLE open_items (
    session INTEGER NOT NULL, item TEXT NOT NULL, turn TEXT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (session, item)
) WITHOUT ROWID;
CREATE TABLE blocks (
    agent TEXT NOT NULL, label TEXT NOT NULL, text TEXT NOT NULL, most INTEGER NOT NULL, description TEXT NOT NULL,
    PRIMARY KEY (agent, label)
) WITHOUT ROWID;
CREATE TABLE notes (id INTEGER PRIMARY KEY, agent TEXT NOT NULL, at INTEGER NOT NULL, text TEXT NOT NULL);
CREATE INDEX notes_by_agent ON notes (agent);
CREATE VIRTUAL TABLE notes_words USING fts5 (text, content = 'notes', content_rowid = 'id', tokenize = 'porter unicode61');
-- What was said, by event; filled behind the log up to `indexed`.
CREATE TABLE said (
    id INTEGER PRIMARY KEY, agent TEXT NOT NULL, session INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,
    role TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX said_by_agent ON said (agent, at);
CREATE INDEX said_by_session ON said (session);
CREATE VIRTUAL TABLE said_words USING fts5 (text, content = 'said', content_rowid = 'id', tokenize = 'porter unicode61');
CREATE TABLE indexed (id INTEGER NOT NULL);
INSERT INTO indexed VALUES (0);
CREATE TABLE peers (
    num INTEGER PRIMARY KEY, user TEXT NOT NULL, wire TEXT NOT NULL, space TEXT NOT NULL, name TEXT NOT NULL,
    selected TEXT, created_at INTEGER NOT NULL, UNIQUE (user, wire, space, name)
);
CREATE TABLE chats (
    user TEXT NOT NULL, space TEXT NOT NULL, chat TEXT NOT NULL, session TEXT NOT NULL, PRIMARY KEY (user, space, chat)
) WITHOUT ROWID;
CREATE TABLE peer_chats (peer INTEGER NOT NULL, chat TEXT NOT NULL, PRIMARY KEY (peer, chat)) WITHOUT ROWID;
CREATE TABLE proven (
    peer INTEGER NOT NULL, session TEXT NOT NULL, connection TEXT NOT NULL, seq INTEGER NOT NULL, closed_at INTEGER,
    PRIMARY KEY (peer, session, connection)
) WITHOUT ROWID;
CREATE INDEX proven_open ON proven (closed_at);
",
    "
-- What was imported is known again by its digest; a vector is of one model, named beside it.
ALTER TABLE notes ADD COLUMN source TEXT;
ALTER TABLE notes ADD COLUMN digest TEXT;
CREATE UNIQUE INDEX notes_by_digest ON notes (agent, digest) WHERE digest IS NOT NULL;
CREATE TABLE note_vectors (note INTEGER PRIMARY KEY, agent TEXT NOT NULL, model TEXT NOT NULL, vector BLOB NOT NULL);
CREATE INDEX note_vectors_by_model ON note_vectors (agent, model);
-- What a tool returned, where only a part of it went into its event.
CREATE TABLE outputs (
    session INTEGER NOT NULL, call TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (session, call)
) WITHOUT ROWID;
",
    "
-- What opens is not here, only its digest.
CREATE TABLE keys (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, user TEXT NOT NULL, name TEXT, scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER
) WITHOUT ROWID;
CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
",
    "
-- A deleted session's number is never another's: who still reads the one must not be shown the other.
-- `keep_…` is how much of the log is kept; what is absent is as the agent's settings have it.
CREATE TABLE numbered_sessions (
    num INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, user TEXT NOT NULL, agent TEXT NOT NULL, epoch TEXT NOT NULL,
    first INTEGER NOT NULL, head INTEGER NOT NULL, state TEXT NOT NULL, running INTEGER NOT NULL, queued INTEGER NOT NULL,
    title TEXT, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, keep_days INTEGER, keep_events INTEGER
);
INSERT INTO numbered_sessions SELECT *, NULL, NULL FROM sessions;
DROP TABLE sessions;
ALTER TABLE numbered_sessions RENAME TO sessions;
CREATE INDEX sessions_by_user ON sessions (user, updated_at);
CREATE INDEX sessions_by_agent ON sessions (agent);
CREATE INDEX sessions_with_work ON sessions (num) WHERE running OR queued;
-- Counts that every prompt has: how many notes an agent has and bytes of text in them, how many things were said.
ALTER TABLE agents ADD COLUMN notes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN notes_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN said INTEGER NOT NULL DEFAULT 0;
UPDATE agents SET
    notes = (SELECT count(*) FROM notes WHERE agent = agents.id),
    notes_bytes = (SELECT coalesce(sum(octet_length(text)), 0) FROM notes WHERE agent = agents.id),
    said = (SELECT count(*) FROM said WHERE agent = agents.id);
-- What is deleted leaves no words behind in what is searched.
INSERT INTO notes_words (notes_words, rank) VALUES ('secure-delete', 1);
INSERT INTO said_words (said_words, rank) VALUES ('secure-delete', 1);
",
    "
-- What was deleted and is in the file yet.
CREATE TABLE erased_sessions (session INTEGER PRIMARY KEY);
CREATE TABLE erased_agents (agent TEXT PRIMARY KEY) WITHOUT ROWID;
",
    "
-- When a client selected its chat, and when a chat was archived.
ALTER TABLE peers ADD COLUMN selected_at INTEGER;
ALTER TABLE chats ADD COLUMN archived_at INTEGER;
-- Without keys a Sparky user was a user of its own, `~NAME`. It is a name space of the owner's now.
UPDATE OR IGNORE agents SET user = 'local' WHERE user LIKE '~%';
UPDATE sessions SET user = 'local' WHERE user LIKE '~%' AND agent IN (SELECT id FROM agents WHERE user = 'local');
UPDATE OR IGNORE receipts SET user = 'local' WHERE user LIKE '~%';
UPDATE OR IGNORE chats SET user = 'local' WHERE user LIKE '~%';
UPDATE OR IGNORE peers SET user = 'local' WHERE user LIKE '~%';
",
    "
-- The call that came back with an event, so that looking it up does not read the log.
ALTER TABLE events ADD COLUMN call TEXT;
UPDATE events SET call = body ->> '$.call'
    WHERE body LIKE '%\"tool_returned\"%' AND json_valid(body) AND body ->> '$.kind' = 'tool_returned';
CREATE INDEX events_by_call ON events (session, call, seq) WHERE call IS NOT NULL;
-- Backups of earlier versions have these in them: every directory makes new ones.
DELETE FROM secrets;
-- Milliseconds since 1970, or of running time, that outlive a restart.
CREATE TABLE clock (name TEXT PRIMARY KEY, millis INTEGER NOT NULL) WITHOUT ROWID;
",
    "
-- What a provider wants back with a reply's calls, such as signed reasoning, at the first call's position.
CREATE TABLE kept_replies (
    session INTEGER NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (session, seq)
) WITHOUT ROWID;
",
    "
-- `words` is what is indexed where that is not the text itself: scripts without spaces, and other
-- forms of the same letters.
ALTER TABLE said ADD COLUMN words TEXT;
ALTER TABLE notes ADD COLUMN words TEXT;
UPDATE said SET words = indexed_text(text) WHERE indexed_text(text) IS NOT NULL;
UPDATE notes SET words = indexed_text(text) WHERE indexed_text(text) IS NOT NULL;
DROP TABLE said_words;
DROP TABLE notes_words;
CREATE VIEW said_texts (id, text) AS SELECT id, coalesce(words, text) FROM said;
CREATE VIEW notes_texts (id, text) AS SELECT id, coalesce(words, text) FROM notes;
CREATE VIRTUAL TABLE said_words USING fts5 (
    text, content = 'said_texts', content_rowid = 'id', tokenize = 'porter unicode61'
);
CREATE VIRTUAL TABLE notes_words USING fts5 (
    text, content = 'notes_texts', content_rowid = 'id', tokenize = 'porter unicode61'
);
INSERT INTO said_words (said_words) VALUES ('rebuild');
INSERT INTO notes_words (notes_words) VALUES ('rebuild');
INSERT INTO said_words (said_words, rank) VALUES ('secure-delete', 1);
INSERT INTO notes_words (notes_words, rank) VALUES ('secure-delete', 1);
",
];

/// The schema of a file, which must not be newer than ours; 0 where there is none.
pub(super) fn check(connection: &Connection) -> Result<i64, StoreError> {
    let known = MIGRATIONS.len() as i64;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known { Err(StoreError::Newer { found, known }) } else { Ok(found) }
}

/// Brings a file to the newest schema.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let found = check(connection)?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("indexed_text", 1, flags, |context| {
        Ok(script::indexed(&context.get::<String>(0)?))
    })?;
    for (number, migration) in (1_i64..).zip(MIGRATIONS).filter(|(number, _)| *number > found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_keep_their_numbers_and_a_deleted_ones_is_not_given_again() {
        let mut connection = Connection::open_in_memory().unwrap();
        for (number, migration) in (1_i64..).zip(MIGRATIONS).take(3) {
            connection.execute_batch(migration).unwrap();
            connection.pragma_update(None, "user_version", number).unwrap();
        }
        let insert = |connection: &Connection, id: &str| {
            connection
                .execute(
                    "INSERT INTO sessions (id, user, agent, epoch, first, head, state, running, queued, created_at, updated_at)
                     VALUES (?, 'local', 'a-1', 'e-1', 1, 0, '', 0, 0, 0, 0)",
                    [id],
                )
                .unwrap();
            connection.last_insert_rowid()
        };
        let old = [insert(&connection, "s-1"), insert(&connection, "s-2")];
        migrate(&mut connection).unwrap();
        let kept: Vec<i64> = connection
            .prepare("SELECT num FROM sessions ORDER BY id")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .flatten()
            .collect();
        assert_eq!(kept, old);
        connection.execute("DELETE FROM sessions WHERE id = 's-2'", []).unwrap();
        assert_eq!(insert(&connection, "s-3"), old[1] + 1);
    }
    #[test]
    fn what_a_sparky_user_had_without_keys_is_the_owners() {
        let mut connection = Connection::open_in_memory().unwrap();
        for (number, migration) in (1_i64..).zip(MIGRATIONS).take(5) {
            connection.execute_batch(migration).unwrap();
            connection.pragma_update(None, "user_version", number).unwrap();
        }
        connection
            .execute_batch(
                "INSERT INTO agents (id, user, name, spec, main_session, created_at) VALUES
                     ('a-1', '~u1', 'sparky:u1', '', 's-1', 0), ('a-2', 'ada', 'sparky', '', 's-2', 0);
                 INSERT INTO sessions (id, user, agent, epoch, first, head, state, running, queued, created_at, updated_at)
                 VALUES ('s-1', '~u1', 'a-1', 'e', 1, 0, '', 0, 0, 0, 0), ('s-2', 'ada', 'a-2', 'e', 1, 0, '', 0, 0, 0, 0);
                 INSERT INTO chats (user, space, chat, session) VALUES ('~u1', 'u1', 'c1', 's-1');
                 INSERT INTO peers (user, wire, space, name, selected, created_at) VALUES ('~u1', 'sparky', 'u1', 'p', 'c1', 0);",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        for (table, users) in [
            ("agents", &["ada", "local"][..]),
            ("sessions", &["ada", "local"]),
            ("chats", &["local"]),
            ("peers", &["local"]),
        ] {
            let found: Vec<String> = connection
                .prepare(&format!("SELECT user FROM {table} ORDER BY user"))
                .unwrap()
                .query_map([], |row| row.get(0))
                .unwrap()
                .flatten()
                .collect();
            assert_eq!(found, users, "{table}");
        }
    }
}
