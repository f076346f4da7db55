/** Frames that come in parts, and refusals of frames that the server could not read. */
import assert from "node:assert/strict";
import { it } from "node:test";

import { RefusedError } from "../src/index.js";
import { PartJoiner } from "../src/parts.js";
import type { ServerFrame } from "../src/wire.js";
import { Fake, open } from "./fake.js";

/** The parts of a frame, of so many characters each. */
function partsOf(frame: unknown, size: number): ServerFrame[] {
  const characters = [...JSON.stringify(frame)];
  const parts = Math.ceil(characters.length / size);
  return Array.from({ length: parts }, (_, part) => {
    const data = characters.slice(part * size, (part + 1) * size).join("");
    return { type: "part", part, parts, data };
  });
}

it("joins parts, and passes whole frames", () => {
  const joiner = new PartJoiner();
  for (const reason of ["short", 'é"\\𝄞\n'.repeat(500)]) {
    const frame = { type: "detached", session: "s-1", reason };
    const joined = partsOf(frame, 7).map((part) => joiner.take(part));
    assert.deepEqual(joined.pop(), frame);
    assert.ok(joined.every((none) => none === undefined));
    assert.deepEqual(joiner.take({ type: "pong" }), { type: "pong" });
  }
});

it("takes no parts that do not fit", () => {
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

it("hears a frame that came in parts, and connects again when parts are missing", async () => {
  const { client, socket } = open();
  const made = client.createSession({ agent: "ada" });
  const id = socket.sent.at(-1)!.id;
  for (const part of partsOf({ type: "ack", id, session: "s-2" }, 5)) socket.says(part);
  assert.equal(await made, "s-2");
  socket.says({ type: "part", part: 1, parts: 2, data: "" });
  assert.equal(client.state, "waiting");
  await client.close();
});

it("settles a command that was refused without its id, and does not send it again", async () => {
  const { client, socket } = open();
  const other = client.createSession({ agent: "ada" });
  const otherId = socket.sent.at(-1)!.id;
  const refused = client.createSession({ agent: "eve" });
  socket.says({
    type: "refused",
    code: "bad_frame",
    reason: "the frame is not JSON",
    retry: false,
  });
  await assert.rejects(
    refused,
    (error) => error instanceof RefusedError && error.code === "bad_frame",
  );
  // A refusal of something else settles nothing.
  socket.says({ type: "refused", code: "too_fast", reason: "slower", retry: true });
  socket.onclose?.({ code: 1006, reason: "" });
  client.wake();
  const next = Fake.made.at(-1)!;
  next.says({ type: "welcome", protocol: "thoughtwire.v1", server: "test", limits: {} });
  const again = next.sent.filter((frame) => frame.type === "create_session");
  assert.deepEqual(
    again.map((frame) => frame.id),
    [otherId],
  );
  next.says({ type: "ack", id: otherId, session: "s-1" });
  assert.equal(await other, "s-1");
  await client.close();
});
