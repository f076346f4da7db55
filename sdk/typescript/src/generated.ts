// Written from the server's own types: `UPDATE_TYPESCRIPT=1 cargo test -p thoughtwire-proto typescript`.
// A newer server may send types, kinds and keys that are not here: pass over what you do not know.

/** Any JSON. */
export type JsonValue = number | string | boolean | JsonValue[] | { [key: string]: JsonValue } | null;

export type ClientFrame = { "type": "hello", id?: string, token?: string, client?: string, } | { "type": "attach", id?: string, session: string, after?: number, epoch?: string, last?: number, tools?: Array<ToolDeclaration>, } | { "type": "detach", id?: string, session: string, } | { "type": "create_agent", id?: string, name: string, persona?: string, human?: string, model?: string, style?: Style, } | { "type": "create_session", id?: string, agent: string, title?: string, instructions?: string, history?: Array<HistoryEntry>, } | { "type": "delete_session", id?: string, session: string, } | { "type": "send", id?: string, session: string, text: string, attachments?: Array<string>, policy?: Policy, } | { "type": "withdraw", id?: string, session?: string, input: string, } | { "type": "cancel", id?: string, session: string, turn?: string, } | { "type": "decide", id?: string, session?: string, call: string, decision: Verdict, } | { "type": "tool_return", id?: string, session?: string, call: string, status: ToolStatus, text: string, content?: JsonValue, } | { "type": "rename", id?: string, session: string, title: string, } | { "type": "watch", id?: string, } | { "type": "offer", id?: string, 
/**
 * The agent's name or id.
 */
agent: string, 
/**
 * The program's name for itself, under which it has its turns again when it comes back.
 */
worker?: string, 
/**
 * How many turns it runs at once; absent for 1, and 0 for no more new ones.
 */
turns?: number, 
/**
 * How many of the newest records before its input come with a turn.
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
 * There when it keeps what it was handed: up to where it has sessions' logs already.
 */
cursors?: { [key in string]: number }, } | { "type": "say", id?: string, turn: string, } & ({ "verb": "internal_monologue", 
/**
 * The words.
 */
text: string, } | { "verb": "assistant_message", 
/**
 * The words.
 */
text: string, } | { "verb": "function_message", 
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
 * Whether it worked.
 */
status: ToolStatus, 
/**
 * The result or the error.
 */
text: string, 
/**
 * The result in richer form.
 */
content?: JsonValue, } | { "verb": "approval", 
/**
 * The call.
 */
call: string, 
/**
 * How long the question stands, in milliseconds.
 */
timeout_ms?: number, } | { "verb": "client_runs", 
/**
 * The call.
 */
call: string, 
/**
 * How long the result is awaited, in milliseconds.
 */
timeout_ms?: number, } | { "verb": "delta", 
/**
 * The item, or the call whose arguments these are.
 */
item: string, 
/**
 * Which of the item's pieces: from 0.
 */
n: number, 
/**
 * What kind of item.
 */
kind: StreamKind, 
/**
 * The piece.
 */
text: string, } | { "verb": "status", 
/**
 * The words.
 */
text: string, } | { "verb": "usage" } & Usage | { "verb": "finish", 
/**
 * Its last message.
 */
text?: string, } | { "verb": "fail", 
/**
 * A word for programs.
 */
code?: string, 
/**
 * A sentence for people.
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
 * To a `finish`: the inputs that joined the turn in the meantime.
 */
steered?: Array<Input>, 
/**
 * Whether the command took effect before, under the same id.
 */
duplicate?: boolean, } | { "type": "refused", id?: string, code: string, reason: string, retry: boolean, } | { "type": "event", session: string, seq: number, at: string, turn?: string, event: Event, } | { "type": "delta", session: string, turn: string, item: string, n: number, kind: StreamKind, text: string, } | { "type": "partial", session: string, turn: string, item: string, n: number, kind: StreamKind, text: string, } | { "type": "status", session: string, turn?: string, text: string, } | { "type": "presence", session: string, clients: number, } | { "type": "session", listing: SessionListing, } | { "type": "session_gone", session: string, } | { "type": "detached", session: string, reason: string, } | { "type": "pong", id?: string, } | { "type": "run" } & Run | { "type": "cancel", session: string, turn: string, } | { "type": "approval_settled", turn: string, call: string, decision: Decision, } | { "type": "tool_returned", turn: string, call: string, status: ToolStatus, text: string, content?: JsonValue, } | { "type": "offer_ended", agent: string, worker: string, reason: string, } | { "type": "goaway", reason: string, retry_after_ms: number, } | { "type": "part", session?: string, seq?: number, part: number, parts: number, data: string, };

export type Agent = { id: string, name: string, persona?: string, human?: string, model?: string, style?: Style, preset?: string, };

export type Event = { "kind": "session_opened", 
/**
 * The agent this session talks to.
 */
agent: string, 
/**
 * What this session adds to the agent's persona.
 */
instructions?: string, 
/**
 * Words from before the session, given by the client.
 */
history?: Array<HistoryEntry>, } | { "kind": "session_renamed", 
/**
 * The title from now on.
 */
title: string, } | { "kind": "instructions_changed", 
/**
 * The instructions from now on; empty takes them away.
 */
instructions: string, } | { "kind": "user_message", 
/**
 * The input's id.
 */
item: string, 
/**
 * What was said.
 */
text: string, 
/**
 * References to files that came along.
 */
attachments?: Array<string>, 
/**
 * Which client said it, by the name it gave itself or its dialect's.
 */
from?: string, } | { "kind": "input_withdrawn", 
/**
 * The input that will not be run.
 */
input: string, } | { "kind": "turn_started", 
/**
 * The input it runs.
 */
input: string, } | { "kind": "thought", 
/**
 * The thought's id.
 */
item: string, 
/**
 * The words; never empty.
 */
text: string, 
/**
 * False when the turn ended in the middle of it.
 */
complete: boolean, } | { "kind": "tool_called", 
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
args: { [key in string]: JsonValue }, } | { "kind": "approval_asked", 
/**
 * The call that waits.
 */
call: string, 
/**
 * The tool, so that the record stands by itself.
 */
name?: string, 
/**
 * When the question lapses into a no.
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
 * Who settled it, when somebody did.
 */
by?: string, } | { "kind": "tool_awaited", 
/**
 * The call that waits.
 */
call: string, 
/**
 * When waiting ends, and the call comes back as an error.
 */
expires_at: string, } | { "kind": "tool_returned", 
/**
 * The call.
 */
call: string, 
/**
 * The tool, so that the record stands by itself.
 */
name: string, 
/**
 * Whether it worked.
 */
status: ToolStatus, 
/**
 * The result or the error, as text.
 */
text: string, 
/**
 * The result in richer form, where the tool has one.
 */
content?: JsonValue, } | { "kind": "message", 
/**
 * The message's id.
 */
item: string, 
/**
 * The words; never empty.
 */
text: string, 
/**
 * False when the turn ended in the middle of it.
 */
complete: boolean, } | { "kind": "usage" } & Usage | { "kind": "memory_edited", 
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
 * `agent` or `owner`.
 */
by: string, } | { "kind": "compacted", 
/**
 * The summary that stands for it.
 */
summary: string, 
/**
 * The last position it covers.
 */
through: number, } | { "kind": "turn_ended", 
/**
 * The input it ran.
 */
input: string, 
/**
 * How it ended.
 */
outcome: Outcome, 
/**
 * A stable word for the cause, when it did not complete.
 */
code?: string, 
/**
 * The cause in a sentence.
 */
reason?: string, };

export type HistoryEntry = { 
/**
 * Who spoke.
 */
role: Role, 
/**
 * The words.
 */
text: string, };

export type Role = "user" | "assistant";

export type Decision = "approved" | "denied" | "expired" | "void";

export type ToolStatus = "success" | "error";

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
 * How many of the input came from the provider's cache.
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
 * What it does, for the model.
 */
description: string, 
/**
 * The JSON Schema of its arguments.
 */
parameters?: { [key in string]: JsonValue }, };

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
 * Its title, once it has one.
 */
title?: string, 
/**
 * Its newest position.
 */
head: number, 
/**
 * A turn runs.
 */
running: boolean, 
/**
 * How many inputs wait.
 */
queued: number, 
/**
 * A call of the running turn waits for the owner's approval.
 */
needs_you?: boolean, 
/**
 * It is its agent's main session.
 */
main: boolean, 
/**
 * What all its turns have cost.
 */
usage?: Usage, 
/**
 * When it was opened.
 */
created_at: string, 
/**
 * When it last grew.
 */
updated_at: string, };

export type Verdict = "approved" | "denied";

export type Offer = { 
/**
 * The agent's name or id.
 */
agent: string, 
/**
 * The program's name for itself, under which it has its turns again when it comes back.
 */
worker?: string, 
/**
 * How many turns it runs at once; absent for 1, and 0 for no more new ones.
 */
turns?: number, 
/**
 * How many of the newest records before its input come with a turn.
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
 * There when it keeps what it was handed: up to where it has sessions' logs already.
 */
cursors?: { [key in string]: number }, };

export type Run = { 
/**
 * The agent that is meant.
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
 * What was said.
 */
input: Input, 
/**
 * What the session adds to the agent's persona.
 */
instructions?: string, 
/**
 * The position behind which `history` is whole.
 */
after?: number, 
/**
 * What was asked for of the past, and of a turn that goes on what happened in it.
 */
history?: Array<LogRecord>, 
/**
 * Core memory.
 */
memory?: Array<MemoryBlock>, 
/**
 * Tools that attached clients run.
 */
client_tools?: Array<ToolDeclaration>, 
/**
 * Those of the declared tools that are not allowed outright.
 */
permissions?: { [key in string]: Permission }, 
/**
 * Its open calls that people or a client were asked about. An answer that has come follows behind this.
 */
waiting?: Array<WaitingCall>, 
/**
 * The turn goes on: this worker had it before, or it waited for people when the server stopped.
 */
resumed?: boolean, 
/**
 * How many deltas of each open item have arrived.
 */
open?: { [key in string]: number }, };

export type Input = { 
/**
 * Its id.
 */
item: string, 
/**
 * The words.
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
 * When it was accepted.
 */
at: string, 
/**
 * The turn it belongs to, if any.
 */
turn?: string, 
/**
 * What happened.
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
 * The most characters it may have.
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
 * For whom.
 */
awaits: Awaits, };

export type Awaits = "approval" | "client";

export type Permission = "allow" | "ask" | "deny";

export type Verb = { "verb": "internal_monologue", 
/**
 * The words.
 */
text: string, } | { "verb": "assistant_message", 
/**
 * The words.
 */
text: string, } | { "verb": "function_message", 
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
 * Whether it worked.
 */
status: ToolStatus, 
/**
 * The result or the error.
 */
text: string, 
/**
 * The result in richer form.
 */
content?: JsonValue, } | { "verb": "approval", 
/**
 * The call.
 */
call: string, 
/**
 * How long the question stands, in milliseconds.
 */
timeout_ms?: number, } | { "verb": "client_runs", 
/**
 * The call.
 */
call: string, 
/**
 * How long the result is awaited, in milliseconds.
 */
timeout_ms?: number, } | { "verb": "delta", 
/**
 * The item, or the call whose arguments these are.
 */
item: string, 
/**
 * Which of the item's pieces: from 0.
 */
n: number, 
/**
 * What kind of item.
 */
kind: StreamKind, 
/**
 * The piece.
 */
text: string, } | { "verb": "status", 
/**
 * The words.
 */
text: string, } | { "verb": "usage" } & Usage | { "verb": "finish", 
/**
 * Its last message.
 */
text?: string, } | { "verb": "fail", 
/**
 * A word for programs.
 */
code?: string, 
/**
 * A sentence for people.
 */
reason: string, };

export type Limits = { 
/**
 * The largest frame in bytes.
 */
frame_bytes?: number, 
/**
 * The most sessions attached at once.
 */
attached_sessions?: number, 
/**
 * The most inputs that wait in one session.
 */
queued_inputs?: number, };

/** Close codes after which the same would end the same way. */
export const FINAL_CODES: readonly number[] = [1002, 1007, 1008, 1009];
