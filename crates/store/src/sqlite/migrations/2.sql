
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
