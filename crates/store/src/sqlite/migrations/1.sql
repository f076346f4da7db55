
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
