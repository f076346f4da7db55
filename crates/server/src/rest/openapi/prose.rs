//! Prose of the operations below `/v1`: what their types cannot tell.

use serde_json::{Value, json};

/// The prose of one operation.
pub(super) struct Prose {
    /// Method and path.
    pub(super) route: &'static str,
    /// Name of the operation, unique in the document.
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: Option<&'static str>,
    /// Descriptions of the answers by status.
    pub(super) answers: Vec<(u16, &'static str)>,
    /// Example of the request's body.
    pub(super) example: Option<Value>,
    /// Names and descriptions of headers of the request.
    pub(super) headers: Vec<(&'static str, &'static str)>,
    /// Media type and schema of an answer that is no JSON.
    pub(super) content: Option<(&'static str, Value)>,
}

impl Prose {
    pub(super) fn new(
        route: &'static str,
        id: &'static str,
        tag: &'static str,
        summary: &'static str,
    ) -> Self {
        let (answers, headers) = (Vec::new(), Vec::new());
        let (description, example, content) = (None, None, None);
        Self { route, id, tag, summary, description, answers, example, headers, content }
    }

    pub(super) fn answer(mut self, status: u16, description: &'static str) -> Self {
        self.answers.push((status, description));
        self
    }

    fn detail(mut self, description: &'static str) -> Self {
        self.description = Some(description);
        self
    }

    fn example(mut self, example: Value) -> Self {
        self.example = Some(example);
        self
    }

    fn header(mut self, name: &'static str, description: &'static str) -> Self {
        self.headers.push((name, description));
        self
    }

    fn content(mut self, kind: &'static str, schema: Value) -> Self {
        self.content = Some((kind, schema));
        self
    }
}

const NO_KEY: &str = "It takes no `Idempotency-Key`.";

/// The prose of every operation below `/v1`, and of `/metrics`.
pub(super) fn native() -> Vec<Prose> {
    [server(), keys(), agents(), memory(), sessions(), inputs()].into_iter().flatten().collect()
}

fn server() -> Vec<Prose> {
    let text = json!({"type": "string"});
    vec![
        Prose::new("get /v1/openapi.json", "openapi", "server", "This document")
            .answer(200, "A description of the REST interface.")
            .content("application/json", json!({"type": "object"})),
        Prose::new("get /metrics", "metrics", "server", "Metrics of the whole server")
            .answer(200, "OpenMetrics text.")
            .content("application/openmetrics-text", text),
        Prose::new("get /v1/backup", "backup", "server", "A copy of all data")
            .answer(200, "One file, with the data of one moment, for `thoughtwire restore`.")
            .content("application/vnd.sqlite3", json!({})),
        Prose::new("get /v1/nodes", "listNodes", "server", "List the servers on this data")
            .detail("Servers share data that is in a database. A data directory has one server.")
            .answer(200, "The nodes, with their leases."),
    ]
}

fn keys() -> Vec<Prose> {
    vec![
        Prose::new("get /v1/whoami", "whoami", "keys", "The caller and its permissions")
            .answer(200, "The caller."),
        Prose::new("post /v1/login", "login", "keys", "Exchange a key for a cookie")
            .detail(NO_KEY)
            .answer(200, "An http-only cookie for 12 hours, for pages of this server."),
        Prose::new("post /v1/logout", "logout", "keys", "Have the browser delete the cookie")
            .detail(NO_KEY)
            .answer(204, "The cookie's replacement has expired."),
        Prose::new("post /v1/tickets", "makeTicket", "keys", "Make a ticket for one connection")
            .detail(NO_KEY)
            .answer(201, "A credential that opens one connection, as `?ticket=`."),
        Prose::new("get /v1/keys", "listKeys", "keys", "List all keys")
            .answer(200, "The keys without their secrets."),
        Prose::new("post /v1/keys", "addKey", "keys", "Make a key")
            .detail(NO_KEY)
            .example(json!({"user": "ada", "scopes": ["chat"], "expires_in_seconds": 86400}))
            .answer(201, "The key and its secret, which is shown only once."),
        Prose::new("post /v1/keys/rotate", "rotateKeys", "keys", "End all logins and tickets")
            .detail(
                "Replaces the secret that cookies are signed with. Connections that use a cookie \
                 are closed. Keys stay as they are. It takes no `Idempotency-Key`.",
            )
            .answer(204, "All logins and tickets have ended."),
        Prose::new("delete /v1/keys/{key}", "revokeKey", "keys", "Revoke a key")
            .detail("Connections that use the key are closed.")
            .answer(204, "The key is revoked."),
    ]
}

fn agents() -> Vec<Prose> {
    let spec = json!({"name": "ada", "persona": "You are Ada."});
    vec![
        Prose::new("get /v1/agents", "listAgents", "agents", "List the user's agents")
            .answer(200, "The agents."),
        Prose::new(
            "post /v1/agents",
            "createAgent",
            "agents",
            "Make an agent and its main session",
        )
        .detail(
            "A key with only the scope `chat` may make the agent `main` with nothing but its \
                 name. If that agent exists, the answer is the existing one.",
        )
        .example(spec)
        .answer(201, "The agent."),
        Prose::new("get /v1/agents/{agent}", "showAgent", "agents", "Show an agent in full")
            .answer(200, "The agent, its memory and its tools."),
        Prose::new("patch /v1/agents/{agent}", "editAgent", "agents", "Change an agent's settings")
            .example(json!({"model": "offline", "permissions": {"calculator": "ask"}}))
            .answer(200, "The agent."),
        Prose::new("delete /v1/agents/{agent}", "deleteAgent", "agents", "Delete an agent")
            .detail("Its sessions and its memory are deleted as well.")
            .answer(204, "The agent is deleted."),
        Prose::new("get /v1/agents/{agent}/export", "exportAgent", "agents", "Export an agent")
            .answer(200, "Settings and memory; with `history` the logs of its sessions as well."),
        Prose::new("post /v1/import", "importAgent", "agents", "Import an agent from a file")
            .answer(201, "The new agent."),
        Prose::new("get /v1/presets", "listPresets", "agents", "List texts for new agents")
            .answer(200, "Texts that an agent's `persona` and `human` blocks can begin with."),
    ]
}

fn memory() -> Vec<Prose> {
    let edit = json!({"text": "Her name is Ada."});
    let note = json!({"text": "The cellar key hangs behind the clock.", "source": "house.md"});
    vec![
        Prose::new("get /v1/agents/{agent}/blocks", "listBlocks", "memory", "List core memory")
            .answer(200, "The blocks."),
        Prose::new(
            "put /v1/agents/{agent}/blocks/{label}",
            "putBlock",
            "memory",
            "Edit a block, or make one",
        )
        .detail("An absent key stays. A text beyond the limit is refused. Same as `PATCH`.")
        .example(edit.clone())
        .answer(200, "The block as it is now."),
        Prose::new(
            "patch /v1/agents/{agent}/blocks/{label}",
            "editBlock",
            "memory",
            "Edit a block, or make one",
        )
        .detail("An absent key stays. A text beyond the limit is refused.")
        .example(edit)
        .answer(200, "The block as it is now."),
        Prose::new(
            "delete /v1/agents/{agent}/blocks/{label}",
            "deleteBlock",
            "memory",
            "Delete a block",
        )
        .answer(204, "The block is deleted."),
        Prose::new("get /v1/agents/{agent}/recall", "searchRecall", "memory", "Search messages")
            .answer(200, "Messages of all of the agent's sessions, the best match first."),
        Prose::new(
            "get /v1/agents/{agent}/archival",
            "searchArchival",
            "memory",
            "Search notes, or page through all",
        )
        .answer(200, "Matches by words and by meaning; without `query` all notes, in order."),
        Prose::new("post /v1/agents/{agent}/archival", "addNotes", "memory", "Add notes")
            .detail("All notes are added, or none.")
            .example(json!({"notes": [note]}))
            .answer(201, "The number of notes that were added."),
    ]
}

fn sessions() -> Vec<Prose> {
    vec![
        Prose::new("get /v1/sessions", "listSessions", "sessions", "List the user's sessions")
            .answer(200, "The sessions, newest activity first."),
        Prose::new("post /v1/sessions", "createSession", "sessions", "Open a session")
            .example(json!({"agent": "ada", "title": "Tea"}))
            .answer(201, "The session's id."),
        Prose::new("get /v1/sessions/{session}", "showSession", "sessions", "Show a session")
            .answer(200, "The session."),
        Prose::new("patch /v1/sessions/{session}", "editSession", "sessions", "Change a session")
            .detail("Changes the title, or how long the log is kept.")
            .example(json!({"title": "Tea", "keep_days": 90}))
            .answer(200, "The session is changed. The keys are present if there was a title."),
        Prose::new(
            "delete /v1/sessions/{session}",
            "deleteSession",
            "sessions",
            "Delete a session",
        )
        .detail("Its log is deleted as well. An agent's main session is refused.")
        .answer(204, "The session is deleted."),
        Prose::new("get /v1/sessions/{session}/events", "readEvents", "events", "Read events")
            .detail(
                "With `Accept: text/event-stream` the answer is a stream of events as they come.",
            )
            .header(
                "Last-Event-ID",
                "The `id` of the event behind which a stream continues: `EPOCH:SEQ`, or `SEQ` \
                 alone. It overrides `lastEventId` and `after`. If the epoch is another one, or \
                 the position is beyond the log, the stream begins where the log does and says so.",
            )
            .answer(200, "A page of events, or server-sent events without end."),
        Prose::new("get /v1/sessions/{session}/calls", "listCalls", "events", "List calls")
            .detail(
                "A page may have fewer calls than `limit`; the first page without calls is the \
                 last one.",
            )
            .answer(200, "A page of the session's calls with their states, oldest first."),
        Prose::new(
            "get /v1/sessions/{session}/calls/{call}/output",
            "readOutput",
            "events",
            "Read the whole output of a call",
        )
        .answer(200, "The output, of which the call's event may have only a part."),
    ]
}

fn inputs() -> Vec<Prose> {
    vec![
        Prose::new(
            "get /v1/sessions/{session}/inputs",
            "listInputs",
            "inputs",
            "List queued inputs",
        )
        .answer(200, "The inputs that wait for their turn, in order."),
        Prose::new("post /v1/sessions/{session}/inputs", "send", "inputs", "Send an input")
            .example(json!({"text": "what is 6*7?"}))
            .answer(
                200,
                "The turn has ended: the input and all events of its turn. With `trimmed`, \
                 retention deleted some or all of them.",
            )
            .answer(202, "The input is on disk. Its turn runs or waits."),
        Prose::new(
            "delete /v1/sessions/{session}/inputs/{input}",
            "withdraw",
            "inputs",
            "Withdraw a queued input",
        )
        .answer(200, "The input is withdrawn."),
        Prose::new(
            "post /v1/sessions/{session}/cancel",
            "cancel",
            "inputs",
            "End the running turn",
        )
        .answer(200, "The turn has ended."),
        Prose::new(
            "post /v1/sessions/{session}/calls/{call}/decision",
            "decide",
            "inputs",
            "Decide about a call",
        )
        .detail(
            "A call that has not run is `approved` or `denied`. A call whose outcome is unknown \
             is run again with `approved`, counts as failed with `denied`, and counts as done \
             with `done`, which may have a `result` for the model.",
        )
        .example(json!({"decision": "approved"}))
        .answer(200, "The decision is recorded."),
    ]
}
