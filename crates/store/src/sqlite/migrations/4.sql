
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
