/** The client against recorded frames, without a server. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";

import { Backoff } from "../src/backoff.js";
import { ClosedError, type RoomUpdate } from "../src/index.js";
import { Queue } from "../src/queue.js";
import { connectedClient } from "./fake.js";

const vectors = (name: string): unknown[] =>
  readFileSync(new URL(`../../../../vectors/${name}.jsonl`, import.meta.url), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);

it("sends hello first", async () => {
  const { client, socket } = connectedClient();
  assert.deepEqual(socket.sent, [{ type: "hello", token: "t", client: "n" }]);
  await client.close();
});

it("accepts every recorded frame, and yields events unchanged", async () => {
  const { client, socket } = connectedClient();
  const room = client.attach("s-1", { after: 0 });
  socket.deliver({
    type: "attached",
    session: "s-1",
    agent: "a-1",
    epoch: "e-1",
    first: 1,
    head: 0,
    recovered: true,
  });
  const events = vectors("events");
  for (const [at, event] of events.entries()) {
    socket.deliver({
      type: "event",
      session: "s-1",
      seq: at + 1,
      at: "2026-01-01T00:00:00.000Z",
      event,
    });
  }
  // A replay from an older cursor repeats an event, which is not yielded again.
  socket.deliver({
    type: "event",
    session: "s-1",
    seq: 1,
    at: "2026-01-01T00:00:00.000Z",
    event: events[0],
  });
  const shown: unknown[] = [];
  const iterator = room[Symbol.asyncIterator]();
  for (const _ of events) {
    const { value } = (await iterator.next()) as { value: RoomUpdate };
    assert.equal(value.type, "event");
    if (value.type === "event") shown.push(value.event);
  }
  assert.deepEqual(shown, events);
  for (const row of vectors("native") as { ok?: { type: string; session?: string } }[]) {
    if (row.ok && row.ok.type !== "goaway" && row.ok.session !== "s-1") socket.deliver(row.ok);
  }
  for (const bad of ["", "{", "null", "[]", '{"type":7}', '{"type":"weather","session":"s-1"}'])
    socket.deliver(bad);
  assert.equal(client.state, "open");
  await client.close();
});

it("resumes at its cursor, starts over on reset, ignores earlier attachments", async () => {
  const { client, socket } = connectedClient();
  const room = client.attach("s-2", { after: 4, epoch: "e-1" });
  const attach = socket.sent.at(-1)!;
  assert.deepEqual([attach.after, attach.epoch], [4, "e-1"]);
  // A frame of an earlier attachment, before this one's `attached`.
  socket.deliver({
    type: "event",
    session: "s-2",
    seq: 9,
    at: "",
    event: { kind: "session_renamed", title: "x" },
  });
  socket.deliver({
    type: "attached",
    session: "s-2",
    agent: "a",
    epoch: "e-2",
    first: 1,
    head: 1,
    recovered: false,
  });
  socket.deliver({
    type: "event",
    session: "s-2",
    seq: 1,
    at: "",
    event: { kind: "session_renamed", title: "y" },
  });
  const iterator = room[Symbol.asyncIterator]();
  assert.equal(((await iterator.next()).value as RoomUpdate).type, "reset");
  const next = (await iterator.next()).value as RoomUpdate;
  assert.ok(next.type === "event" && next.seq === 1);
  assert.deepEqual(room.cursor, { seq: 1, epoch: "e-2" });
  await client.close();
});

it("is closed for good by a final close code, and by close()", async () => {
  const { client, socket } = connectedClient();
  const waiting = client.createAgent({ name: "ada" });
  socket.onclose?.({ code: 1008, reason: "who are you?" });
  await assert.rejects(
    waiting,
    (error) => error instanceof ClosedError && /1008: who are you\?/.test(error.message),
  );
  assert.equal(client.state, "closed");
  await assert.rejects(client.createAgent({ name: "ada" }), ClosedError);
  const other = connectedClient().client;
  const room = other.attach("s-1");
  await other.close();
  await assert.rejects(room[Symbol.asyncIterator]().next(), ClosedError);
});

it("backs off with full jitter, exponentially, up to a limit", () => {
  const longest = new Backoff(() => 1);
  assert.deepEqual([longest.next(), longest.next(), longest.next()], [250, 500, 1000]);
  for (let n = 0; n < 30; n += 1) longest.next();
  assert.equal(longest.next(), 15_000);
  assert.equal(new Backoff(() => 0).next(2_000), 2_000);
  longest.reset();
  assert.equal(longest.next(), 250);
});

it("hands out a queue's items in order, to the first waiting reader", async () => {
  const queue = new Queue<number>();
  const [first, second] = [queue.next(), queue.next()];
  queue.push(1);
  queue.push(2);
  queue.push(3);
  queue.end();
  assert.deepEqual(await Promise.all([first, second, queue.next(), queue.next()]), [
    { done: false, value: 1 },
    { done: false, value: 2 },
    { done: false, value: 3 },
    { done: true, value: undefined },
  ]);
});
