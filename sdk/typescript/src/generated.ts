// Generated from the server's types. Renew it with
// `UPDATE_TYPESCRIPT=1 cargo test -p thoughtwire-proto typescript`.
// A newer server may send other types, kinds and keys: ignore unknown ones.

/** Any JSON. */
export type JsonValue =
	| number
	| string
	| boolean
	| JsonValue[]
	| { [key: string]: JsonValue }
	| null;

export type ClientFrame = { "type": "hello", id?: string, token?: string, client?: string, } | { "type": "attach", id?: string, session: string, after?: number, epoch?: string, last?: number, tools?: Array<ToolDeclaration>, } | { "type": "detach", id?: string, session: string, } | { "type": "create_agent", id?: string, name: string, persona?: string, human?: string, model?: string, style?: Style, } | { "type": "create_session", id?: string, agent: string, title?: string, instructions?: string, history?: Array<HistoryEntry>, } | { "type": "delete_session", id?: string, session: string, } | { "type": "send", id?: string, session: string, text: string, attachments?: Array<string>, policy?: Policy, } | { "type": "withdraw", id?: string, session?: string, input: string, } | { "type": "cancel", id?: string, session: string, turn?: string, } | { "type": "decide", id?: string, session?: string, call: string, decision: Verdict, result?: string, } | { "type": "tool_return", id?: string, session?: string, call: string, status: ToolStatus, text: string, content?: JsonValue, } | { "type": "rename", id?: string, session: string, title: string, } | { "type": "watch", id?: string, } | { "type": "offer", id?: string, 
/**
 * The agent's name or id.
 */
agent: string, 
/**
 * The worker's name. A worker that reconnects under this name gets its turns back.
 */
worker?: string, 
/**
 * Number of turns that it runs at once; absent for 1, and 0 to accept no new ones.
 */
turns?: number, 
/**
 * Number of the newest records before the input that come with a turn.
 */
history?: number, 
/**
 * Whether core memory comes with a turn.
 */
memory?: boolean, 
/**
 * The agent's own tools.
 */
tools?: Array<ToolDeclaration>, 
/**
 * Present if the worker stores the events that it receives: by session, the last position it
 * has.
 */
cursors?: { [key in string]: number }, 
/**
 * Whether it can go on with a turn that another worker began.
 */
resumable?: boolean, } | { "type": "say", id?: string, turn: string, } & ({ "verb": "internal_monologue", 
/**
 * The text.
 */
text: string, 
/**
 * The cut thought of the same turn whose text this one continues.
 */
continues?: string, } | { "verb": "assistant_message", 
/**
 * The text.
 */
text: string, 
/**
 * The cut message of the same turn whose text this one continues.
 */
continues?: string, } | { "verb": "function_message", 
/**
 * The line.
 */
text: string, } | { "verb": "tool_called", 
/**
 * The tool.
 */
name: string, 
/**
 * Its arguments.
 */
args: { [key in string]: JsonValue }, } | { "verb": "tool_returned", 
/**
 * The call.
 */
call: string, 
/**
 * Whether the call succeeded.
 */
status: ToolStatus, 
/**
 * The result or the error.
 */
text: string, 
/**
 * The result in a richer form.
 */
content?: JsonValue, } | { "verb": "tool_retried", 
/**
 * The call.
 */
call: string, 
/**
 * Why the call may be repeated; absent for `safe`.
 */
reason?: RetryReason, } | { "verb": "approval", 
/**
 * The call.
 */
call: string, 
/**
 * Subject of the question; absent for `run`.
 */
about?: ApprovalAbout, 
/**
 * Time to wait for the answer, in milliseconds.
 */
timeout_ms?: number, } | { "verb": "client_runs", 
/**
 * The call.
 */
call: string, 
/**
 * Time to wait for the result, in milliseconds.
 */
timeout_ms?: number, } | { "verb": "delta", 
/**
 * The item, or the call whose arguments these are.
 */
item: string, 
/**
 * Number of the piece within its item, from 0.
 */
n: number, 
/**
 * Kind of the item.
 */
kind: StreamKind, 
/**
 * The piece.
 */
text: string, 
/**
 * The cut item of the same turn whose text this one continues. It counts with the first
 * piece.
 */
continues?: string, } | { "verb": "status", 
/**
 * The text.
 */
text: string, } | { "verb": "usage" } & Usage | { "verb": "finish", 
/**
 * Its last message.
 */
text?: string, } | { "verb": "fail", 
/**
 * The cause, for programs.
 */
code?: string, 
/**
 * The cause as a sentence for people.
 */
reason: string, }) | { "type": "ping", id?: string, };

export type ServerFrame = { "type": "welcome", protocol: string, server: string, limits: Limits, } | { "type": "attached", id?: string, session: string, agent: string, epoch: string, first: number, head: number, recovered: boolean, turn?: string, } | { "type": "caught_up", session: string, seq: number, } | { "type": "ack", id: string, agent?: Agent, session?: string, seq?: number, disposition?: Disposition, input?: string, 
/**
 * To an `offer`: the worker's name.
 */
worker?: string, 
/**
 * To an `offer`: the turns that this worker still runs.
 */
turns?: Array<string>, 
/**
 * To a `finish`: the inputs that joined the turn meanwhile.
 */
steered?: Array<Input>, 
/**
 * Whether a command with this id took effect before.
 */
duplicate?: boolean, } | { "type": "refused", id?: string, code: string, reason: string, retry: boolean, } | { "type": "event", session: string, seq: number, at: string, turn?: string, event: Event, } | { "type": "delta", session: string, turn: string, item: string, n: number, kind: StreamKind, text: string, continues?: string, } | { "type": "partial", session: string, turn: string, item: string, n: number, kind: StreamKind, text: string, continues?: string, } | { "type": "status", session: string, turn?: string, text: string, } | { "type": "presence", session: string, clients: number, } | { "type": "session", listing: SessionListing, } | { "type": "session_gone", session: string, } | { "type": "detached", session: string, reason: string, } | { "type": "pong", id?: string, } | { "type": "run" } & Run | { "type": "cancel", session: string, turn: string, } | { "type": "approval_settled", turn: string, call: string, 
/**
 * Subject of the question; absent for `run`.
 */
about?: ApprovalAbout, decision: Decision, } | { "type": "tool_returned", turn: string, call: string, status: ToolStatus, text: string, content?: JsonValue, } | { "type": "offer_ended", agent: string, worker: string, reason: string, } | { "type": "goaway", reason: string, retry_after_ms: number, } | { "type": "part", session?: string, seq?: number, part: number, parts: number, data: string, };

export type Agent = { id: string, name: string, persona?: string, human?: string, model?: string, style?: Style, preset?: string, };

export type Event = { "kind": "session_opened", 
/**
 * The session's agent.
 */
agent: string, 
/**
 * The session's instructions, which are added to the agent's persona.
 */
instructions?: string, 
/**
 * Messages from before the session, given by the client.
 */
history?: Array<HistoryEntry>, } | { "kind": "session_renamed", 
/**
 * The new title.
 */
title: string, } | { "kind": "instructions_changed", 
/**
 * The new instructions. An empty text removes them.
 */
instructions: string, } | { "kind": "user_message", 
/**
 * The input's id.
 */
item: string, 
/**
 * The text.
 */
text: string, 
/**
 * References to files.
 */
attachments?: Array<string>, 
/**
 * The client that sent it: the name that it gave, or its dialect's. A `MemGPT` client with
 * a name is `memgpt:NAME`.
 */
from?: string, } | { "kind": "input_withdrawn", 
/**
 * The input that will not run.
 */
input: string, } | { "kind": "turn_started", 
/**
 * The input that it runs on.
 */
input: string, } | { "kind": "turn_resumed", 
/**
 * Number of interruptions of the turn that count against its limit, from 1. A planned stop
 * does not count; then it is the number before.
 */
attempt: number, 
/**
 * Cause of the interruption.
 */
reason: ResumeReason, } | { "kind": "thought", 
/**
 * The thought's id.
 */
item: string, 
/**
 * The text; never empty.
 */
text: string, 
/**
 * False if the thought was cut: the turn ended or was interrupted first.
 */
complete: boolean, 
/**
 * The cut thought whose text this one continues.
 */
continues?: string, } | { "kind": "tool_called", 
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
args: { [key in string]: JsonValue }, } | { "kind": "tool_retried", 
/**
 * The call.
 */
call: string, 
/**
 * Number of this repetition, from 1.
 */
attempt: number, 
/**
 * Why the call may be repeated.
 */
reason: RetryReason, } | { "kind": "approval_asked", 
/**
 * The call that waits.
 */
call: string, 
/**
 * The tool, so that the record is understandable alone.
 */
name?: string, 
/**
 * Subject of the question. Absent for `run`.
 */
about?: ApprovalAbout, 
/**
 * Time at which the approval expires. That counts as a denial, or leaves the outcome of a
 * call unknown.
 */
expires_at: string, } | { "kind": "approval_settled", 
/**
 * The call that waited.
 */
call: string, 
/**
 * How it was settled.
 */
decision: Decision, 
/**
 * The client that settled it, if one did.
 */
by?: string, } | { "kind": "tool_awaited", 
/**
 * The call that waits.
 */
call: string, 
/**
 * Time at which the wait ends and the call returns as an error.
 */
expires_at: string, } | { "kind": "tool_returned", 
/**
 * The call.
 */
call: string, 
/**
 * The tool, so that the record is understandable alone.
 */
name: string, 
/**
 * Whether the call succeeded, as far as that is known.
 */
status: ToolStatus, 
/**
 * The result or the error, as text.
 */
text: string, 
/**
 * The result in a richer form, if the tool has one.
 */
content?: JsonValue, } | { "kind": "message", 
/**
 * The message's id.
 */
item: string, 
/**
 * The text; never empty.
 */
text: string, 
/**
 * False if the message was cut: the turn ended or was interrupted first.
 */
complete: boolean, 
/**
 * The cut message whose text this one continues.
 */
continues?: string, } | { "kind": "usage" } & Usage | { "kind": "memory_edited", 
/**
 * The block's label.
 */
block: string, 
/**
 * Its text before.
 */
before: string, 
/**
 * Its text now.
 */
after: string, 
/**
 * The editor: `agent` or `owner`.
 */
by: string, } | { "kind": "compacted", 
/**
 * The summary that replaces it for the model.
 */
summary: string, 
/**
 * The last position that the summary covers.
 */
through: number, } | { "kind": "turn_ended", 
/**
 * The input that it ran on.
 */
input: string, 
/**
 * How it ended.
 */
outcome: Outcome, 
/**
 * The cause for programs, if it did not complete.
 */
code?: string, 
/**
 * The cause as a sentence.
 */
reason?: string, };

export type HistoryEntry = { 
/**
 * The author.
 */
role: Role, 
/**
 * The text.
 */
text: string, };

export type Role = "user" | "assistant";

export type Decision = "approved" | "denied" | "done" | "expired" | "void";

export type ApprovalAbout = "run" | "retry";

export type ResumeReason = "restart" | "moved" | "worker_lost";

export type RetryReason = "safe" | "approved";

export type ToolStatus = "success" | "error" | "unknown";

export type Outcome = "completed" | "cancelled" | "failed" | "interrupted";

export type Usage = { 
/**
 * Tokens read by the model.
 */
input_tokens: number, 
/**
 * Tokens written by it.
 */
output_tokens: number, 
/**
 * Number of input tokens that came from the provider's cache.
 */
cached_tokens?: number, };

export type StreamKind = "thought" | "message" | "tool_args";

export type Policy = "queue" | "interrupt" | "reject" | "steer";

export type Disposition = "started" | "queued" | "steered";

export type Style = "native" | "memgpt";

export type ToolDeclaration = { 
/**
 * Its name.
 */
name: string, 
/**
 * Description for the model.
 */
description: string, 
/**
 * The JSON Schema of its arguments.
 */
parameters?: { [key in string]: JsonValue }, 
/**
 * Treatment of a call that an interruption left without a result; absent for `ask`.
 */
replay?: Replay, };

export type Replay = "safe" | "ask" | "never";

export type SessionListing = { 
/**
 * Its id.
 */
id: string, 
/**
 * Its agent.
 */
agent: string, 
/**
 * The agent's name.
 */
agent_name: string, 
/**
 * Its title, if it has one.
 */
title?: string, 
/**
 * The newest position.
 */
head: number, 
/**
 * Whether a turn runs.
 */
running: boolean, 
/**
 * Number of queued inputs.
 */
queued: number, 
/**
 * Whether a call of the running turn waits for the owner's approval.
 */
needs_you?: boolean, 
/**
 * Whether it is its agent's main session.
 */
main: boolean, 
/**
 * Cost of all its turns.
 */
usage?: Usage, 
/**
 * Time at which it was opened.
 */
created_at: string, 
/**
 * Time of its newest event.
 */
updated_at: string, };

export type Verdict = "approved" | "denied" | "done";

export type Offer = { 
/**
 * The agent's name or id.
 */
agent: string, 
/**
 * The worker's name. A worker that reconnects under this name gets its turns back.
 */
worker?: string, 
/**
 * Number of turns that it runs at once; absent for 1, and 0 to accept no new ones.
 */
turns?: number, 
/**
 * Number of the newest records before the input that come with a turn.
 */
history?: number, 
/**
 * Whether core memory comes with a turn.
 */
memory?: boolean, 
/**
 * The agent's own tools.
 */
tools?: Array<ToolDeclaration>, 
/**
 * Present if the worker stores the events that it receives: by session, the last position it
 * has.
 */
cursors?: { [key in string]: number }, 
/**
 * Whether it can go on with a turn that another worker began.
 */
resumable?: boolean, };

export type Run = { 
/**
 * The agent.
 */
agent: string, 
/**
 * The session.
 */
session: string, 
/**
 * The turn.
 */
turn: string, 
/**
 * The turn's input.
 */
input: Input, 
/**
 * The session's instructions, which are added to the agent's persona.
 */
instructions?: string, 
/**
 * Position after which `history` is complete.
 */
after?: number, 
/**
 * The events that the offer asked for; for a resumed turn also the turn's own events.
 */
history?: Array<LogRecord>, 
/**
 * Blocks of the core memory.
 */
memory?: Array<MemoryBlock>, 
/**
 * Tools that attached clients run.
 */
client_tools?: Array<ToolDeclaration>, 
/**
 * Declared tools that are not simply allowed.
 */
permissions?: { [key in string]: Permission }, 
/**
 * Open calls that people or a client were asked about. An answer that is already there follows
 * this frame.
 */
waiting?: Array<WaitingCall>, 
/**
 * Whether the turn is resumed: this worker had it before, or it waited for people when the
 * server stopped.
 */
resumed?: boolean, 
/**
 * Number of interruptions of the turn that count against its limit; absent for 0.
 */
attempt?: number, 
/**
 * Calls of a resumed turn that were running and have no result. Their outcome is unknown.
 */
unknown?: Array<string>, 
/**
 * Number of deltas that have arrived, by open item.
 */
open?: { [key in string]: number }, };

export type Input = { 
/**
 * Its id.
 */
item: string, 
/**
 * The text.
 */
text: string, 
/**
 * References to files.
 */
attachments?: Array<string>, };

export type LogRecord = { 
/**
 * Its position.
 */
seq: number, 
/**
 * Time at which it was accepted.
 */
at: string, 
/**
 * The turn it belongs to, if any.
 */
turn?: string, 
/**
 * The event.
 */
event: Event, };

export type MemoryBlock = { 
/**
 * Its label.
 */
label: string, 
/**
 * Its text.
 */
text: string, 
/**
 * Maximum number of characters of the text.
 */
limit: number, };

export type WaitingCall = { 
/**
 * The call.
 */
call: string, 
/**
 * The tool.
 */
name: string, 
/**
 * The party that it waits for.
 */
awaits: Awaits, };

export type Awaits = "approval" | "client";

export type Permission = "allow" | "ask" | "deny";

export type Verb = { "verb": "internal_monologue", 
/**
 * The text.
 */
text: string, 
/**
 * The cut thought of the same turn whose text this one continues.
 */
continues?: string, } | { "verb": "assistant_message", 
/**
 * The text.
 */
text: string, 
/**
 * The cut message of the same turn whose text this one continues.
 */
continues?: string, } | { "verb": "function_message", 
/**
 * The line.
 */
text: string, } | { "verb": "tool_called", 
/**
 * The tool.
 */
name: string, 
/**
 * Its arguments.
 */
args: { [key in string]: JsonValue }, } | { "verb": "tool_returned", 
/**
 * The call.
 */
call: string, 
/**
 * Whether the call succeeded.
 */
status: ToolStatus, 
/**
 * The result or the error.
 */
text: string, 
/**
 * The result in a richer form.
 */
content?: JsonValue, } | { "verb": "tool_retried", 
/**
 * The call.
 */
call: string, 
/**
 * Why the call may be repeated; absent for `safe`.
 */
reason?: RetryReason, } | { "verb": "approval", 
/**
 * The call.
 */
call: string, 
/**
 * Subject of the question; absent for `run`.
 */
about?: ApprovalAbout, 
/**
 * Time to wait for the answer, in milliseconds.
 */
timeout_ms?: number, } | { "verb": "client_runs", 
/**
 * The call.
 */
call: string, 
/**
 * Time to wait for the result, in milliseconds.
 */
timeout_ms?: number, } | { "verb": "delta", 
/**
 * The item, or the call whose arguments these are.
 */
item: string, 
/**
 * Number of the piece within its item, from 0.
 */
n: number, 
/**
 * Kind of the item.
 */
kind: StreamKind, 
/**
 * The piece.
 */
text: string, 
/**
 * The cut item of the same turn whose text this one continues. It counts with the first
 * piece.
 */
continues?: string, } | { "verb": "status", 
/**
 * The text.
 */
text: string, } | { "verb": "usage" } & Usage | { "verb": "finish", 
/**
 * Its last message.
 */
text?: string, } | { "verb": "fail", 
/**
 * The cause, for programs.
 */
code?: string, 
/**
 * The cause as a sentence for people.
 */
reason: string, };

export type Limits = { 
/**
 * Maximum size of a frame in bytes.
 */
frame_bytes?: number, 
/**
 * Maximum number of attached sessions.
 */
attached_sessions?: number, 
/**
 * Maximum number of queued inputs of one session.
 */
queued_inputs?: number, };

/** Close codes after which a new connection would end the same way. */
export const FINAL_CODES: readonly number[] = [1002, 1007, 1008, 1009];
