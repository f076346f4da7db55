// Drives a server with npm's `ai` and `@ai-sdk/react`, as their users do.
// Its text is given to Node.js where they are installed; arguments: URL SCENARIO [ARGUMENT…]

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { Chat } from "@ai-sdk/react";
import {
  DefaultChatTransport,
  lastAssistantMessageIsCompleteWithApprovalResponses,
  lastAssistantMessageIsCompleteWithToolCalls,
} from "ai";

const [url, scenario, ...args] = process.argv.slice(1);
const SUM = 'use calculator {"expression": "6*7"}';
const DOOR = 'use open_door {"side": "left"}';
const doorTools = {
  open_door: {
    description: "Opens the door.",
    inputSchema: { type: "object", properties: { side: { type: "string" } } },
  },
};

/** A chat with an agent. `requests` and `chunks` are what went over the wire. */
function open(id, { agent = "ada", body, key, replay, ...more } = {}) {
  const requests = [];
  const transport = new DefaultChatTransport({
    api: `${url}/ai-sdk/${agent}`,
    body,
    headers: key && { authorization: `Bearer ${key}` },
    resumeStreamIsReplay: replay,
    fetch: async (input, init) => {
      requests.push({ url: String(input), method: init.method, body: init.body });
      const response = await fetch(input, init);
      if (response.status === 200) {
        assert.equal(response.headers.get("x-vercel-ai-ui-message-stream"), "v1");
        assert.match(response.headers.get("content-type"), /^text\/event-stream/);
      }
      return response;
    },
  });
  return Object.assign(new Chat({ id, transport, ...more }), { requests });
}

const last = (chat) => chat.messages.at(-1);
const texts = (message, kind = "text") =>
  message.parts.filter((part) => part.type === kind).map((part) => part.text);
const written = (chat) =>
  last(chat)?.role === "assistant" ? texts(last(chat)).join("") : "";
const tool = (message) => message.parts.find((part) => part.type.startsWith("tool-"));

/** Waits until a condition holds: chats tell nothing to programs without React. */
async function until(condition) {
  const end = Date.now() + 30_000;
  while (!condition()) {
    assert.ok(Date.now() < end, `it did not come: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function get(path) {
  const response = await fetch(`${url}${path}`);
  assert.equal(response.status, 200);
  return response.json();
}

async function events(session) {
  const page = await get(`/v1/sessions/${session}/events?limit=1000`);
  return page.events.map((record) => record.event);
}

const kinds = async (session) => (await events(session)).map((event) => event.kind);
const count = (list, kind) => list.filter((one) => one === kind).length;

async function decide(session, call, decision) {
  const answer = await fetch(`${url}/v1/sessions/${session}/calls/${call}/decision`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ decision }),
  });
  assert.equal(answer.status, 200);
}

const scenarios = {
  // Reasoning, a tool of the agent, and the reply; then a second message in the same chat.
  async conversation() {
    const finished = [];
    const chat = open("talk", { onFinish: (end) => finished.push(end) });
    await chat.sendMessage({ text: SUM });
    assert.equal(chat.error, undefined);
    const first = last(chat);
    assert.deepEqual(
      first.parts.map((part) => part.type),
      ["step-start", "reasoning", "tool-calculator", "step-start", "reasoning", "text"],
    );
    assert.deepEqual(texts(first), ["calculator says: 42"]);
    assert.equal(texts(first, "reasoning")[0], "I am to use calculator.");
    assert.ok(first.parts.every((part) => !("state" in part) || /done|available/.test(part.state)));
    const { input, output, providerExecuted } = tool(first);
    assert.deepEqual([input, output, providerExecuted], [{ expression: "6*7" }, "42", true]);
    assert.deepEqual(
      finished.map(({ isError, finishReason }) => [isError, finishReason]),
      [[false, "stop"]],
    );
    const { session, usage } = first.metadata;
    assert.equal(usage.totalTokens, usage.inputTokens + usage.outputTokens);
    await chat.sendMessage({ text: "say: hello" });
    assert.deepEqual(texts(last(chat)), ["hello"]);
    assert.equal(last(chat).metadata.session, session);
    assert.equal(new Set(chat.messages.map((message) => message.id)).size, 4);
    // Another page with only its newest message is in the same session.
    const other = open("talk");
    await other.sendMessage({ text: "say: again" });
    assert.equal(last(other).metadata.session, session);
    assert.equal(count(await kinds(session), "user_message"), 3);
    // A session's id is also the id of a chat.
    const same = open(session);
    await same.sendMessage({ text: "say: by id" });
    assert.equal(last(same).metadata.session, session);
    assert.notEqual(session, (await get("/v1/agents/ada")).agent.main_session);
  },

  // A call is approved, another one denied, each in the SDK's own words.
  async approval() {
    const chat = open("ask", {
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
    });
    for (const [approved, state, reply] of [
      [true, "output-available", /^calculator says: 42$/],
      [false, "output-denied", /^calculator failed: /],
    ]) {
      await chat.sendMessage({ text: SUM });
      const asked = last(chat);
      assert.equal(tool(asked).state, "approval-requested");
      assert.deepEqual(texts(asked), []);
      const before = chat.requests.length;
      await chat.addToolApprovalResponse({ id: tool(asked).approval.id, approved });
      await until(() => chat.status === "ready" && texts(last(chat)).length > 0);
      assert.equal(last(chat).id, asked.id);
      assert.equal(tool(last(chat)).state, state);
      assert.match(texts(last(chat))[0], reply);
      // One request for the answer, and none behind it.
      assert.equal(chat.requests.length, before + 1);
    }
    assert.equal(chat.messages.length, 4);
    const { session } = last(chat).metadata;
    const settled = (await events(session)).filter((event) => event.kind === "approval_settled");
    assert.deepEqual(
      settled.map(({ decision, by }) => [decision, by]),
      [
        ["approved", "ai-sdk"],
        ["denied", "ai-sdk"],
      ],
    );
    // The same answer sent again has no second effect, and shows the same rest.
    const { body, url: to } = chat.requests.at(-1);
    const again = await fetch(to, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    assert.match(await again.text(), /tool-output-denied.*calculator failed.*\[DONE\]/s);
    assert.equal(count(await kinds(session), "approval_settled"), 2);
  },

  // Another client answers a request for approval; the page resumes.
  async approved_beside() {
    const chat = open("beside");
    await chat.sendMessage({ text: SUM });
    const { session } = last(chat).metadata;
    const { toolCallId, approval } = tool(last(chat));
    await decide(session, toolCallId.split("_").at(-1), "approved");
    await chat.addToolApprovalResponse({ id: approval.id, approved: false });
    // The first answer counts.
    await chat.sendMessage();
    assert.equal(chat.error, undefined);
    assert.deepEqual(texts(last(chat)), ["calculator says: 42"]);
    assert.equal(tool(last(chat)).state, "output-available");
    assert.equal(count(await kinds(session), "approval_settled"), 1);
  },

  // A message that comes while a call waits is answered after its turn, and loses nothing.
  async message_before_the_answer() {
    const chat = open("between");
    await chat.sendMessage({ text: SUM });
    const asked = last(chat);
    const waiting = chat.sendMessage({ text: "say: later" });
    await until(() => chat.requests.length === 2);
    await chat.addToolApprovalResponse({ id: tool(asked).approval.id, approved: true });
    const other = open("between", { messages: structuredClone(chat.messages.slice(0, 3)) });
    await other.sendMessage();
    const goesOn = other.messages.find((message) => message.id === asked.id);
    assert.deepEqual(texts(goesOn), ["calculator says: 42"]);
    await waiting;
    assert.deepEqual(texts(last(chat)), ["later"]);
  },

  // Tools that the client runs: with a result of any form, with an error, after a reload, and again.
  async client_tools() {
    const ran = [];
    const outputs = [
      { state: "output-available", output: { open: true, side: "left" } },
      { state: "output-error", errorText: "the door is locked" },
    ];
    const chat = open("door", {
      body: { tools: doorTools },
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
      onToolCall({ toolCall }) {
        ran.push(toolCall.toolName);
        assert.deepEqual(toolCall.input, { side: "left" });
        chat.addToolOutput({
          tool: toolCall.toolName,
          toolCallId: toolCall.toolCallId,
          ...outputs[ran.length - 1],
        });
      },
    });
    await chat.sendMessage({ text: DOOR });
    await until(() => chat.status === "ready" && texts(last(chat)).length > 0);
    assert.deepEqual(texts(last(chat)), ['open_door says: {"open":true,"side":"left"}']);
    assert.deepEqual(tool(last(chat)).output, { open: true, side: "left" });
    await chat.sendMessage({ text: DOOR });
    await until(() => chat.status === "ready" && texts(last(chat)).length > 0);
    assert.deepEqual(texts(last(chat)), ["open_door failed: the door is locked"]);
    assert.deepEqual(ran, ["open_door", "open_door"]);
    assert.equal(chat.requests.length, 4);
    assert.equal(chat.messages.length, 4);
    // Agent's own tools are not the client's.
    await chat.sendMessage({ text: "what is 6*7?" });
    assert.deepEqual([ran.length, chat.requests.length], [2, 5]);

    // A call whose page was closed is run by the next one, which resumes.
    const closed = open("reload", { body: { tools: doorTools } });
    await closed.sendMessage({ text: DOOR });
    assert.equal(tool(last(closed)).state, "input-available");
    const reloaded = open("reload", {
      messages: closed.messages.slice(0, 1),
      body: { tools: doorTools },
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
      onToolCall({ toolCall: { toolName, toolCallId } }) {
        reloaded.addToolOutput({ tool: toolName, toolCallId, output: "it is open" });
      },
    });
    await reloaded.resumeStream();
    await until(() => reloaded.status === "ready" && texts(last(reloaded)).length > 0);
    assert.deepEqual(texts(last(reloaded)), ["open_door says: it is open"]);
    assert.equal(reloaded.messages.length, 2);
  },

  // Two clients at once on one session, which is given. Prints the replies.
  async together(session) {
    const chats = [open(session), open(session)];
    await Promise.all(
      chats.map((chat, at) => chat.sendMessage({ text: `say: I am number ${at}` })),
    );
    const replies = {};
    for (const [at, chat] of chats.entries()) {
      assert.equal(last(chat).metadata.session, session);
      [replies[`say: I am number ${at}`]] = texts(last(chat));
    }
    console.log(JSON.stringify(replies));
  },

  // Two clients see the same answer while it is written; one of them came later.
  async second_reader() {
    const first = open("shared", { agent: "short" });
    const sending = first.sendMessage({ text: "go" });
    await until(() => written(first) !== "");
    const second = open("shared", { agent: "short", messages: first.messages.slice(0, 1) });
    await second.resumeStream();
    await sending;
    assert.deepEqual(last(second), last(first));
    assert.equal(await second.resumeStream(), undefined);
    assert.equal(second.messages.length, 2);
  },

  // The same message sent again has no second effect, and gets the same answer.
  async once() {
    const message = { id: "m-1", role: "user", parts: [{ type: "text", text: SUM }] };
    const send = async (more) => {
      const response = await fetch(`${url}/ai-sdk/ada`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ id: "once", messages: [message], ...more }),
      });
      return [response.status, await response.text()];
    };
    const [first, ...others] = await Promise.all([send(), send(), send()]);
    const parts = (text) => text.split("\n\n").filter((part) => !/-(delta|start|end)"/.test(part));
    for (const other of others) assert.deepEqual(parts(other[1]), parts(first[1]));
    const session = first[1].match(/"session":"(\w+)"/)[1];
    assert.equal(count(await kinds(session), "user_message"), 1);
    // Another text under the same id is refused, unless it is an edit.
    message.parts[0].text = "say: edited";
    const [status, reason] = await send();
    assert.equal(status, 422, reason);
    const [edited, stream] = await send({ messageId: "m-1" });
    assert.equal(edited, 200);
    assert.match(stream, /"delta":"edited"/);
    assert.deepEqual(parts((await send({ messageId: "m-1" }))[1]), parts(stream));
    assert.equal(count(await kinds(session), "user_message"), 2);
  },

  // Another answer, an edit, and a client that sends its newest message only.
  async again() {
    const chat = open("again");
    await chat.sendMessage({ text: "say: one" });
    const { id, metadata } = last(chat);
    await chat.regenerate();
    assert.deepEqual(texts(last(chat)), ["one"]);
    assert.notEqual(last(chat).id, id);
    await chat.sendMessage({ text: "say: two", messageId: chat.messages[0].id });
    assert.deepEqual(texts(last(chat)), ["two"]);
    assert.equal(chat.messages.length, 2);
    const said = (await events(metadata.session)).filter((one) => one.kind === "user_message");
    assert.deepEqual(
      said.map(({ text, from }) => [text, from]),
      [
        ["say: one", "ai-sdk"],
        ["say: one", "ai-sdk"],
        ["say: two", "ai-sdk"],
      ],
    );
    const transport = new DefaultChatTransport({
      api: `${url}/ai-sdk/ada`,
      prepareSendMessagesRequest: ({ id, messages }) => ({
        body: { id, message: messages.at(-1) },
      }),
    });
    const newest = new Chat({ id: "again", transport, messages: chat.messages });
    await newest.sendMessage({ text: "say: three" });
    assert.deepEqual(texts(last(newest)), ["three"]);
  },

  // An aborted request ends no turn, and the page resumes; the stop route ends it.
  async stop() {
    const chat = open("long", { agent: "slow" });
    const sending = chat.sendMessage({ text: "go" });
    const pieces = () => written(chat);
    await until(() => pieces().length > 100);
    await chat.stop();
    await sending;
    const before = pieces();
    const { session } = last(chat).metadata;
    assert.equal(count(await kinds(session), "turn_ended"), 0);
    const resuming = chat.resumeStream();
    await until(() => pieces().length > before.length);
    assert.ok(pieces().startsWith(before));
    // While it is answered, a retry follows that answer.
    const retry = open("long", { agent: "slow", messages: chat.messages.slice(0, 1) });
    const retrying = retry.regenerate();
    await until(() => written(retry) !== "");
    assert.equal(last(retry).id, last(chat).id);
    const stop = async (body) => {
      const response = await fetch(`${url}/ai-sdk/slow/long/stop`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      assert.deepEqual([response.status, await response.json()], [200, { success: true }]);
    };
    // An older answer that is stopped late is not this one.
    await stop({ assistantMessage: { ...last(chat), id: "msg_0" } });
    assert.equal(count(await kinds(session), "turn_ended"), 0);
    await stop({ assistantMessage: last(chat) });
    await Promise.all([resuming, retrying]);
    assert.deepEqual([chat.status, chat.error], ["ready", undefined]);
    assert.ok(last(chat).parts.every((part) => part.state !== "streaming"));
    const [ended] = (await events(session)).filter((event) => event.kind === "turn_ended");
    assert.equal(ended.outcome, "cancelled");
    await stop({});
    await chat.resumeStream();
    assert.equal(chat.status, "ready");
    assert.equal(count(await kinds(session), "user_message"), 1);
    const unknown = open("nobody", { agent: "slow" });
    await unknown.resumeStream();
    assert.deepEqual([unknown.status, unknown.messages], ["ready", []]);
  },

  // Reads the beginning of an answer whose server is then killed, and goes on when it is told to.
  async killed() {
    const chat = open("crash", { agent: "slow" });
    const input = createInterface({ input: process.stdin });
    const lines = input[Symbol.asyncIterator]();
    const sending = chat.sendMessage({ text: "go" });
    const pieces = () => written(chat);
    await until(() => pieces().length > 200);
    const { id, metadata } = last(chat);
    console.log(metadata.session);
    await sending;
    assert.equal(chat.status, "error");
    const before = pieces();
    await lines.next();
    input.close();
    await chat.resumeStream();
    assert.equal(chat.error, undefined);
    assert.deepEqual([chat.messages.length, last(chat).id], [2, id]);
    const saved = (await events(metadata.session)).filter((event) => event.kind === "message");
    assert.equal(pieces(), saved.map((event) => event.text).join(""));
    // It is one text part, and it has what the page had of it.
    assert.equal(texts(last(chat)).length, 1);
    assert.ok(before.startsWith("1 ") && pieces().startsWith("1 "));
  },

  // A call that a kill interrupts after its approval is asked about again, and the answer to the
  // first question does not run it again.
  async interrupted(payments) {
    const chat = open("pay", {
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
    });
    const input = createInterface({ input: process.stdin });
    const lines = input[Symbol.asyncIterator]();
    await chat.sendMessage({ text: 'use bank__pay {"sum": 1}' });
    const { session } = last(chat).metadata;
    const first = tool(last(chat)).approval.id;
    await chat.addToolApprovalResponse({ id: first, approved: true });
    await until(() => existsSync(payments) && readFileSync(payments, "utf8") === "1\n");
    console.log(session);
    await until(() => chat.status === "error");
    await lines.next();
    input.close();
    await chat.resumeStream();
    const { state, approval } = tool(last(chat));
    assert.deepEqual([state, approval.descriptor], ["approval-requested", { about: "retry" }]);
    assert.notEqual(approval.id, first);
    const old = structuredClone(chat.messages);
    const part = tool(old.at(-1));
    part.state = "approval-responded";
    part.approval = { id: first, approved: true };
    const stale = await fetch(`${url}/ai-sdk/ada`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ id: "pay", messages: old }),
    });
    assert.match(await stale.text(), /"finishReason":"tool-calls"/);
    assert.equal(readFileSync(payments, "utf8"), "1\n");
    await chat.addToolApprovalResponse({ id: approval.id, approved: true });
    await until(() => chat.status === "ready" && written(chat) !== "");
    assert.equal(written(chat), "bank__pay says: paid 1");
    assert.equal(readFileSync(payments, "utf8"), "1\n1\n");
  },

  // A turn that fails is an error, and the chat goes on.
  async failing() {
    const chat = open("fails", { agent: "broken" });
    await chat.sendMessage({ text: "go" });
    assert.equal(chat.status, "error");
    assert.ok(chat.error.message.length > 0);
    await chat.resumeStream();
    assert.equal(chat.status, "ready");
  },

  // Other users' agents and sessions, wrong keys, and wrong requests.
  async hostile(key, foreign) {
    const refused = async (chat, text) => {
      await chat.sendMessage({ text: "hi" });
      assert.equal(chat.status, "error");
      assert.match(chat.error.message, text);
    };
    await refused(open("x", { key: "tw-wrong" }), /key/);
    await refused(open("x"), /key/);
    await refused(open("x", { key, agent: "eve" }), /^agent 'eve' does not exist$/);
    const files = open("x", { key });
    await files.sendMessage({
      files: [{ type: "file", mediaType: "image/png", url: "data:image/png;base64,AA==" }],
    });
    assert.match(files.error.message, /stores no images/);
    await refused(open("x", { key, body: { tools: { "no name": {} } } }), /name/);
    // The id of another user's session is a name like any other.
    const named = open(foreign, { key });
    await named.sendMessage({ text: "say: hello" });
    assert.deepEqual(texts(last(named)), ["hello"]);
    assert.notEqual(last(named).metadata.session, foreign);
    const odd = open("a/b ?%2e\u{1f43b}", { key });
    await odd.sendMessage({ text: "say: odd" });
    await odd.resumeStream();
    assert.deepEqual([odd.error, texts(last(odd))], [undefined, ["odd"]]);
  },
};

await scenarios[scenario](...args);
console.log("ok");
