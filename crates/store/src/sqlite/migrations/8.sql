
-- What a provider wants back with a reply's calls, such as signed reasoning, at the first call's position.
CREATE TABLE kept_replies (
    session INTEGER NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (session, seq)
) WITHOUT ROWID;
