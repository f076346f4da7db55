/** How a client connects: WebSocket classes, addresses, and warnings during an outage. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { WebSocket } from "ws";

import { Client, RefusedError, type WebSocketClass } from "../src/index.js";
import { FakeSocket } from "./fake.js";
import { TestServer } from "./support.js";

/** Checked by the compiler: both classes fit without a cast. */
export const CLASSES: WebSocketClass[] = [WebSocket, globalThis.WebSocket];

describe("a client that connects", () => {
  it("warns once per outage, and keeps trying", async () => {
    const warnings: string[] = [];
    const client = new Client({
      url: "ws://test/v1/ws?ticket=t",
      webSocket: FakeSocket as never,
      onWarning: (text) => warnings.push(text),
    });
    assert.equal(client.retryAt, undefined);
    for (let n = 0; n < 3; n += 1) {
      FakeSocket.instances.at(-1)!.onclose?.({ code: 1006, reason: "" });
      assert.equal(client.state, "waiting");
      assert.ok(client.retryAt! >= Date.now() - 1_000);
      client.wake();
    }
    assert.deepEqual(warnings, [
      "thoughtwire: no server answers at ws://test/v1/ws; trying again until one does",
    ]);
    FakeSocket.instances
      .at(-1)!
      .deliver({ type: "welcome", protocol: "thoughtwire.v1", server: "test", limits: {} });
    assert.equal(client.state, "open");
    // A connection that was open is not warned about at its first interruption.
    FakeSocket.instances.at(-1)!.onclose?.({ code: 1006, reason: "" });
    assert.equal(warnings.length, 1);
    for (let n = 0; n < 6; n += 1) {
      client.wake();
      FakeSocket.instances.at(-1)!.onclose?.({ code: 1006, reason: "gone" });
    }
    assert.equal(warnings.length, 2);
    await client.close();
  });

  it("stays closed when the server's welcome arrives during the closing", async () => {
    const client = new Client({ url: "ws://test", webSocket: FakeSocket as never });
    const socket = FakeSocket.instances.at(-1)!;
    const sockets = FakeSocket.instances.length;
    await client.close();
    socket.deliver({ type: "welcome", protocol: "thoughtwire.v1", server: "test", limits: {} });
    socket.onclose?.({ code: 1000, reason: "" });
    assert.equal(client.state, "closed");
    client.wake();
    assert.equal(FakeSocket.instances.length, sockets);
  });

  it("asks for its address before each attempt; an error there fails the attempt", async () => {
    const before = FakeSocket.instances.length;
    const urls: string[] = [];
    let fails = true;
    const url = async () => {
      if (fails) throw new Error("no ticket");
      urls.push(`ws://test/v1/ws?ticket=${urls.length}`);
      return urls.at(-1)!;
    };
    const client = new Client({ url, webSocket: FakeSocket as never, onWarning: () => {} });
    const reason = await new Promise((done) =>
      client.onState((state, reason) => state === "waiting" && done(reason)),
    );
    assert.equal(reason, "no ticket");
    assert.equal(FakeSocket.instances.length, before);
    fails = false;
    client.wake();
    // An address that arrives after close() is not used.
    await client.close();
    await new Promise((done) => setTimeout(done, 10));
    assert.equal(FakeSocket.instances.length, before);
  });

  it("returns an existing agent, and creates a missing one", async () => {
    const server = await TestServer.start();
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
