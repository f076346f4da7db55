
-- What was deleted and is in the file yet.
CREATE TABLE erased_sessions (session INTEGER PRIMARY KEY);
CREATE TABLE erased_agents (agent TEXT PRIMARY KEY) WITHOUT ROWID;
