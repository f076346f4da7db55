/** How a client comes to a server: with which WebSocket, at which address, and what it says when nobody is there. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { WebSocket } from "ws";

import { Client, RefusedError, type WebSocketClass } from "../src/index.js";
import { Fake } from "./fake.js";
import { Server } from "./support.js";

/** Types alone: none of these needs a cast. */
export const CLASSES: WebSocketClass[] = [WebSocket, globalThis.WebSocket];

describe("a client that connects", () => {
  it("warns once for an outage, and goes on trying", async () => {
    const warnings: string[] = [];
    const client = new Client({
      url: "ws://test/v1/ws?ticket=t",
      webSocket: Fake as never,
      onWarning: (text) => warnings.push(text),
    });
    assert.equal(client.retryAt, undefined);
    for (let n = 0; n < 3; n += 1) {
      Fake.made.at(-1)!.onclose?.({ code: 1006, reason: "" });
      assert.equal(client.state, "waiting");
      assert.ok(client.retryAt! >= Date.now() - 1_000);
      client.wake();
    }
    assert.deepEqual(warnings, [
      "thoughtwire: no server answers at ws://test/v1/ws; trying again until one does",
    ]);
    Fake.made
      .at(-1)!
      .says({ type: "welcome", protocol: "thoughtwire.v1", server: "test", limits: {} });
    assert.equal(client.state, "open");
    // What once stood is not warned about at its first interruption.
    Fake.made.at(-1)!.onclose?.({ code: 1006, reason: "" });
    assert.equal(warnings.length, 1);
    for (let n = 0; n < 6; n += 1) {
      client.wake();
      Fake.made.at(-1)!.onclose?.({ code: 1006, reason: "gone" });
    }
    assert.equal(warnings.length, 2);
    await client.close();
  });

  it("asks for its address before each attempt, and takes a failure for one of the connection", async () => {
    const before = Fake.made.length;
    const urls: string[] = [];
    let fails = true;
    const url = async () => {
      if (fails) throw new Error("no ticket");
      urls.push(`ws://test/v1/ws?ticket=${urls.length}`);
      return urls.at(-1)!;
    };
    const client = new Client({ url, webSocket: Fake as never, onWarning: () => {} });
    const reason = await new Promise((done) =>
      client.onState((state, reason) => state === "waiting" && done(reason)),
    );
    assert.equal(reason, "no ticket");
    assert.equal(Fake.made.length, before);
    fails = false;
    client.wake();
    // Of an address that comes too late nothing is made.
    await client.close();
    await new Promise((done) => setTimeout(done, 10));
    assert.equal(Fake.made.length, before);
  });

  it("finds an agent that is there, and makes one that is not", async () => {
    const server = await Server.start();
    const client = server.client();
    try {
      const made = await client.ensureAgent({ name: "Zoë/1" });
      const found = await client.ensureAgent({ name: "Zoë/1", persona: "another" });
      assert.deepEqual([found.agent.id, found.session], [made.agent.id, made.session]);
      await assert.rejects(
        client.ensureAgent({ name: ".." }),
        (error) => error instanceof RefusedError && error.code === "bad_request",
      );
    } finally {
      await client.close();
      await server.stop();
    }
  });
});
