/** Calls that are made once over all attempts of a turn. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, it } from "node:test";

import {
  CallFailedError,
  type Client,
  type Interface,
  OutcomeUnknown,
  offer,
  RefusedError,
} from "../src/index.js";
import { connectedClient, type FakeSocket } from "./fake.js";
import { isTurnEnd, messages, readUntil, TestServer } from "./support.js";

const clients: Client[] = [];
after(() => Promise.all(clients.map((client) => client.close())));

const AT = "2026-01-01T00:00:00.000Z";
const settled = () => new Promise((resolve) => setImmediate(resolve));
const called = (call: string, args: object = {}) => ({
  kind: "tool_called",
  call,
  name: "pay",
  args,
});
const returned = (call: string, text: string, more: object = {}) => ({
  kind: "tool_returned",
  call,
  name: "pay",
  status: "success",
  text,
  ...more,
});
const past = (...happened: object[]) =>
  [{ kind: "turn_started", input: "i-1" }, ...happened].map((event, n) => ({
    seq: n + 3,
    at: AT,
    turn: "t-1",
    event,
  }));

/** Runs a resumed turn against a scripted server; returns its socket. */
async function resumedTurn(
  history: object[],
  answer: (turn: Interface) => Promise<string>,
): Promise<FakeSocket> {
  const { client, socket } = connectedClient();
  clients.push(client);
  offer(client, "ada", answer, { resumable: true });
  const asked = socket.sent.splice(0).find((frame) => frame.type === "offer")!;
  assert.equal(asked.resumable, true);
  const agent = { id: "a-1", name: "ada", model: "offered" };
  socket.deliver({ type: "ack", id: asked.id, agent, session: "s-1", worker: "w", turns: [] });
  const input = { item: "i-1", text: "hello" };
  const run = { type: "run", agent: "a-1", session: "s-1", turn: "t-1", input };
  socket.deliver({ ...run, resumed: true, attempt: 1, history });
  await settled();
  return socket;
}

/** Takes the next `say`, which must have this verb. */
async function hears(socket: FakeSocket, verb: string): Promise<Record<string, unknown>> {
  for (let n = 0; n < 100 && socket.sent.length === 0; n += 1) await settled();
  const frame = socket.sent.shift();
  assert.equal(frame?.verb, verb);
  return frame!;
}

async function acks(socket: FakeSocket, verb: string): Promise<Record<string, unknown>> {
  const frame = await hears(socket, verb);
  socket.deliver({ type: "ack", id: frame.id, seq: 1 });
  return frame;
}

const tool = (call: string) => `ran ${call}`;

it("does not run calls again that returned", async () => {
  const refused = [
    { kind: "approval_asked", call: "c-5", name: "pay", expires_at: AT },
    { kind: "approval_settled", call: "c-5", decision: "denied" },
  ];
  const history = past(
    called("c-1", { a: 1, b: 2 }),
    returned("c-1", "first"),
    called("c-2", { a: 1, b: 2 }),
    returned("c-2", "[2]", { content: [2] }),
    called("c-3"),
    returned("c-3", "no money", { status: "error" }),
    called("c-4"),
    returned("c-4", "who knows", { status: "unknown" }),
    called("c-5"),
    ...refused,
    returned("c-5", "The owner denied this call.", { status: "error" }),
  );
  const socket = await resumedTurn(history, async (turn) => {
    assert.deepEqual([turn.resumed, turn.attempt, turn.soFar.length], [true, 1, history.length]);
    assert.equal(await turn.callOnce("pay", { b: 2, a: 1 }, tool), "first");
    assert.deepEqual(await turn.callOnce("pay", { a: 1, b: 2 }, tool), [2]);
    for (const error of [CallFailedError, OutcomeUnknown, RefusedError])
      await assert.rejects(turn.callOnce("pay", {}, tool), error);
    return String(await turn.callOnce("pay", {}, tool));
  });
  const { id } = await acks(socket, "tool_called");
  const { call, text } = await acks(socket, "tool_returned");
  assert.deepEqual([call, text], [id, `ran ${id}`]);
  assert.equal((await hears(socket, "finish")).text, `ran ${id}`);
});

it("runs a safe call in doubt again, and closes one that must not run as unknown", async () => {
  const socket = await resumedTurn(past(called("c-1"), called("c-2")), async (turn) => {
    assert.equal(await turn.callOnce("pay", {}, tool, { replay: "safe" }), "ran c-1");
    await assert.rejects(turn.callOnce("pay", {}, tool, { replay: "never" }), OutcomeUnknown);
    return "done";
  });
  assert.equal((await acks(socket, "tool_retried")).call, "c-1");
  assert.equal((await acks(socket, "tool_returned")).call, "c-1");
  assert.equal((await acks(socket, "tool_returned")).status, "unknown");
  await hears(socket, "finish");
});

for (const decision of ["approved", "done", "denied"]) {
  it(`asks the owner about a call in doubt: ${decision}`, async () => {
    const earlier = [
      { kind: "approval_asked", call: "c-1", name: "pay", expires_at: AT },
      { kind: "approval_settled", call: "c-1", decision: "approved" },
    ];
    const socket = await resumedTurn(past(called("c-1"), ...earlier), async (turn) => {
      const made = turn.callOnce("pay", {}, tool, { timeout: 60 });
      return String(await made.catch((error: Error) => `failed: ${error.message}`));
    });
    const question = await hears(socket, "approval");
    assert.deepEqual([question.about, question.timeout_ms], ["retry", 60_000]);
    const about = { turn: "t-1", call: "c-1" };
    // The answer to an earlier question is not taken for the answer to this one.
    const approved = { type: "approval_settled", decision: "approved", ...about };
    socket.deliver(approved);
    socket.deliver({ type: "ack", id: question.id, seq: 1 });
    if (decision === "approved") {
      await settled();
      assert.deepEqual(socket.sent, []);
      socket.deliver(approved);
      await acks(socket, "tool_returned");
    } else {
      const status = decision === "done" ? "success" : "error";
      socket.deliver({ type: "tool_returned", status, text: "paid?", ...about });
    }
    const expected = { approved: "ran c-1", done: "paid?", denied: "failed: paid?" }[decision];
    assert.equal((await hears(socket, "finish")).text, expected);
  });
}

it("runs only safe calls if the turn's events are cut", async () => {
  const history = past(called("c-1"), returned("c-1", "first")).slice(2);
  const socket = await resumedTurn(history, async (turn) => {
    await assert.rejects(turn.callOnce("pay", {}, tool), OutcomeUnknown);
    return "done";
  });
  await hears(socket, "finish");
});

it("goes on with the turn of a killed process", async () => {
  const server = await TestServer.start();
  const dir = mkdtempSync(join(tmpdir(), "thoughtwire-"));
  const effects = join(dir, "effects");
  const url = `${server.url.replace("http", "ws")}/v1/ws`;
  const program = new URL("./once-worker.js", import.meta.url).pathname;
  const processes: ChildProcess[] = [];
  const start = () => {
    const env = { ...process.env, THOUGHTWIRE_URL: url, EFFECTS: effects };
    const worker = spawn(process.execPath, [program], {
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    processes.push(worker);
    const lines = createInterface({ input: worker.stdout! });
    return { worker, line: async () => ((await once(lines, "line")) as [string])[0] };
  };
  const client = server.client();
  try {
    const first = start();
    const session = await first.line();
    const room = client.attach(session, { after: 0 });
    await room.send("go");
    // The first process has paid, and is in the middle of the safe call.
    assert.equal(await first.line(), "waits");
    const second = start();
    assert.equal(await second.line(), session);
    first.worker.kill("SIGKILL");
    const seen = await readUntil(room, isTurnEnd);
    assert.deepEqual(messages(seen), ["paid, looked, attempt 1"]);
    const notes = readFileSync(effects, "utf8").trim().split("\n");
    const made = notes.map((line) => JSON.parse(line) as { tool: string; key: string });
    assert.deepEqual(
      made.map(({ tool }) => tool),
      ["pay", "look", "look"],
    );
    assert.equal(made[1]!.key, made[2]!.key);
    const count = (kind: string) => seen.filter(({ event }) => event.kind === kind).length;
    assert.deepEqual(
      ["tool_called", "tool_returned", "tool_retried", "turn_resumed"].map(count),
      [2, 2, 1, 1],
    );
  } finally {
    for (const worker of processes) worker.kill("SIGKILL");
    await client.close();
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});
