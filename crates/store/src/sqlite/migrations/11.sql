-- Milliseconds without a new record after which a session is deleted; absent for those that stay.
ALTER TABLE sessions ADD COLUMN keep_idle INTEGER;
CREATE INDEX sessions_kept_idle ON sessions (num) WHERE keep_idle IS NOT NULL;
