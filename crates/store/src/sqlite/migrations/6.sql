
-- When a client selected its chat, and when a chat was archived.
ALTER TABLE peers ADD COLUMN selected_at INTEGER;
ALTER TABLE chats ADD COLUMN archived_at INTEGER;
-- Without keys a Sparky user was a user of its own, `~NAME`. It is a name space of the owner's now.
UPDATE OR IGNORE agents SET user = 'local' WHERE user LIKE '~%';
UPDATE sessions SET user = 'local' WHERE user LIKE '~%' AND agent IN (SELECT id FROM agents WHERE user = 'local');
UPDATE OR IGNORE receipts SET user = 'local' WHERE user LIKE '~%';
UPDATE OR IGNORE chats SET user = 'local' WHERE user LIKE '~%';
UPDATE OR IGNORE peers SET user = 'local' WHERE user LIKE '~%';
