/** Frames in parts, and refusals of frames that the server could not read. */
import assert from "node:assert/strict";
import { it } from "node:test";

import { RefusedError } from "../src/index.js";
import { PartJoiner } from "../src/parts.js";
import type { ServerFrame } from "../src/wire.js";
import { connectedClient, FakeSocket } from "./fake.js";

/** Splits a frame into parts of `size` characters. */
function partsOf(frame: unknown, size: number): ServerFrame[] {
  const characters = [...JSON.stringify(frame)];
  const parts = Math.ceil(characters.length / size);
  return Array.from({ length: parts }, (_, part) => {
    const data = characters.slice(part * size, (part + 1) * size).join("");
    return { type: "part", part, parts, data };
  });
}

it("joins parts, and passes complete frames through", () => {
  const joiner = new PartJoiner();
  for (const reason of ["short", 'é"\\𝄞\n'.repeat(500)]) {
    const frame = { type: "detached", session: "s-1", reason };
    const joined = partsOf(frame, 7).map((part) => joiner.take(part));
    assert.deepEqual(joined.pop(), frame);
    assert.ok(joined.every((none) => none === undefined));
    assert.deepEqual(joiner.take({ type: "pong" }), { type: "pong" });
  }
});

it("rejects parts that are missing or out of order", () => {
  const part = (part: number, parts: number): ServerFrame => ({
    type: "part",
    part,
    parts,
    data: "",
  });
  const wrong: ServerFrame[][] = [
    [part(1, 2)],
    [part(0, 3), part(2, 3)],
    [part(0, 3), { type: "pong" }],
  ];
  for (const frames of wrong) {
    const joiner = new PartJoiner();
    const last = frames.pop()!;
    for (const frame of frames) joiner.take(frame);
    assert.throws(() => joiner.take(last));
  }
});

it("receives a frame in parts, and reconnects when parts are missing", async () => {
  const { client, socket } = connectedClient();
  const made = client.createSession({ agent: "ada" });
  const id = socket.sent.at(-1)!.id;
  for (const part of partsOf({ type: "ack", id, session: "s-2" }, 5)) socket.deliver(part);
  assert.equal(await made, "s-2");
  socket.deliver({ type: "part", part: 1, parts: 2, data: "" });
  assert.equal(client.state, "waiting");
  await client.close();
});

it("rejects a command that was refused without its id, and does not send it again", async () => {
  const { client, socket } = connectedClient();
  const other = client.createSession({ agent: "ada" });
  const otherId = socket.sent.at(-1)!.id;
  const refused = client.createSession({ agent: "eve" });
  socket.deliver({
    type: "refused",
    code: "bad_frame",
    reason: "the frame is not JSON",
    retry: false,
  });
  await assert.rejects(
    refused,
    (error) => error instanceof RefusedError && error.code === "bad_frame",
  );
  // An unrelated refusal rejects no command.
  socket.deliver({ type: "refused", code: "too_fast", reason: "slower", retry: true });
  socket.onclose?.({ code: 1006, reason: "" });
  client.wake();
  const next = FakeSocket.instances.at(-1)!;
  next.deliver({ type: "welcome", protocol: "thoughtwire.v1", server: "test", limits: {} });
  const again = next.sent.filter((frame) => frame.type === "create_session");
  assert.deepEqual(
    again.map((frame) => frame.id),
    [otherId],
  );
  next.deliver({ type: "ack", id: otherId, session: "s-1" });
  assert.equal(await other, "s-1");
  await client.close();
});
