// Drives a server with npm's `@ag-ui/client`. Its text is given to Node.js where that is installed;
// arguments: URL SCENARIO [ARGUMENT…]

import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { HttpAgent, runHttpRequest, transformHttpEventStream } from "@ag-ui/client";

const [url, scenario, ...args] = process.argv.slice(1);
const SUM = 'use calculator {"expression": "6*7"}';
const DOOR = {
  name: "open_door",
  description: "Opens the door.",
  parameters: { type: "object", properties: { side: { type: "string" } } },
};

/** The client, with the two requests for which the protocol leaves the address to the server. */
class ThreadAgent extends HttpAgent {
  post(path, body) {
    const headers = { ...this.headers, "content-type": "application/json" };
    return fetch(`${this.url}/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  }

  connect(input) {
    return transformHttpEventStream(runHttpRequest(() => this.post("connect", input)));
  }

  stop(runId) {
    return this.post("stop", { threadId: this.threadId, runId }).then((answer) => answer.json());
  }
}

// The client leaves a rejected promise behind when a connection breaks.
process.on("unhandledRejection", (error) => assert.equal(error.message, "terminated"));

const client = (name, more = {}) => new ThreadAgent({ url: `${url}/ag-ui/${name}`, ...more });

let sent = 0;
function say(agent, content) {
  sent += 1;
  agent.addMessage({ id: `user-${process.pid}-${sent}`, role: "user", content });
}

/** Runs it. Returns the events, and how the run ended. */
async function run(agent, parameters = {}, seen = () => {}, verb = "runAgent") {
  const events = [];
  await agent[verb](parameters, {
    onEvent({ event }) {
      events.push(event);
      seen(event);
    },
  });
  assert.equal(events[0].type, "RUN_STARTED");
  return { events, end: events.at(-1), session: events[0].metadata?.thoughtwire.session };
}

const types = (events) => events.map((event) => event.type);
const text = (events, type = "TEXT_MESSAGE_CONTENT") =>
  events.map((event) => (event.type === type ? event.delta : "")).join("");
const last = (agent) => agent.messages.at(-1);

async function log(session) {
  const page = await (await fetch(`${url}/v1/sessions/${session}/events?limit=1000`)).json();
  return page.events.map((record) => record.event);
}
const said = async (session) =>
  (await log(session)).filter((event) => event.kind === "user_message").map(({ text }) => text);

/** Checks that a run fails. Returns the status and the error. */
async function refused(agent, parameters, verb = "runAgent") {
  const quiet = console.error;
  console.error = () => {};
  try {
    await agent[verb](parameters);
  } catch (error) {
    assert.equal(error.payload?.type, "RUN_ERROR", error);
    assert.equal(typeof error.payload.message, "string");
    return [error.status, error.payload.code];
  } finally {
    console.error = quiet;
  }
  assert.fail("it was taken");
}

const scenarios = {
  // Reasoning, a tool of the agent, state, and a second run on the same thread.
  async conversation() {
    const agent = client("ada", { threadId: "first", initialState: { theme: "dark" } });
    say(agent, SUM);
    const runId = "run-1";
    const { events, end, session } = await run(agent, { runId });
    assert.equal(events[0].protocolVersion, "1.0");
    assert.deepEqual([events[0].threadId, events[0].runId], ["first", runId]);
    const expected = [
      "RUN_STARTED", "STATE_SNAPSHOT",
      "REASONING_START", "REASONING_MESSAGE_START", "REASONING_MESSAGE_CONTENT",
      "REASONING_MESSAGE_END", "REASONING_END",
      "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT",
      "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_FINISHED",
    ];
    const once = types(events).filter((type, at, all) => all.indexOf(type) === at);
    for (const type of expected) assert.ok(once.includes(type), `${type} ${once}`);
    assert.ok(text(events, "REASONING_MESSAGE_CONTENT").startsWith("I am to use calculator."));
    assert.deepEqual(JSON.parse(text(events, "TOOL_CALL_ARGS")), { expression: "6*7" });
    assert.deepEqual(end.outcome, { type: "success" });
    assert.ok(end.usage[0].totalTokens > 0);
    assert.deepEqual([last(agent).role, last(agent).content], ["assistant", "calculator says: 42"]);
    const roles = agent.messages.map((message) => message.role);
    assert.ok(roles.includes("reasoning") && roles.includes("tool"), roles);
    assert.equal(agent.messages.find(({ role }) => role === "tool").content, "42");
    assert.equal(agent.state.theme, "dark");
    assert.equal(typeof agent.state.memory.human, "string");

    // The same run again has no second effect, whether the client has its messages or not.
    const had = structuredClone(agent.messages);
    const again = await run(agent, { runId });
    assert.deepEqual(agent.messages, had);
    assert.deepEqual(types(again.events), ["RUN_STARTED", "STATE_SNAPSHOT", "RUN_FINISHED"]);
    const fresh = client("ada", { threadId: "first", initialMessages: had.slice(0, 1) });
    await run(fresh, { runId });
    assert.deepEqual(fresh.messages, had);
    assert.deepEqual(await said(session), [SUM]);

    say(agent, "remember that tea is hot");
    const second = await run(agent);
    assert.equal(second.session, session);
    const changes = second.events.filter(({ type }) => type === "STATE_DELTA");
    assert.ok(changes.length > 0 && agent.state.memory.human.includes("tea"), agent.state);
    assert.deepEqual(await said(session), [SUM, "remember that tea is hot"]);
    // The same id with another text is a mistake.
    const other = client("ada", { threadId: "first" });
    say(other, "something else");
    assert.deepEqual(await refused(other, { runId }), [422, "id_reused"]);
    console.log(session);
  },

  // A thread that begins elsewhere keeps its history; instructions and context are taken.
  async history() {
    const agent = client("ada", {
      threadId: "moved",
      initialMessages: [
        { id: "s", role: "system", content: "Be brief." },
        { id: "a", role: "user", content: "Hi" },
        { id: "b", role: "assistant", content: "Hello" },
        { id: "c", role: "user", content: [{ type: "text", text: "what is 6*7?" }] },
      ],
    });
    const { session } = await run(agent, { context: [{ description: "page", value: "home" }] });
    const [opened] = await log(session);
    assert.equal(opened.instructions, "Be brief.\n\npage: home");
    assert.deepEqual(opened.history.map(({ text }) => text), ["Hi", "Hello"]);
    assert.deepEqual(await said(session), ["what is 6*7?"]);
  },

  // A call that waits for approval ends the run; the answer goes on with it.
  async approval() {
    const agent = client("ada", { threadId: "asked" });
    say(agent, SUM);
    const { end, session } = await run(agent);
    assert.equal(end.outcome.type, "interrupt");
    const [interrupt] = agent.pendingInterrupts;
    const call = agent.messages.flatMap((message) => message.toolCalls ?? [])[0];
    assert.deepEqual([interrupt.reason, interrupt.toolCallId], ["tool_call", call.id]);
    assert.ok(new Date(interrupt.expiresAt) > new Date() && interrupt.message);

    // Nothing else may be said before; a client that does not know it is told.
    const other = client("ada", { threadId: "asked" });
    say(other, "hello?");
    assert.deepEqual(await refused(other), [409, "pending_interrupts"]);
    const told = await run(other, {}, undefined, "connectAgent");
    assert.deepEqual(told.end.outcome.interrupts[0].id, interrupt.id);

    const answer = (payload) => [{ interruptId: interrupt.id, status: "resolved", payload }];
    assert.deepEqual(await refused(agent, { resume: answer("yes") }), [400, "bad_request"]);
    const edited = answer({ approved: true, editedArgs: { expression: "1" } });
    assert.deepEqual(await refused(agent, { resume: edited }), [400, "bad_request"]);
    const had = structuredClone(agent.messages);
    const resume = answer({ approved: true });
    const resumed = await run(agent, { resume, runId: "answer" });
    assert.ok(!types(resumed.events).includes("TOOL_CALL_START"));
    const result = resumed.events.find(({ type }) => type === "TOOL_CALL_RESULT");
    assert.deepEqual([result.toolCallId, result.content], [call.id, "42"]);
    assert.equal(last(agent).content, "calculator says: 42");
    assert.deepEqual(agent.pendingInterrupts, []);

    // The answer counts once, also if another one comes later.
    for (const approved of [true, false]) {
      const late = client("ada", { threadId: "asked", initialMessages: had });
      await run(late, { resume: answer({ approved }) });
      assert.equal(last(late).content, "calculator says: 42");
    }
    assert.deepEqual(await said(session), [SUM]);

    // One that is cancelled counts as denied.
    say(agent, SUM);
    await run(agent);
    const cancelled = [{ interruptId: agent.pendingInterrupts[0].id, status: "cancelled" }];
    const denied = await run(agent, { resume: cancelled });
    const error = denied.events.find(({ type }) => type === "TOOL_CALL_RESULT");
    assert.equal(error.metadata.thoughtwire.status, "error");
    assert.deepEqual(denied.end.outcome, { type: "success" });
  },

  // A call that waits for approval. Prints what the client has.
  async ask() {
    const agent = client("ada", { threadId: "patient" });
    say(agent, SUM);
    await run(agent);
    const [interrupt] = agent.pendingInterrupts;
    console.log(JSON.stringify({ messages: agent.messages, interrupt: interrupt.id }));
  },

  // Answers it after a restart.
  async answer(asked) {
    const { messages, interrupt } = JSON.parse(asked);
    const agent = client("ada", { threadId: "patient", initialMessages: messages });
    const again = await run(agent, {}, undefined, "connectAgent");
    assert.deepEqual(again.end.outcome.interrupts.map(({ id }) => id), [interrupt]);
    const resume = [{ interruptId: interrupt, status: "resolved", payload: true }];
    await run(agent, { resume });
    assert.equal(last(agent).content, "calculator says: 42");
    assert.equal(agent.messages.filter(({ role }) => role === "tool").length, 1);
  },

  // A tool of the client ends the run; its result in the messages goes on.
  async frontendTool() {
    const agent = client("ada", { threadId: "door" });
    say(agent, 'use open_door {"side": "left"}');
    const { end, session } = await run(agent, { tools: [DOOR] });
    const call = agent.messages.flatMap((message) => message.toolCalls ?? [])[0];
    assert.deepEqual(end.outcome, { type: "success", pendingToolCallIds: [call.id] });
    assert.deepEqual(JSON.parse(call.function.arguments), { side: "left" });
    agent.addMessage({ id: "opened", role: "tool", toolCallId: call.id, content: "it is open" });
    const had = structuredClone(agent.messages);
    const next = await run(agent, { tools: [DOOR], runId: "after-the-door" });
    assert.ok(!types(next.events).some((type) => type.startsWith("TOOL_CALL")));
    assert.equal(last(agent).content, "open_door says: it is open");
    const again = client("ada", { threadId: "door", initialMessages: had });
    await run(again, { tools: [DOOR], runId: "after-the-door" });
    assert.deepEqual(again.messages, agent.messages);
    const kinds = (await log(session)).map(({ kind }) => kind);
    assert.equal(kinds.filter((kind) => kind === "tool_returned").length, 1);

    // One that failed.
    say(agent, 'use open_door {"side": "right"}');
    await run(agent, { tools: [DOOR] });
    const second = agent.messages.flatMap((message) => message.toolCalls ?? []).at(-1);
    const content = "it creaks";
    const error = "it is locked";
    agent.addMessage({ id: "locked", role: "tool", toolCallId: second.id, content, error });
    await run(agent, { tools: [DOOR] });
    const returned = (await log(session)).filter(({ kind }) => kind === "tool_returned").at(-1);
    assert.deepEqual([returned.status, returned.text], ["error", "it is locked\nit creaks"]);
    // What is said with a result joins the turn.
    say(agent, 'use open_door {"side": "top"}');
    await run(agent, { tools: [DOOR] });
    const third = agent.messages.flatMap((message) => message.toolCalls ?? []).at(-1);
    agent.addMessage({ id: "third", role: "tool", toolCallId: third.id, content: "open" });
    say(agent, "say: thank you");
    const joined = structuredClone(agent.messages);
    await run(agent, { tools: [DOOR], runId: "joined" });
    const thanks = client("ada", { threadId: "door", initialMessages: joined });
    await run(thanks, { tools: [DOOR], runId: "joined" });
    const inputs = (await log(session)).filter(({ kind }) => kind === "user_message");
    assert.equal(inputs.filter(({ text }) => text === "say: thank you").length, 1);
    const turns = (await log(session)).filter(({ kind }) => kind === "turn_started");
    assert.equal(turns.length, inputs.length - 1);

    // A client that goes on without a result has left the call.
    say(agent, 'use open_door {"side": "back"}');
    await run(agent, { tools: [DOOR] });
    say(agent, "say: never mind");
    await run(agent, { tools: [DOOR] });
    assert.equal(last(agent).content, "never mind");
    const left = (await log(session)).filter(({ kind }) => kind === "tool_returned").at(-1);
    assert.deepEqual([left.status, left.text], ["error", "the client went on without running it"]);

    // A result of a call that this server does not know is told in words.
    const foreign = client("ada", {
      threadId: "elsewhere",
      initialMessages: JSON.parse(JSON.stringify(had).replaceAll(call.id, "call_elsewhere")),
    });
    assert.deepEqual(await said((await run(foreign)).session), ["open_door returned: it is open"]);
  },

  // Two clients at once on the thread that a session's id names. Prints what they got.
  async together(threadId) {
    const ask = async (factor) => {
      const agent = client("ada", { threadId });
      say(agent, `what is 6*${factor}?`);
      const { session } = await run(agent);
      assert.equal(session, threadId);
      return [agent.messages[0].content, last(agent).content];
    };
    console.log(JSON.stringify(Object.fromEntries(await Promise.all([ask(7), ask(8)]))));
  },

  // A second client connects to a thread on which a turn runs, and gets its past and the rest.
  async connect() {
    const nobody = await run(client("slow", { threadId: "new" }), {}, undefined, "connectAgent");
    assert.deepEqual(nobody.events[1].messages, []);
    const agent = client("slow", { threadId: "watched" });
    say(agent, "go");
    let second;
    const watcher = client("slow", { threadId: "watched" });
    const first = run(agent, {}, (event) => {
      if (event.type === "TEXT_MESSAGE_CONTENT") second ??= run(watcher, {}, undefined, "connectAgent");
    });
    await first;
    const { events, end } = await second;
    assert.equal(events[1].type, "MESSAGES_SNAPSHOT");
    assert.deepEqual(end.outcome, { type: "success" });
    assert.equal(last(watcher).content, last(agent).content);
    assert.equal(last(watcher).id, last(agent).id);
    // Its messages are those of the server, so that it can go on.
    const content = watcher.messages.map((message) => message.content);
    const third = client("slow", { threadId: "watched" });
    await run(third, {}, undefined, "connectAgent");
    assert.deepEqual(third.messages.map((message) => message.content), content);
    say(third, "again");
    const { session } = await run(third);
    assert.deepEqual(await said(session), ["go", "again"]);
  },

  // Reads a slow run until the server dies, and goes on when a line comes in.
  async survive() {
    const agent = client("slow", { threadId: "long" });
    say(agent, "go");
    const runId = "long-run";
    const deltas = [];
    let session;
    const seen = (event) => {
      session ??= event.metadata?.thoughtwire.session;
      if (event.type !== "TEXT_MESSAGE_CONTENT") return;
      deltas.push(event.delta);
      if (deltas.length === 3) console.log("begun");
    };
    console.error = () => {};
    await assert.rejects(run(agent, { runId }, seen));
    assert.equal(last(agent).content, deltas.join(""));
    const before = deltas.length;
    console.log("broken");
    await new Promise((resolve) => createInterface({ input: process.stdin }).once("line", resolve));
    const { events, end } = await run(agent, { runId }, seen);
    assert.deepEqual(end.outcome, { type: "success" });
    assert.ok(deltas.length > before, "it went on");
    assert.ok(!types(events).includes("RUN_ERROR"));
    const records = await log(session);
    const whole = records.map((event) => (event.kind === "message" ? event.text : "")).join("");
    assert.equal(deltas.join(""), whole);
    assert.deepEqual(agent.messages.map(({ role }) => role), ["user", "assistant"]);
    assert.equal(last(agent).content, whole);
    assert.ok(records.some(({ kind }) => kind === "turn_resumed"));
    assert.deepEqual(await said(session), ["go"]);
    process.stdin.destroy();
  },

  // A client that leaves cancels nothing; `stop` does, and the run says so.
  async stop() {
    const agent = client("endless", { threadId: "stopped" });
    say(agent, "go");
    let session;
    await run(agent, { runId: "left" }, (event) => {
      session ??= event.metadata?.thoughtwire.session;
      if (event.type === "TEXT_MESSAGE_CONTENT") agent.abortRun();
    }).catch(() => {});
    const running = await (await fetch(`${url}/v1/sessions/${session}`)).json();
    assert.equal(running.session.running, true);
    let stopped;
    const { end } = await run(agent, { runId: "left" }, (event) => {
      if (event.type === "TEXT_MESSAGE_CONTENT") stopped ??= agent.stop("left");
    });
    assert.deepEqual(await stopped, { stopped: true });
    assert.deepEqual(end.outcome, { type: "cancelled" });
    assert.deepEqual(await agent.stop("left"), { stopped: false });
    assert.deepEqual(await agent.stop(), { stopped: false });

    // A run that waits behind another one is withdrawn.
    const other = client("endless", { threadId: "stopped" });
    say(agent, "once more");
    say(other, "me too");
    let second;
    const first = run(agent, { runId: "first" }, (event) => {
      if (event.type === "TEXT_MESSAGE_CONTENT") second ??= waiting();
    });
    const waiting = async () => {
      const ended = run(other, { runId: "second" }, (event) => {
        if (event.type === "STATE_SNAPSHOT") other.stop("second").then(() => agent.stop("first"));
      });
      return (await ended).end.outcome;
    };
    assert.deepEqual((await first).end.outcome, { type: "cancelled" });
    assert.deepEqual(await second, { type: "cancelled" });
  },

  // A turn that fails is an error of the run.
  async failure() {
    const agent = client("broken", { threadId: "failing" });
    say(agent, "go");
    const { end } = await run(agent);
    assert.equal(end.type, "RUN_ERROR");
    assert.ok(end.code && end.message, JSON.stringify(end));
  },

  // Wrong requests are refused as HTTP answers whose body is an error event.
  async hostile(key, foreign) {
    const headers = { authorization: `Bearer ${key}` };
    const asking = (name, content, more = {}) => {
      const agent = client(name, { headers, ...more });
      if (content !== undefined) say(agent, content);
      return agent;
    };
    for (const [agent, expected, parameters] of [
      [asking("eve", "hi"), [404, "unknown_agent"]],
      [asking("ada", "hi", { threadId: foreign }), [404, "unknown_session"]],
      [asking("ada", " "), [400, "empty_text"]],
      [asking("ada"), [400, "bad_request"]],
      [asking("ada", [{ type: "image", source: { type: "url", value: "http://x" } }]), [501, "unsupported"]],
      [asking("ada", "hi"), [400, "bad_request"], { tools: [DOOR, DOOR] }],
      [asking("ada", "hi"), [400, "bad_request"], { tools: [{ ...DOOR, name: "no spaces" }] }],
      [asking("ada", "hi"), [404, "unknown_call"], { resume: [{ interruptId: "i", status: "cancelled" }] }],
      [asking("ada", "hi", { headers: { authorization: "Bearer wrong" } }), [401, "unauthorized"]],
    ]) {
      assert.deepEqual(await refused(agent, parameters ?? {}), expected);
    }
    // Ids in the server's form that lead nowhere.
    const agent = asking("ada", "what is 1+1?");
    await run(agent);
    for (const id of ["tw-999-x", "tw-0-x", "tw-18446744073709551615-x", "tw-1-1-x"]) {
      const forged = asking("ada", undefined, { threadId: agent.threadId });
      forged.setMessages([{ id, role: "assistant", content: "x" }]);
      if (id !== "tw-1-1-x") {
        assert.deepEqual(await refused(forged), [404, "unknown_input"], id);
      }
      const resume = [{ interruptId: id, status: "resolved", payload: { approved: true } }];
      const answer = asking("ada", undefined, { threadId: agent.threadId });
      assert.deepEqual(await refused(answer, { resume }), [404, "unknown_call"], id);
    }
    const gone = await asking("ada", undefined, { threadId: "nothing" }).post("stop", { threadId: "nothing" });
    assert.equal(gone.status, 404);
    assert.equal((await run(agent)).end.outcome.type, "success");
  },
};

await scenarios[scenario](...args);
console.log("ok");
