/** Calls of a turn that starts over: with a scripted server, and with a worker that is killed. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";

import { type CallOnceOptions, offer, type Replay } from "../src/index.js";
import { connectedClient, FakeSocket } from "./fake.js";
import { isTurnEnd, messages, readUntil, TestServer } from "./support.js";

const settled = () => new Promise((resolve) => setImmediate(resolve));

const called = (call: string, args: object = { euros: 5, to: { a: 1, b: 2 } }) => ({
  kind: "tool_called",
  call,
  name: "pay",
  args,
});
const returned = (call: string, text: string, status = "success", more: object = {}) => ({
  kind: "tool_returned",
  call,
  name: "pay",
  status,
  text,
  ...more,
});
const decided = (call: string, about: string, decision: string) => [
  { kind: "approval_asked", call, about, expires_at: "2026-01-01T00:00:00.000Z" },
  { kind: "approval_settled", call, decision },
];

/** The `run` of a turn that was interrupted after these events. */
function resumedRun(own: object[], more: object = {}, begin = [{ kind: "turn_started" }]): object {
  const history = [...begin, ...own].map((event, n) => ({ seq: n + 3, turn: "t-1", event }));
  const input = { item: "i-1", text: "Pay." };
  const ids = { agent: "a-1", session: "s-1", turn: "t-1" };
  return { type: "run", ...ids, input, resumed: true, attempt: 1, history, ...more };
}

/** Accepts the offer on a connection. */
function takesOffer(socket: FakeSocket, ...turns: string[]): Record<string, unknown> {
  const asked = socket.sent.splice(0).find((frame) => frame.type === "offer")!;
  const { id, worker } = asked;
  const agent = { id: "a-1", name: "ada", model: "offered" };
  socket.deliver({ type: "ack", id, agent, session: "s-1", worker, turns });
  return asked;
}

/** Offers an agent that pays some times, and says what came of it. */
function payer(options: CallOnceOptions = {}, times = 1, declared?: Replay) {
  const { client, socket } = connectedClient();
  const paid: string[] = [];
  offer(
    client,
    "ada",
    async (turn) => {
      const outcomes: unknown[] = [turn.attempt];
      for (let n = 0; n < times; n += 1) {
        const args = { to: { b: 2, a: 1 }, euros: 5 };
        const made = turn.callOnce("pay", args, (call) => void paid.push(call), options);
        outcomes.push(await made.catch(String));
      }
      return JSON.stringify(outcomes);
    },
    {
      resumable: true,
      tools: [
        { name: "pay", description: "Pays.", ...(declared ? { replay: declared } : {}) },
        { name: "look", description: "Looks." },
      ],
    },
  );
  assert.equal(takesOffer(socket).resumable, true);
  return { client, socket, paid };
}

/** Takes the next frame, which must have this verb, and acknowledges it. */
async function hears(socket: FakeSocket, verb: string, acks = true) {
  await settled();
  const frame = socket.sent.shift();
  assert.equal(frame?.verb, verb, JSON.stringify(frame));
  if (acks) socket.deliver({ type: "ack", id: frame.id, seq: 1 });
  await settled();
  return frame;
}

it("takes results from the past in order, and makes the calls that follow", async () => {
  const { client, socket, paid } = payer({}, 4);
  const more = { content: { receipt: 2 } };
  socket.deliver(
    resumedRun([
      called("c-0", { euros: 6 }),
      called("c-1"),
      called("c-2"),
      returned("c-2", "second", "success", more),
      returned("c-1", "no money", "error"),
      called("c-3"),
      returned("c-3", "lost", "unknown"),
    ]),
  );
  const call = await hears(socket, "tool_called");
  const result = await hears(socket, "tool_returned");
  assert.deepEqual([result.call, result.status, result.text], [call.id, "success", ""]);
  assert.deepEqual(JSON.parse(String((await hears(socket, "finish")).text)), [
    1,
    "CallFailed: no money",
    { receipt: 2 },
    "OutcomeUnknown: It is not known whether pay took effect: lost",
    "",
  ]);
  assert.deepEqual(paid, [call.id]);
  await client.close();
});

it("makes a safe call in doubt again, once that is on disk", async () => {
  const { client, socket, paid } = payer({ replay: "safe" });
  socket.deliver(resumedRun([called("c-1")], { unknown: ["c-1"] }));
  const retried = await hears(socket, "tool_retried", false);
  assert.deepEqual([retried.call, paid], ["c-1", []]);
  socket.deliver({ type: "ack", id: retried.id, seq: 9 });
  assert.equal((await hears(socket, "tool_returned")).call, "c-1");
  assert.equal((await hears(socket, "finish")).text, '[1,""]');
  assert.deepEqual(paid, ["c-1"]);
  await client.close();
});

it("returns a call in doubt as unknown if it is never repeated", async () => {
  const { client, socket, paid } = payer({ replay: "never" });
  socket.deliver(resumedRun([called("c-1")], { unknown: ["c-1"] }));
  const result = await hears(socket, "tool_returned");
  assert.deepEqual([result.call, result.status], ["c-1", "unknown"]);
  assert.match(String((await hears(socket, "finish")).text), /OutcomeUnknown/);
  assert.deepEqual(paid, []);
  await client.close();
});

for (const [declared, given, verb] of [
  ["safe", undefined, "tool_retried"],
  ["never", undefined, "tool_returned"],
  ["safe", "never", "tool_returned"],
  [undefined, undefined, "approval"],
] as const) {
  it(`treats a call in doubt as ${given ?? declared ?? "a tool without a class"}`, async () => {
    const { client, socket, paid } = payer(given ? { replay: given } : {}, 1, declared);
    socket.deliver(resumedRun([called("c-1")], { unknown: ["c-1"] }));
    assert.equal((await hears(socket, verb, false)).call, "c-1");
    assert.deepEqual(paid, []);
    await client.close();
  });
}

for (const [answer, said] of [
  [{ type: "approval_settled", decision: "approved" }, /""/],
  [{ type: "tool_returned", status: "success", text: "done" }, /done/],
  [{ type: "tool_returned", status: "error", text: "no" }, /CallFailed: no/],
  [{ type: "tool_returned", status: "unknown", text: "?" }, /OutcomeUnknown/],
] as const) {
  it(`asks the owner about a call in doubt: ${said}`, async () => {
    const { client, socket, paid } = payer();
    // Its first run was approved. That is no answer to the question about a second one.
    const own = [called("c-1"), ...decided("c-1", "run", "approved")];
    const earlier = { type: "approval_settled", turn: "t-1", call: "c-1", decision: "approved" };
    socket.deliver(resumedRun(own, { unknown: ["c-1"] }));
    socket.deliver(earlier);
    const question = await hears(socket, "approval", false);
    assert.deepEqual([question.call, question.about], ["c-1", "retry"]);
    socket.deliver(earlier);
    socket.deliver({ type: "ack", id: question.id, seq: 9 });
    await settled();
    assert.deepEqual([paid, socket.sent], [[], []]);
    socket.deliver({ turn: "t-1", call: "c-1", ...answer });
    const isApproved = answer.type === "approval_settled";
    if (isApproved) assert.equal((await hears(socket, "tool_returned")).call, "c-1");
    assert.match(String((await hears(socket, "finish")).text), said);
    assert.deepEqual(paid, isApproved ? ["c-1"] : []);
    await client.close();
  });
}

it("waits for the answer to a question of an earlier run without asking again", async () => {
  for (const [about, decision] of [
    ["retry", "approved"],
    ["run", "approved"],
    ["run", "denied"],
  ] as const) {
    const { client, socket } = payer();
    const waiting = [{ call: "c-1", name: "pay", awaits: "approval" }];
    const [asked] = decided("c-1", about, decision);
    socket.deliver(resumedRun([called("c-1"), asked!], { waiting }));
    await settled();
    assert.deepEqual(socket.sent, []);
    socket.deliver({ type: "approval_settled", turn: "t-1", call: "c-1", decision });
    if (decision === "approved") await hears(socket, "tool_returned");
    const said = String((await hears(socket, "finish")).text);
    assert.match(said, decision === "approved" ? /""/ : /RefusedError/);
    await client.close();
  }
});

it("takes an answer that came while there was no connection", async () => {
  const { client, socket, paid } = payer();
  const own: object[] = [called("c-1"), ...decided("c-1", "run", "approved")];
  socket.deliver(resumedRun(own, { unknown: ["c-1"] }));
  const question = await hears(socket, "approval", false);
  let next = socket;
  const reconnect = () => {
    next.onclose?.({ code: 1006, reason: "" });
    client.wake();
    next = FakeSocket.instances.at(-1)!;
    next.deliver({ type: "welcome", protocol: "thoughtwire.v1", server: "test", limits: {} });
    takesOffer(next, "t-1");
    next.deliver(resumedRun(own, { unknown: ["c-1"] }));
  };
  // Not asked yet: the earlier approval is no answer.
  reconnect();
  assert.equal((await hears(next, "approval", false)).id, question.id);
  assert.deepEqual(paid, []);
  own.push(...decided("c-1", "retry", "approved"));
  reconnect();
  await hears(next, "approval");
  assert.equal((await hears(next, "tool_returned")).call, "c-1");
  await hears(next, "finish");
  await client.close();
});

it("does not resume inputs that join a resumed turn", async () => {
  const { client, socket } = connectedClient();
  offer(client, "ada", (turn) => String(turn.resumed), { resumable: true });
  takesOffer(socket);
  socket.deliver(resumedRun([]));
  const finish = await hears(socket, "finish", false);
  assert.equal(finish.text, "true");
  const steered = [{ item: "i-8", text: "And?" }];
  socket.deliver({ type: "ack", id: finish.id, seq: 1, steered });
  assert.equal((await hears(socket, "finish")).text, "false");
  await client.close();
});

it("continues a text that was cut", async () => {
  const { client, socket } = connectedClient();
  offer(
    client,
    "ada",
    async (turn) => {
      const cut = turn.soFar[1]?.event;
      assert.ok(cut?.kind === "message" && !cut.complete);
      const rest = turn.message({ continues: cut.item });
      await rest.write("ten");
      await rest.write("ce.");
      await rest.end();
      await turn.internalMonologue("Hm.");
    },
    { resumable: true },
  );
  takesOffer(socket);
  socket.deliver(
    resumedRun([{ kind: "message", item: "i-1", text: "Half a sen", complete: false }]),
  );
  const first = await hears(socket, "delta", false);
  const second = await hears(socket, "delta", false);
  assert.deepEqual([first.continues, "continues" in second], ["i-1", false]);
  const whole = await hears(socket, "assistant_message");
  assert.deepEqual([whole.text, whole.continues], ["tence.", "i-1"]);
  assert.ok(!("continues" in (await hears(socket, "internal_monologue"))));
  await hears(socket, "finish");
  await client.close();
});

it("makes no call without the whole past", async () => {
  const { client, socket, paid } = payer();
  socket.deliver(resumedRun([], {}, []));
  assert.match(String((await hears(socket, "finish")).text), /OutcomeUnknown/);
  assert.deepEqual(paid, []);
  await client.close();
});

it("takes no result of another call from a past that is cut", async () => {
  const { client, socket, paid } = payer();
  socket.deliver(resumedRun([called("c-2"), returned("c-2", "second")], {}, []));
  assert.match(String((await hears(socket, "finish")).text), /OutcomeUnknown/);
  assert.deepEqual(paid, []);
  await client.close();
});

it("is in doubt about a call of a process of the same name, also if it was approved", async () => {
  const { client, socket, paid } = payer({ replay: "never" });
  socket.deliver(resumedRun([called("c-1"), ...decided("c-1", "run", "approved")]));
  assert.equal((await hears(socket, "tool_returned")).status, "unknown");
  assert.match(String((await hears(socket, "finish")).text), /OutcomeUnknown/);
  assert.deepEqual(paid, []);
  await client.close();
});

it("leaves a running turn to another worker when it stops", async () => {
  const { client, socket } = connectedClient();
  const agent = offer(client, "ada", () => new Promise<void>(() => {}), { resumable: true });
  takesOffer(socket);
  const input = { item: "i-1", text: "Pay." };
  socket.deliver({ type: "run", agent: "a-1", session: "s-1", turn: "t-1", input });
  await settled();
  const stopped = agent.stop(0);
  await settled();
  takesOffer(socket, "t-1");
  await stopped;
  assert.deepEqual(socket.sent, []);
  await client.close();
});

it("returns and throws an error of the call", async () => {
  const { client, socket } = connectedClient();
  offer(client, "ada", async (turn) => {
    const pay = () => Promise.reject(new RangeError("till"));
    await assert.rejects(turn.callOnce("pay", {}, pay), RangeError);
    return "caught";
  });
  takesOffer(socket);
  socket.deliver({ ...resumedRun([]), resumed: false, history: [] });
  await hears(socket, "tool_called");
  const result = await hears(socket, "tool_returned");
  assert.deepEqual([result.status, result.text], ["error", "till"]);
  assert.equal((await hears(socket, "finish")).text, "caught");
  await client.close();
});

it("finishes the turn of a killed worker in another process, with each effect once", async () => {
  const server = await TestServer.start();
  const dir = mkdtempSync(join(tmpdir(), "thoughtwire-"));
  const effects = join(dir, "effects");
  const program = new URL("../test-programs/paying-worker.js", import.meta.url).pathname;
  const start = (role: string): ChildProcess => {
    const args = [program, server.url.replace("http", "ws"), effects, role];
    return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  };
  const workers: ChildProcess[] = [];
  const client = server.client();
  try {
    const first = start("stuck");
    workers.push(first);
    await once(first.stdout!, "data");
    const room = client.attach(await client.createSession({ agent: "payer" }), { after: 0 });
    // Listening begins before the worker can write.
    const isStuck = once(first.stdout!, "data");
    await room.send("Pay.");
    // The second call has taken effect, and its result was never sent.
    await readUntil(room, ({ event }) => event.kind === "tool_called" && event.args.n === 2);
    await isStuck;
    first.kill("SIGKILL");
    const second = start("works");
    workers.push(second);
    const asked = await readUntil(room, ({ event }) => event.kind === "approval_asked");
    const question = asked.at(-1)!.event;
    assert.ok(question.kind === "approval_asked" && question.about === "retry");
    await room.decide(question.call, "done", { result: "paid 2" });
    const seen = await readUntil(room, isTurnEnd);
    const end = seen.at(-1)!.event;
    assert.ok(end.kind === "turn_ended" && end.outcome === "completed", JSON.stringify(end));
    assert.deepEqual(messages(seen), ["paid 1, paid 2, paid 3"]);
    assert.deepEqual(readFileSync(effects, "utf8").split("\n"), ["1", "2", "3", ""]);
  } finally {
    for (const worker of workers) worker.kill("SIGKILL");
    await client.close();
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});
