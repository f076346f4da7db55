
-- What opens is not here, only its digest.
CREATE TABLE keys (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, user TEXT NOT NULL, name TEXT, scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER
) WITHOUT ROWID;
CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
