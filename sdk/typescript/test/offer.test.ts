/** An offered agent at a scripted server: what goes out, in which order, and what a real one does rarely. */
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
import { Fake, open } from "./fake.js";

/** Lets everything run that waits for nothing outside. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** What was said since the last look, hello and pings aside. */
const said = (socket: Fake) => socket.sent.splice(0).filter((frame) => frame.type === "say");

function takesOffer(socket: Fake, ...turns: string[]): Record<string, unknown> {
  const asked = socket.sent.splice(0).find((frame) => frame.type === "offer")!;
  const { id, worker } = asked;
  socket.says({
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

function ack(socket: Fake, ...frames: Record<string, unknown>[]): void {
  for (const { id } of frames) if (id !== undefined) socket.says({ type: "ack", id, seq: 1 });
}

function offered(answer: TurnFunction, options?: OfferOptions) {
  const { client, socket } = open();
  const agent = offer(client, "ada", answer, options);
  return { client, socket, agent, asked: takesOffer(socket) };
}

/** The connection breaks, and another one stands. */
function again(client: Client, socket: Fake): Fake {
  socket.onclose?.({ code: 1006, reason: "" });
  client.wake();
  const next = Fake.made.at(-1)!;
  next.says({ type: "welcome", protocol: "thoughtwire.v1", server: "test", limits: {} });
  return next;
}

it("offers what it was made with, under one name on every connection", async () => {
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
  const { id: other, ...second } = takesOffer(again(client, socket));
  assert.notEqual(other, id);
  assert.deepEqual(second, { ...frame, cursors: { "s-1": 9 } });
  await client.close();
  await assert.rejects(agent.ended, /closed/);
});

it("says again what was not acknowledged, and goes on where the deltas stopped", async () => {
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
  socket.says(run("t-1"));
  await settled();
  const [one, , two, a, b, c, , usage] = said(socket);
  ack(socket, one!);
  const next = again(client, socket);
  takesOffer(next, "t-1");
  // Said before the turn is handed out again: goes out behind what comes before it.
  more.resolve();
  next.says(run("t-1", { resumed: true, open: { [String(a!.item)]: 2 } }));
  await settled();
  const resaid = said(next);
  assert.deepEqual(resaid.slice(0, 3), [usage, two, c]);
  assert.deepEqual([resaid[3]!.n, resaid[3]!.text], [3, "d"]);
  assert.equal(b!.n, 1);
  await settled();
  const [whole] = said(next);
  assert.deepEqual([whole!.id, whole!.text], [a!.item, "abcd"]);
  await client.close();
});

it("says at most 64 verbs that are not acknowledged, in the order of a program that does not wait", async () => {
  const { client, socket } = offered((turn) => {
    for (let n = 0; n < 100; n += 1) void turn.internalMonologue(String(n));
    void turn.status("done");
  });
  socket.says(run("t-1"));
  await settled();
  const first = said(socket);
  assert.deepEqual(
    first.map((frame) => frame.text),
    Array.from({ length: 64 }, (_, n) => String(n)),
  );
  ack(socket, ...first);
  await settled();
  const second = said(socket);
  assert.deepEqual(
    second.map((frame) => frame.text),
    [...Array.from({ length: 36 }, (_, n) => String(n + 64)), "done"],
  );
  // The end waits for all of it.
  ack(socket, ...second);
  await settled();
  assert.deepEqual(
    said(socket).map((frame) => frame.verb),
    ["finish"],
  );
  await client.close();
});

it("holds who streams up while much waits to be written", async () => {
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
  socket.says(run("t-1"));
  await settled();
  assert.deepEqual([written, said(socket).length], [0, 1]);
  socket.bufferedAmount = 0;
  while (written < 2) await settled();
  await client.close();
});

it("aborts a turn that has ended while there was no connection, and one that the server cancels", async () => {
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
  socket.says(run("t-1"));
  socket.says(run("t-2"));
  const next = again(client, socket);
  takesOffer(next, "t-2");
  await settled();
  assert.deepEqual(
    reasons.map((reason) => reason instanceof EndedError),
    [true, true],
  );
  next.says({ type: "cancel", session: "s-1", turn: "t-2" });
  await settled();
  assert.deepEqual(
    reasons.map((reason) => reason instanceof EndedError),
    [true, true, true, true],
  );
  assert.deepEqual(said(next), []);
  await client.close();
});

it("ends a turn of which the server knows nothing any more, and says no more in it", async () => {
  const reported: unknown[] = [];
  const { client, socket } = offered((turn) => turn.toolCalled("door"), {
    onError: (error) => reported.push(error),
  });
  socket.says(run("t-1"));
  await settled();
  const [called] = said(socket);
  socket.says({
    type: "refused",
    id: called!.id,
    code: "no_turn",
    reason: "it has ended",
    retry: false,
  });
  await settled();
  assert.deepEqual([said(socket), reported], [[], []]);
  await client.close();
});

it("begins a turn that was on its way to it when the connection broke, and fails one that another process began", async () => {
  const { client, socket } = offered((turn) => `resumed: ${turn.resumed}`);
  const next = again(client, socket);
  takesOffer(next, "t-1", "t-2");
  const begun = { seq: 3, at: "", turn: "t-1", event: { kind: "turn_started", input: "i-t-1" } };
  next.says(run("t-1", { resumed: true, history: [begun] }));
  next.says(run("t-2", { resumed: true, open: { "i-9": 1 } }));
  await settled();
  const frames = new Map(said(next).map((frame) => [frame.turn, frame]));
  assert.deepEqual(
    [frames.get("t-1")!.verb, frames.get("t-1")!.text],
    ["finish", "resumed: false"],
  );
  assert.deepEqual([frames.get("t-2")!.verb, frames.get("t-2")!.code], ["fail", "agent_restarted"]);
  await client.close();
});

it("takes a turn up again whose function has not noticed yet that it was aborted", async () => {
  const notices = deferred<void>();
  const { client, socket } = offered(
    async (turn) => {
      if (turn.resumed) return turn.approval(turn.waiting[0]!.call);
      await notices.promise;
      return "too late";
    },
    { resumes: true },
  );
  socket.says(run("t-1"));
  await settled();
  const next = again(client, socket);
  // The server was started anew: it lists no turns, and hands out again what waits for people.
  takesOffer(next);
  const called = {
    seq: 3,
    at: "",
    turn: "t-1",
    event: { kind: "tool_called", call: "c-1", name: "door", args: {} },
  };
  next.says(
    run("t-1", {
      resumed: true,
      history: [called],
      waiting: [{ call: "c-1", name: "door", awaits: "approval" }],
    }),
  );
  notices.resolve();
  await settled();
  next.says({ type: "approval_settled", turn: "t-1", call: "c-1", decision: "denied" });
  await settled();
  assert.deepEqual(
    said(next).map(({ verb, text }) => [verb, text]),
    [["finish", "denied"]],
  );
  await client.close();
});

it("learns what was settled while it was away, but not from what was asked before", async () => {
  const answers: string[] = [];
  const { client, socket } = offered(async (turn) => {
    const call = await turn.toolCalled("door");
    answers.push(await turn.approval(call, { timeout: 60 }));
    answers.push(await turn.approval(call));
    answers.push((await turn.clientRuns(call)).text);
  });
  socket.says(run("t-1"));
  await settled();
  const [called] = said(socket);
  ack(socket, called!);
  await settled();
  const [asked] = said(socket);
  assert.equal(asked!.timeout_ms, 60_000);
  ack(socket, asked!);
  const call = called!.id;
  socket.says({ type: "approval_settled", turn: "t-1", call, decision: "expired" });
  await settled();
  ack(socket, ...said(socket));
  const own = (...events: object[]) =>
    events.map((event, at) => ({ seq: at + 4, at: "", turn: "t-1", event }));
  const [question, expired] = [
    { kind: "approval_asked", call, expires_at: "" },
    { kind: "approval_settled", call, decision: "expired" },
  ];
  const second = again(client, socket);
  takesOffer(second, "t-1");
  second.says(run("t-1", { resumed: true, history: own(question, expired, question) }));
  await settled();
  assert.deepEqual(answers, ["expired"]);
  const third = again(client, second);
  takesOffer(third, "t-1");
  const approved = { kind: "approval_settled", call, decision: "approved" };
  third.says(run("t-1", { resumed: true, history: own(question, expired, question, approved) }));
  await settled();
  ack(third, ...said(third));
  third.says({ type: "tool_returned", turn: "t-1", call, status: "success", text: "open" });
  await settled();
  assert.deepEqual(answers, ["expired", "approved", "open"]);
  await client.close();
});

it("rejects what is refused where somebody waits, and what JSON cannot say", async () => {
  const errors: unknown[] = [];
  const { client, socket } = offered(
    async (turn) => {
      errors.push(await turn.toolCalled("rm").catch((error: unknown) => error));
      errors.push(await turn.toolCalled("rm", { bytes: 1n }).catch((error: unknown) => error));
      return 7 as unknown as string;
    },
    { onError: (error) => errors.push(error) },
  );
  socket.says(run("t-1"));
  await settled();
  socket.says({
    type: "refused",
    id: said(socket)[0]!.id,
    code: "forbidden",
    reason: "not that",
    retry: false,
  });
  await settled();
  assert.ok(errors[0] instanceof RefusedError && errors[0].code === "forbidden");
  assert.ok(errors[1] instanceof TypeError && errors[2] instanceof TypeError);
  const [failed] = said(socket);
  assert.deepEqual([failed!.verb, failed!.reason], ["fail", "The agent's program failed."]);
  await client.close();
});
