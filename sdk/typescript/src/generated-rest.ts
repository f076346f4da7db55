// Bodies of REST, generated from the server's own types by
// `UPDATE_TYPESCRIPT=1 cargo test -p thoughtwire-proto typescript`.
// A newer server may send keys that are not here: pass over what you do not know.

import type {
  Disposition,
  HistoryEntry,
  JsonValue,
  LogRecord,
  Permission,
  Policy,
  Replay,
  Role,
  SessionListing,
  Style,
  Verdict,
} from "./generated.js";

export type AgentBody = { 
/**
 * The agent as it is stored.
 */
agent: AgentProfile, };

export type AgentDetails = { 
/**
 * The agent as it is stored.
 */
agent: AgentProfile, 
/**
 * Core memory.
 */
blocks: Array<CoreBlock>, 
/**
 * Sizes of its other memories.
 */
memory: MemoryCounts, 
/**
 * Tools that it may be given.
 */
tools: Array<ToolListing>, 
/**
 * The server's MCP servers.
 */
mcp: Array<McpServerListing>, };

export type AgentFile = { 
/**
 * Version of the file's form.
 */
thoughtwire_agent: number, 
/**
 * Settings.
 */
agent: AgentSpec, 
/**
 * Core memory.
 */
blocks: Array<CoreBlock>, 
/**
 * Archival memory.
 */
notes: Array<FileNote>, 
/**
 * Logs of its sessions; the first one is the main session's.
 */
sessions?: Array<FileSession>, };

export type AgentList = { 
/**
 * Agents in order of creation.
 */
agents: Array<AgentProfile>, };

export type AgentPatch = { [setting: string]: JsonValue };

export type AgentProfile = { 
/**
 * Its id.
 */
id: string, 
/**
 * Its main session.
 */
main_session: string, 
/**
 * Its name, unique per user.
 */
name: string, 
/**
 * The first text of its `persona` block.
 */
persona?: string, 
/**
 * The first text of its `human` block.
 */
human?: string, 
/**
 * Its model as `provider/name`; absent for the server's default.
 */
model?: string, 
/**
 * Style of its replies; absent for the dialect's default.
 */
style?: Style, 
/**
 * A `MemGPT` preset's name, kept as given.
 */
preset?: string, 
/**
 * Keys that this version does not know, kept as given.
 */
extra?: { [key in string]: JsonValue }, 
/**
 * Models to try in order if `model` is not available.
 */
fallbacks?: Array<string>, 
/**
 * Maximum number of tokens that its model reads, prompt and reply together.
 */
context_window?: number, 
/**
 * Maximum number of tokens of one reply.
 */
max_output_tokens?: number, 
/**
 * Maximum number of model calls in one turn.
 */
max_steps?: number, 
/**
 * Maximum number of tokens that one turn may cost, input and output together.
 */
token_budget?: number, 
/**
 * Age in days at which ended turns of its sessions are deleted.
 */
keep_days?: number, 
/**
 * Number of events that its sessions keep. The oldest turns beyond it are deleted.
 */
keep_events?: number, 
/**
 * Treatment of a turn that was interrupted; absent for `resume`.
 */
on_crash?: OnCrash, 
/**
 * Permissions of its tools, by the tool's name.
 */
permissions?: { [key in string]: Permission }, };

export type AgentSettings = { 
/**
 * Models to try in order if `model` is not available.
 */
fallbacks?: Array<string>, 
/**
 * Maximum number of tokens that its model reads, prompt and reply together.
 */
context_window?: number, 
/**
 * Maximum number of tokens of one reply.
 */
max_output_tokens?: number, 
/**
 * Maximum number of model calls in one turn.
 */
max_steps?: number, 
/**
 * Maximum number of tokens that one turn may cost, input and output together.
 */
token_budget?: number, 
/**
 * Age in days at which ended turns of its sessions are deleted.
 */
keep_days?: number, 
/**
 * Number of events that its sessions keep. The oldest turns beyond it are deleted.
 */
keep_events?: number, 
/**
 * Treatment of a turn that was interrupted; absent for `resume`.
 */
on_crash?: OnCrash, 
/**
 * Permissions of its tools, by the tool's name.
 */
permissions?: { [key in string]: Permission }, };

export type AgentSpec = { 
/**
 * Its name, unique per user.
 */
name: string, 
/**
 * The first text of its `persona` block.
 */
persona?: string, 
/**
 * The first text of its `human` block.
 */
human?: string, 
/**
 * Its model as `provider/name`; absent for the server's default.
 */
model?: string, 
/**
 * Style of its replies; absent for the dialect's default.
 */
style?: Style, 
/**
 * A `MemGPT` preset's name, kept as given.
 */
preset?: string, 
/**
 * Keys that this version does not know, kept as given.
 */
extra?: { [key in string]: JsonValue }, 
/**
 * Models to try in order if `model` is not available.
 */
fallbacks?: Array<string>, 
/**
 * Maximum number of tokens that its model reads, prompt and reply together.
 */
context_window?: number, 
/**
 * Maximum number of tokens of one reply.
 */
max_output_tokens?: number, 
/**
 * Maximum number of model calls in one turn.
 */
max_steps?: number, 
/**
 * Maximum number of tokens that one turn may cost, input and output together.
 */
token_budget?: number, 
/**
 * Age in days at which ended turns of its sessions are deleted.
 */
keep_days?: number, 
/**
 * Number of events that its sessions keep. The oldest turns beyond it are deleted.
 */
keep_events?: number, 
/**
 * Treatment of a turn that was interrupted; absent for `resume`.
 */
on_crash?: OnCrash, 
/**
 * Permissions of its tools, by the tool's name.
 */
permissions?: { [key in string]: Permission }, };

export type ArchivalNote = { 
/**
 * Number; later notes have higher ones.
 */
id: number, 
/**
 * Time of the note.
 */
at: string, 
/**
 * Text.
 */
text: string, 
/**
 * Origin of an imported note, such as a file's name.
 */
source?: string, 
/**
 * Why it was found, where a search asked for it.
 */
why?: HitReasons, };

export type Auth = "none" | "keys";

export type BlockBody = { 
/**
 * The block as it is now.
 */
block: CoreBlock, };

export type BlockList = { 
/**
 * Blocks in order of creation.
 */
blocks: Array<CoreBlock>, };

export type BlockPatch = { 
/**
 * New text.
 */
text?: string, 
/**
 * Most characters of the text.
 */
limit?: number, 
/**
 * Purpose, as the model is told.
 */
description?: string, };

export type CallListing = { 
/**
 * The call's id.
 */
call: string, 
/**
 * The tool.
 */
name: string, 
/**
 * The arguments, as an object.
 */
args: { [key in string]: JsonValue }, 
/**
 * Its turn.
 */
turn: string, 
/**
 * Position of its `tool_called`.
 */
seq: number, 
/**
 * Time of its `tool_called`.
 */
at: string, 
/**
 * State at the newest position.
 */
state: CallState, 
/**
 * Number of times that it was made again.
 */
retries: number, 
/**
 * With the state `waiting`: what it waits for.
 */
waits_for?: CallWait, 
/**
 * With the state `waiting`: time at which the wait ends.
 */
expires_at?: string, 
/**
 * Position of its `tool_returned`, once it has returned.
 */
returned_seq?: number, 
/**
 * Time of its `tool_returned`.
 */
returned_at?: string, 
/**
 * The text of its result, at most 200 characters. A text that was cut ends with `…`; the event
 * at `returned_seq` has more.
 */
text?: string, };

export type CallPage = { 
/**
 * Session.
 */
session: string, 
/**
 * Lifetime of its log.
 */
epoch: string, 
/**
 * Position at which its log now begins. Calls before it are not listed.
 */
first: number, 
/**
 * Newest position. The calls are listed as they are there.
 */
head: number, 
/**
 * Calls in the order in which they were made.
 */
calls: Array<CallListing>, };

export type CallState = "done" | "failed" | "running" | "waiting" | "unknown";

export type CallWait = "approval" | "retry" | "client";

export type CallerInfo = { 
/**
 * User.
 */
user: string, 
/**
 * Permissions.
 */
scopes: Array<Scope>, 
/**
 * Time at which the credential expires; null if it does not.
 */
expires_at: string | null, 
/**
 * Whether this server asks for keys.
 */
auth: Auth, };

export type CancelRequest = { 
/**
 * Only this turn, so that a late request cannot cancel the next one.
 */
turn?: string, };

export type CommandDone = { 
/**
 * Position of its event; null if it left none.
 */
seq?: number | null, 
/**
 * Whether this idempotency key was used before and nothing was done again.
 */
duplicate?: boolean, };

export type CoreBlock = { 
/**
 * Label, such as `persona`.
 */
label: string, 
/**
 * Text.
 */
text: string, 
/**
 * Most characters of the text.
 */
limit: number, 
/**
 * Purpose, as the model is told. Files of agents may leave it out.
 */
description: string, };

export type DecisionRequest = { 
/**
 * The decision. `done` is for calls whose outcome is unknown.
 */
decision: Verdict, 
/**
 * With `done`: the call's result, for the model.
 */
result?: string, };

export type ErrorBody = { 
/**
 * The refusal.
 */
error: ErrorDetail, };

export type ErrorDetail = { 
/**
 * One of the refusal codes. A newer server may send others.
 */
code: string, 
/**
 * A sentence for people.
 */
reason: string, };

export type EventPage = { 
/**
 * Session.
 */
session: string, 
/**
 * Lifetime of its log.
 */
epoch: string, 
/**
 * Position at which its log now begins.
 */
first: number, 
/**
 * Newest position.
 */
head: number, 
/**
 * Events in order.
 */
events: Array<LogRecord>, };

export type FileNote = { 
/**
 * Text.
 */
text: string, 
/**
 * Time of the note.
 */
at: string, 
/**
 * Origin of an imported note.
 */
source?: string, };

export type FileSession = { 
/**
 * Events in order, from the session's opening.
 */
events: Array<LogRecord>, };

export type InputAccepted = { 
/**
 * Session.
 */
session: string, 
/**
 * Position of its `user_message`.
 */
seq: number, 
/**
 * The input's id.
 */
input: string, 
/**
 * Handling of the input.
 */
disposition: Disposition, 
/**
 * Whether this idempotency key was used before and nothing was sent again.
 */
duplicate: boolean, };

export type InputDraft = { 
/**
 * Text.
 */
text: string, 
/**
 * Handling of an input that arrives while a turn runs; absent for `queue`.
 */
policy?: Policy, 
/**
 * References to files.
 */
attachments?: Array<string>, };

export type Key = { 
/**
 * Identifier.
 */
id: string, 
/**
 * The user whose key it is.
 */
user: string, 
/**
 * The owner's name for it.
 */
name?: string, 
/**
 * Permissions.
 */
scopes: Array<Scope>, 
/**
 * Time of creation.
 */
created_at: string, 
/**
 * Time from which it is refused; absent for a key without an end.
 */
expires_at?: string, };

export type KeyCreated = { 
/**
 * The key.
 */
key: Key, 
/**
 * The credential. It is shown only once.
 */
secret: string, };

export type KeyList = { 
/**
 * Keys, oldest first.
 */
keys: Array<Key>, };

export type KeyLogin = { 
/**
 * The key's secret.
 */
key: string, };

export type LoginAnswer = { 
/**
 * User.
 */
user: string, 
/**
 * Permissions.
 */
scopes: Array<Scope>, 
/**
 * Time at which the login expires.
 */
expires_at: string, };

export type McpServerListing = { 
/**
 * Name.
 */
name: string, 
/**
 * Phase of its life.
 */
phase: McpServerPhase, 
/**
 * Reason of a failure; only for the scope `admin`.
 */
reason?: string, 
/**
 * Full names of its tools; none while it is not ready.
 */
tools: Array<string>, 
/**
 * Number of restarts; only for the scope `admin`.
 */
restarts?: number, 
/**
 * Last lines of its standard error, oldest first; only for the scope `admin`.
 */
stderr?: Array<string>, 
/**
 * Process id, null while there is no process; only for the scope `admin`.
 */
pid?: number | null, };

export type McpServerPhase = "starting" | "ready" | "failed" | "stopped";

export type MemoryCounts = { 
/**
 * Number of notes.
 */
archival: number, 
/**
 * Number of messages that can be searched.
 */
recall: number, 
/**
 * Number of notes and messages that this server has yet to embed, as far as they were counted.
 * Until then they are found by words alone. Absent without an embedding model.
 */
unembedded?: number, };

export type NewKey = { 
/**
 * The user whose key it is; absent for the server's owner.
 */
user?: string, 
/**
 * The owner's name for it.
 */
name?: string, 
/**
 * Permissions; absent for `chat`.
 */
scopes?: Array<Scope>, 
/**
 * Seconds until it expires; absent for a key without an end.
 */
expires_in_seconds?: number, };

export type NewNotes = { 
/**
 * The notes.
 */
notes: Array<NoteDraft>, };

export type NodeInfo = { 
/**
 * Id, which a restart on the same data directory keeps.
 */
id: string, 
/**
 * Number of this process among all that ever opened the database.
 */
incarnation: number, 
/**
 * State: `live`, or `dead` once another node has declared it dead. Newer versions may have
 * others.
 */
state: string, 
/**
 * Address under which other nodes reach it; null if it has none.
 */
url: string | null, 
/**
 * Version of Thoughtwire.
 */
version: string, 
/**
 * Seconds until its lease ends, by the database's clock; below 0 if it has ended.
 */
lease_seconds: number, 
/**
 * Number of sessions that it owns.
 */
sessions: number, 
/**
 * Whether it is the node that answers.
 */
answers: boolean, };

export type HitReasons = { 
/**
 * Words of the query in the text.
 */
words: number, 
/**
 * The text's meaning; negative where it speaks against the text. 0 without an embedding model.
 */
meaning: number, 
/**
 * Words of the query in the texts before and after it.
 */
neighbours: number, };

export type NodeList = { 
/**
 * Whether other nodes can share the data. A data directory has one node, which is not listed.
 */
shared: boolean, 
/**
 * Nodes with a lease, and those that were declared dead in the last hour, oldest first.
 */
nodes: Array<NodeInfo>, };

export type NoteDraft = { 
/**
 * Text.
 */
text: string, 
/**
 * Origin, such as a file's name. The same text with the same origin is added once.
 */
source?: string, 
/**
 * Time of the note; absent for now.
 */
at?: string, };

export type NotePage = { 
/**
 * Notes: the best matches first, or in order of creation without a query.
 */
notes: Array<ArchivalNote>, 
/**
 * Number of notes in all.
 */
total: number, };

export type NotesAdded = { 
/**
 * Number of new notes.
 */
added: number, 
/**
 * Number of notes that were there before.
 */
duplicates: number, };

export type OnCrash = "resume" | "stop";

export type PresetList = { 
/**
 * Texts for `persona`.
 */
personas: Array<PresetText>, 
/**
 * Texts for `human`.
 */
humans: Array<PresetText>, };

export type PresetText = { 
/**
 * Name.
 */
name: string, 
/**
 * Text.
 */
text: string, };

export type RecallHit = { 
/**
 * Session of the message.
 */
session: string, 
/**
 * Position in the session's log.
 */
seq: number, 
/**
 * Time of the message.
 */
at: string, 
/**
 * `user` or `assistant`.
 */
role: Role, 
/**
 * Text.
 */
text: string, 
/**
 * Why it was found, where a search asked for it.
 */
why?: HitReasons, };

export type RecallPage = { 
/**
 * Messages, the best match first.
 */
results: Array<RecallHit>, 
/**
 * Number of matches in all.
 */
total: number, };

export type Scope = "chat" | "agents" | "offer" | "admin";

export type SessionCreated = { 
/**
 * Identifier.
 */
session: string, };

export type SessionDetails = { 
/**
 * The session as lists show it.
 */
session: SessionListing, 
/**
 * Lifetime of its log.
 */
epoch: string, 
/**
 * Position at which its log now begins.
 */
first: number, 
/**
 * Instructions beside the agent's persona; null for none.
 */
instructions: string | null, 
/**
 * Days after which ended turns are deleted; null for the agent's setting.
 */
keep_days: number | null, 
/**
 * Number of events above which the oldest turns are deleted; null for the agent's setting.
 */
keep_events: number | null, };

export type SessionDraft = { 
/**
 * The agent's name or id.
 */
agent: string, 
/**
 * Title.
 */
title?: string, 
/**
 * Instructions beside the agent's persona.
 */
instructions?: string, 
/**
 * Messages from before the session.
 */
history?: Array<HistoryEntry>, };

export type SessionList = { 
/**
 * Sessions, newest activity first.
 */
sessions: Array<SessionListing>, };

export type SessionPatch = { 
/**
 * New title.
 */
title?: string, 
/**
 * Days after which ended turns are deleted; null for the agent's setting.
 */
keep_days?: number | null, 
/**
 * Number of events above which the oldest turns are deleted; null for the agent's setting.
 */
keep_events?: number | null, };

export type StreamClosed = { 
/**
 * Cause.
 */
code: StreamEnd, 
/**
 * A sentence for people.
 */
reason: string, };

export type StreamEnd = "trimmed" | "closed" | "unauthorized" | "store_failed";

export type StreamRestarted = { 
/**
 * A sentence for people.
 */
reason: string, 
/**
 * Lifetime of the log.
 */
epoch: string, 
/**
 * Position at which the log now begins.
 */
first: number, 
/**
 * Newest position.
 */
head: number, };

export type TicketCreated = { 
/**
 * The credential, for one connection.
 */
ticket: string, 
/**
 * Seconds until it expires.
 */
expires_in_seconds: number, };

export type ToolListing = { 
/**
 * Name.
 */
name: string, 
/**
 * Purpose, as the model is told.
 */
description: string, 
/**
 * Whether the agent may use it.
 */
permission: Permission, 
/**
 * Treatment of a call that an interruption left without a result.
 */
replay: Replay, } & ({ "source": "built_in" } | { "source": "offered" } | { "source": "mcp", 
/**
 * The MCP server's name.
 */
server: string, });

export type ToolSource = { "source": "built_in" } | { "source": "offered" } | { "source": "mcp", 
/**
 * The MCP server's name.
 */
server: string, };

export type TurnResult = { 
/**
 * The turn's events in order.
 */
events: Array<LogRecord>, 
/**
 * True if retention deleted at least one of them; absent otherwise.
 */
trimmed?: boolean, 
/**
 * Session.
 */
session: string, 
/**
 * Position of its `user_message`.
 */
seq: number, 
/**
 * The input's id.
 */
input: string, 
/**
 * Handling of the input.
 */
disposition: Disposition, 
/**
 * Whether this idempotency key was used before and nothing was sent again.
 */
duplicate: boolean, };

export type InputListing = { 
/**
 * The input's id.
 */
input: string, 
/**
 * Position of its `user_message`.
 */
seq: number, 
/**
 * Time at which it was sent.
 */
at: string, 
/**
 * Text.
 */
text: string, };

export type InputList = { 
/**
 * Inputs in the order of their turns.
 */
inputs: Array<InputListing>, };
