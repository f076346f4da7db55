
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
