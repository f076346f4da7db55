/**
 * An offered agent against a scripted server: the frames it sends, and rare cases of a real one.
 */
import assert from "node:assert/strict";
import { it } from "node:test";

import { deferred } from "../src/deferred.js";
import {
  type Client,
  EndedError,
  type OfferOptions,
  offer,
  RefusedError,
  type TurnFunction,
} from "../src/index.js";
import { connectedClient, FakeSocket } from "./fake.js";

/** Runs all pending microtasks. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Takes the `say` frames sent since the last call. */
const takeSays = (socket: FakeSocket) =>
  socket.sent.splice(0).filter((frame) => frame.type === "say");

function takesOffer(socket: FakeSocket, ...turns: string[]): Record<string, unknown> {
  const asked = socket.sent.splice(0).find((frame) => frame.type === "offer")!;
  const { id, worker } = asked;
  socket.deliver({
    type: "ack",
    id,
    agent: { id: "a-1", name: "ada", model: "offered" },
    session: "s-1",
    worker,
    turns,
  });
  return asked;
}

function run(turn: string, more: object = {}): object {
  return {
    type: "run",
    agent: "a-1",
    session: "s-1",
    turn,
    input: { item: `i-${turn}`, text: "hello" },
    ...more,
  };
}

function ack(socket: FakeSocket, ...frames: Record<string, unknown>[]): void {
  for (const { id } of frames) if (id !== undefined) socket.deliver({ type: "ack", id, seq: 1 });
}

function offered(answer: TurnFunction, options?: OfferOptions) {
  const { client, socket } = connectedClient();
  const agent = offer(client, "ada", answer, options);
  return { client, socket, agent, asked: takesOffer(socket) };
}

/** Breaks the connection and opens another one; returns its socket. */
function reconnect(client: Client, socket: FakeSocket): FakeSocket {
  socket.onclose?.({ code: 1006, reason: "" });
  client.wake();
  const next = FakeSocket.instances.at(-1)!;
  next.deliver({ type: "welcome", protocol: "thoughtwire.v1", server: "test", limits: {} });
  return next;
}

it("sends the same offer, under the same worker, on every connection", async () => {
  const options = {
    turns: 3,
    history: 5,
    memory: true,
    tools: [{ name: "t", description: "d" }],
    cursors: { "s-1": 7 },
  };
  const { client, socket, agent, asked } = offered(() => {}, options);
  const { id, ...frame } = asked;
  assert.deepEqual(frame, { type: "offer", agent: "ada", worker: agent.worker, ...options });
  assert.deepEqual(await agent.offered(), {
    agent: { id: "a-1", name: "ada", model: "offered" },
    session: "s-1",
  });
  options.cursors["s-1"] = 9;
  const { id: other, ...second } = takesOffer(reconnect(client, socket));
  assert.notEqual(other, id);
  assert.deepEqual(second, { ...frame, cursors: { "s-1": 9 } });
  await client.close();
  await assert.rejects(agent.ended, /closed/);
});

it("sends again what was not acknowledged, and continues deltas where they stopped", async () => {
  const more = deferred<void>();
  const { client, socket } = offered(async (turn) => {
    await turn.internalMonologue("one");
    const thought = turn.thought();
    await thought.write("two, whole");
    await thought.end();
    const message = turn.message();
    for (const piece of ["a", "b", "c"]) await message.write(piece);
    await turn.status("counting");
    await turn.usage({ input_tokens: 1, output_tokens: 2 });
    await more.promise;
    await message.write("d");
    await settled();
    await message.end();
  });
  socket.deliver(run("t-1"));
  await settled();
  const [one, , two, a, b, c, , usage] = takeSays(socket);
  ack(socket, one!);
  const next = reconnect(client, socket);
  takesOffer(next, "t-1");
  // Sent before the turn is handed out again, so it follows the earlier verbs.
  more.resolve();
  next.deliver(run("t-1", { resumed: true, open: { [String(a!.item)]: 2 } }));
  await settled();
  const resaid = takeSays(next);
  assert.deepEqual(resaid.slice(0, 3), [usage, two, c]);
  assert.deepEqual([resaid[3]!.n, resaid[3]!.text], [3, "d"]);
  assert.equal(b!.n, 1);
  await settled();
  const [whole] = takeSays(next);
  assert.deepEqual([whole!.id, whole!.text], [a!.item, "abcd"]);
  await client.close();
});

it("sends at most 64 unacknowledged verbs, in order, without awaits", async () => {
  const { client, socket } = offered((turn) => {
    for (let n = 0; n < 100; n += 1) void turn.internalMonologue(String(n));
    void turn.status("done");
  });
  socket.deliver(run("t-1"));
  await settled();
  const first = takeSays(socket);
  assert.deepEqual(
    first.map((frame) => frame.text),
    Array.from({ length: 64 }, (_, n) => String(n)),
  );
  ack(socket, ...first);
  await settled();
  const second = takeSays(socket);
  assert.deepEqual(
    second.map((frame) => frame.text),
    [...Array.from({ length: 36 }, (_, n) => String(n + 64)), "done"],
  );
  // `finish` waits for all of these.
  ack(socket, ...second);
  await settled();
  assert.deepEqual(
    takeSays(socket).map((frame) => frame.verb),
    ["finish"],
  );
  await client.close();
});

it("makes a streaming program wait while the send buffer is full", async () => {
  let written = 0;
  const { client, socket } = offered(async (turn) => {
    const message = turn.message();
    for (const piece of ["a", "b"]) {
      await message.write(piece);
      written += 1;
    }
    await message.end();
  });
  socket.bufferedAmount = 10_000_000;
  socket.deliver(run("t-1"));
  await settled();
  assert.deepEqual([written, takeSays(socket).length], [0, 1]);
  socket.bufferedAmount = 0;
  while (written < 2) await settled();
  await client.close();
});

it("aborts a turn that ended while disconnected, and one that is cancelled", async () => {
  const reasons: unknown[] = [];
  const { client, socket } = offered(
    async (turn) => {
      await new Promise((resolve) => turn.signal.addEventListener("abort", resolve));
      reasons.push(
        turn.signal.reason,
        await turn.assistantMessage("too late").catch((error: unknown) => error),
      );
    },
    { turns: 2 },
  );
  socket.deliver(run("t-1"));
  socket.deliver(run("t-2"));
  const next = reconnect(client, socket);
  takesOffer(next, "t-2");
  await settled();
  assert.deepEqual(
    reasons.map((reason) => reason instanceof EndedError),
    [true, true],
  );
  next.deliver({ type: "cancel", session: "s-1", turn: "t-2" });
  await settled();
  assert.deepEqual(
    reasons.map((reason) => reason instanceof EndedError),
    [true, true, true, true],
  );
  assert.deepEqual(takeSays(next), []);
  await client.close();
});

it("ends a turn that the server does not know any more, and sends nothing more in it", async () => {
  const reported: unknown[] = [];
  const { client, socket } = offered((turn) => turn.toolCalled("door"), {
    onError: (error) => reported.push(error),
  });
  socket.deliver(run("t-1"));
  await settled();
  const [called] = takeSays(socket);
  socket.deliver({
    type: "refused",
    id: called!.id,
    code: "no_turn",
    reason: "it has ended",
    retry: false,
  });
  await settled();
  assert.deepEqual([takeSays(socket), reported], [[], []]);
  await client.close();
});

it("begins a turn whose first run was lost, and fails one begun elsewhere", async () => {
  const { client, socket } = offered((turn) => `resumed: ${turn.resumed}`);
  const next = reconnect(client, socket);
  takesOffer(next, "t-1", "t-2");
  const begun = { seq: 3, at: "", turn: "t-1", event: { kind: "turn_started", input: "i-t-1" } };
  next.deliver(run("t-1", { resumed: true, history: [begun] }));
  next.deliver(run("t-2", { resumed: true, open: { "i-9": 1 } }));
  await settled();
  const frames = new Map(takeSays(next).map((frame) => [frame.turn, frame]));
  assert.deepEqual(
    [frames.get("t-1")!.verb, frames.get("t-1")!.text],
    ["finish", "resumed: false"],
  );
  assert.deepEqual([frames.get("t-2")!.verb, frames.get("t-2")!.code], ["fail", "agent_restarted"]);
  await client.close();
});

it("resumes a turn whose aborted function has not returned yet", async () => {
  const notices = deferred<void>();
  const { client, socket } = offered(
    async (turn) => {
      if (turn.resumed) return turn.approval(turn.waiting[0]!.call);
      await notices.promise;
      return "too late";
    },
    { resumes: true },
  );
  socket.deliver(run("t-1"));
  await settled();
  const next = reconnect(client, socket);
  // The server was restarted: it lists no turns, and hands out again those that wait for people.
  takesOffer(next);
  const called = {
    seq: 3,
    at: "",
    turn: "t-1",
    event: { kind: "tool_called", call: "c-1", name: "door", args: {} },
  };
  next.deliver(
    run("t-1", {
      resumed: true,
      history: [called],
      waiting: [{ call: "c-1", name: "door", awaits: "approval" }],
    }),
  );
  notices.resolve();
  await settled();
  next.deliver({ type: "approval_settled", turn: "t-1", call: "c-1", decision: "denied" });
  await settled();
  assert.deepEqual(
    takeSays(next).map(({ verb, text }) => [verb, text]),
    [["finish", "denied"]],
  );
  await client.close();
});

it("leaves a turn that waits for approval when it stops, if turns are resumed", async () => {
  for (const resumes of [true, false]) {
    const { client, socket, agent } = offered((turn) => turn.approval("c-1"), { resumes });
    socket.deliver(run("t-1"));
    await settled();
    ack(socket, ...takeSays(socket));
    await settled();
    const stopped = agent.stop(resumes ? 600 : 0);
    takesOffer(socket, "t-1");
    await settled();
    // Without `resumes` the turn fails; with it, nothing is said about the turn.
    let said = takeSays(socket);
    while (!resumes && said.length === 0) {
      await settled();
      said = takeSays(socket);
    }
    assert.deepEqual(
      said.map(({ verb, code }) => [verb, code]),
      resumes ? [] : [["fail", "agent_stopped"]],
    );
    ack(socket, ...said);
    await stopped;
    await client.close();
  }
});

it("takes answers from while it was disconnected, but not to earlier questions", async () => {
  const answers: string[] = [];
  const { client, socket } = offered(async (turn) => {
    const call = await turn.toolCalled("door");
    answers.push(await turn.approval(call, { timeout: 60 }));
    answers.push(await turn.approval(call));
    answers.push((await turn.clientRuns(call)).text);
  });
  socket.deliver(run("t-1"));
  await settled();
  const [called] = takeSays(socket);
  ack(socket, called!);
  await settled();
  const [asked] = takeSays(socket);
  assert.equal(asked!.timeout_ms, 60_000);
  ack(socket, asked!);
  const call = called!.id;
  socket.deliver({ type: "approval_settled", turn: "t-1", call, decision: "expired" });
  await settled();
  ack(socket, ...takeSays(socket));
  const own = (...events: object[]) =>
    events.map((event, at) => ({ seq: at + 4, at: "", turn: "t-1", event }));
  const [question, expired] = [
    { kind: "approval_asked", call, expires_at: "" },
    { kind: "approval_settled", call, decision: "expired" },
  ];
  const second = reconnect(client, socket);
  takesOffer(second, "t-1");
  second.deliver(run("t-1", { resumed: true, history: own(question, expired, question) }));
  await settled();
  assert.deepEqual(answers, ["expired"]);
  const third = reconnect(client, second);
  takesOffer(third, "t-1");
  const approved = { kind: "approval_settled", call, decision: "approved" };
  third.deliver(run("t-1", { resumed: true, history: own(question, expired, question, approved) }));
  await settled();
  ack(third, ...takeSays(third));
  third.deliver({ type: "tool_returned", turn: "t-1", call, status: "success", text: "open" });
  await settled();
  assert.deepEqual(answers, ["expired", "approved", "open"]);
  await client.close();
});

it("rejects refused verbs that the program awaits, and arguments that are not JSON", async () => {
  const errors: unknown[] = [];
  const { client, socket } = offered(
    async (turn) => {
      errors.push(await turn.toolCalled("rm").catch((error: unknown) => error));
      errors.push(await turn.toolCalled("rm", { bytes: 1n }).catch((error: unknown) => error));
      return 7 as unknown as string;
    },
    { onError: (error) => errors.push(error) },
  );
  socket.deliver(run("t-1"));
  await settled();
  socket.deliver({
    type: "refused",
    id: takeSays(socket)[0]!.id,
    code: "forbidden",
    reason: "not that",
    retry: false,
  });
  await settled();
  assert.ok(errors[0] instanceof RefusedError && errors[0].code === "forbidden");
  assert.ok(errors[1] instanceof TypeError && errors[2] instanceof TypeError);
  const [failed] = takeSays(socket);
  assert.deepEqual([failed!.verb, failed!.reason], ["fail", "The agent's program failed."]);
  await client.close();
});
