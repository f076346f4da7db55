-- Searches are answered from indexes in memory, one for each agent: see searching.rs.
DROP TABLE said_words;
DROP TABLE notes_words;
DROP VIEW said_texts;
DROP VIEW notes_texts;
ALTER TABLE said DROP COLUMN words;
ALTER TABLE notes DROP COLUMN words;
CREATE INDEX said_in_order ON said (agent);
-- Rises when messages of an agent are deleted: an index that has them is made anew.
ALTER TABLE agents ADD COLUMN erased INTEGER NOT NULL DEFAULT 0;
-- `texts` is 0 for notes and 1 for messages. A vector that is set again gets a new number.
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY AUTOINCREMENT, agent TEXT NOT NULL, texts INTEGER NOT NULL, text INTEGER NOT NULL,
    model TEXT NOT NULL, vector BLOB NOT NULL, UNIQUE (texts, text)
);
CREATE INDEX vectors_by_agent ON vectors (agent, texts, id);
INSERT INTO vectors (agent, texts, text, model, vector)
    SELECT agent, 0, note, model, vector FROM note_vectors ORDER BY note;
DROP TABLE note_vectors;
