-- 1

-- Each process that opens the database is a node, with a number of its own: its incarnation.
-- `lease_until` goes by the database's clock.
CREATE TABLE nodes (
    incarnation bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL, url text, version text NOT NULL,
    state text NOT NULL, registered_at timestamptz NOT NULL, lease_until timestamptz NOT NULL
);
CREATE UNIQUE INDEX nodes_live ON nodes (id) WHERE state = 'live';
-- Each flush of a node raises `number` by one, in its own transaction. Whoever declares a node dead
-- closes its fence, and waits for its open flush. A row of its own: renewing a lease waits for no flush.
-- A fence holds on the timeline of its registration.
CREATE TABLE fences (
    incarnation bigint PRIMARY KEY REFERENCES nodes, number bigint NOT NULL, closed boolean NOT NULL,
    timeline text NOT NULL
) WITH (fillfactor = 10);
-- One row, by which a restored or promoted database is known: see lineage.rs. `transaction` wrote the row.
-- Incarnations up to `renewed` are older than the epochs of the sessions.
CREATE TABLE lineage (
    transaction bigint NOT NULL, database bigint NOT NULL, timeline text NOT NULL, synchronous boolean NOT NULL,
    renewed bigint NOT NULL
);
CREATE TABLE agents (
    num bigint GENERATED ALWAYS AS IDENTITY, id text PRIMARY KEY, owner text NOT NULL, name text NOT NULL,
    spec text NOT NULL, main_session text NOT NULL, created_at bigint NOT NULL,
    notes bigint NOT NULL DEFAULT 0, notes_bytes bigint NOT NULL DEFAULT 0, UNIQUE (owner, name)
);
-- `running` and `queued` are derived from `state`. `said` counts the messages of its log in the index.
-- `node` is the incarnation that owns the session, while one does. Room in each page lets an append
-- change its session's row without touching an index. `keep_idle` is the time without a new record, in
-- milliseconds, after which it is deleted.
CREATE TABLE sessions (
    num bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, owner text NOT NULL,
    agent text NOT NULL, epoch text NOT NULL, first bigint NOT NULL, head bigint NOT NULL, state text NOT NULL,
    running boolean NOT NULL, queued bigint NOT NULL, title text, created_at bigint NOT NULL, updated_at bigint NOT NULL,
    keep_days bigint, keep_events bigint, keep_idle bigint, said bigint NOT NULL DEFAULT 0, node bigint
) WITH (fillfactor = 50);
CREATE INDEX sessions_by_owner ON sessions (owner);
CREATE INDEX sessions_by_agent ON sessions (agent);
CREATE INDEX sessions_kept_idle ON sessions (num) WHERE keep_idle IS NOT NULL;
CREATE INDEX sessions_with_work ON sessions (num) WHERE running OR queued > 0;
-- `call` is the call that came back with an event.
CREATE TABLE events (
    session bigint NOT NULL, seq bigint NOT NULL, at bigint NOT NULL, turn text, body text NOT NULL, call text,
    PRIMARY KEY (session, seq)
);
CREATE INDEX events_by_call ON events (session, call, seq) WHERE call IS NOT NULL;
-- `session` is 0 for commands that belong to no session.
CREATE TABLE receipts (
    owner text NOT NULL, session bigint NOT NULL, id text NOT NULL, digest text NOT NULL, answer text NOT NULL,
    PRIMARY KEY (owner, session, id)
);
CREATE TABLE open_items (
    session bigint NOT NULL, item text NOT NULL, turn text NOT NULL, kind text NOT NULL, text text NOT NULL,
    continues text, PRIMARY KEY (session, item)
);
CREATE TABLE blocks (
    agent text NOT NULL, label text NOT NULL, text text NOT NULL, most bigint NOT NULL, description text NOT NULL,
    PRIMARY KEY (agent, label)
);
-- `words` and `length` are what is searched: see search.rs.
CREATE TABLE notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, agent text NOT NULL, at bigint NOT NULL, text text NOT NULL,
    source text, digest text, words tsvector NOT NULL, length bigint NOT NULL
);
CREATE INDEX notes_by_agent ON notes (agent, id);
CREATE UNIQUE INDEX notes_by_digest ON notes (agent, digest) WHERE digest IS NOT NULL;
CREATE INDEX notes_by_word ON notes USING gin (words);
CREATE TABLE note_vectors (note bigint PRIMARY KEY, agent text NOT NULL, model text NOT NULL, vector bytea NOT NULL);
CREATE INDEX note_vectors_by_model ON note_vectors (agent, model);
-- What a tool returned, where only a part of it went into its event.
CREATE TABLE outputs (session bigint NOT NULL, call text NOT NULL, text text NOT NULL, PRIMARY KEY (session, call));
-- What a provider wants back with a reply's calls, at the first call's position.
CREATE TABLE kept_replies (session bigint NOT NULL, seq bigint NOT NULL, body text NOT NULL, PRIMARY KEY (session, seq));
-- What was said, saved with its event.
CREATE TABLE said (
    session bigint NOT NULL, seq bigint NOT NULL, agent text NOT NULL, at bigint NOT NULL, role text NOT NULL,
    text text NOT NULL, words tsvector NOT NULL, length bigint NOT NULL, PRIMARY KEY (session, seq)
);
CREATE INDEX said_by_agent ON said (agent, at);
CREATE INDEX said_by_word ON said USING gin (words);
CREATE TABLE peers (
    num bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner text NOT NULL, wire text NOT NULL, space text NOT NULL,
    name text NOT NULL, selected text, selected_at bigint, created_at bigint NOT NULL, UNIQUE (owner, wire, space, name)
);
CREATE TABLE chats (
    owner text NOT NULL, space text NOT NULL, chat text NOT NULL, session text NOT NULL, archived_at bigint,
    PRIMARY KEY (owner, space, chat)
);
CREATE INDEX chats_by_session ON chats (session);
CREATE TABLE peer_chats (peer bigint NOT NULL, chat text NOT NULL, PRIMARY KEY (peer, chat));
-- `node` is the incarnation that has the connection.
CREATE TABLE proven (
    peer bigint NOT NULL, session text NOT NULL, connection text NOT NULL, seq bigint NOT NULL, closed_at bigint,
    node bigint NOT NULL, PRIMARY KEY (peer, session, connection)
);
CREATE INDEX proven_by_session ON proven (session);
CREATE INDEX proven_open ON proven (closed_at);
CREATE TABLE keys (
    id text PRIMARY KEY, digest text NOT NULL UNIQUE, owner text NOT NULL, name text, scopes text NOT NULL,
    created_at bigint NOT NULL, expires_at bigint
);
CREATE TABLE secrets (name text PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE erased_sessions (session bigint PRIMARY KEY);
CREATE TABLE erased_agents (agent text PRIMARY KEY);
-- What one node changed, for the others: kept for some minutes. `target` is the only node that has to
-- learn of it, if that is one. `node` is 0 where a dead node is spoken for.
CREATE TABLE changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, node bigint NOT NULL, target bigint,
    at timestamptz NOT NULL DEFAULT clock_timestamp(), body text NOT NULL
);
-- Work that only one node does at a time.
CREATE TABLE claims (work text PRIMARY KEY, node bigint NOT NULL, until timestamptz NOT NULL);
CREATE TABLE clock (name text PRIMARY KEY, millis bigint NOT NULL);
