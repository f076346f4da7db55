
-- The call that came back with an event, so that looking it up does not read the log.
ALTER TABLE events ADD COLUMN call TEXT;
UPDATE events SET call = body ->> '$.call'
    WHERE body LIKE '%"tool_returned"%' AND json_valid(body) AND body ->> '$.kind' = 'tool_returned';
CREATE INDEX events_by_call ON events (session, call, seq) WHERE call IS NOT NULL;
-- Backups of earlier versions have these in them: every directory makes new ones.
DELETE FROM secrets;
-- Milliseconds since 1970, or of running time, that outlive a restart.
CREATE TABLE clock (name TEXT PRIMARY KEY, millis INTEGER NOT NULL) WITHOUT ROWID;
