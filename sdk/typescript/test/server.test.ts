/** The client against the real server. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import {
  type Client,
  type ClientState,
  type EventFrame,
  RefusedError,
  type RoomUpdate,
} from "../src/index.js";
import { isTurnEnd, messages, readUntil, TestServer } from "./support.js";

describe("a client of a server", () => {
  let server: TestServer;
  const clients: Client[] = [];
  const connect = (name?: string) => {
    const client = server.client(name);
    clients.push(client);
    return client;
  };
  before(async () => void (server = await TestServer.start()));
  after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await server.stop();
  });

  it("talks to an agent, and receives each event once and in order", async () => {
    const client = connect("sdk");
    const { agent, session } = await client.createAgent({ name: "ada" });
    assert.equal(agent.name, "ada");
    const room = client.attach(session, { after: 0 });
    const ack = await room.send("what is 6*7?");
    assert.equal(ack.disposition, "started");
    const seen = await readUntil(room, isTurnEnd);
    assert.deepEqual(
      seen.map((frame) => frame.seq),
      seen.map((_, at) => at + 1),
    );
    assert.match(messages(seen).join(), /42/);
    const said = seen.find((frame) => frame.event.kind === "user_message");
    assert.ok(said?.event.kind === "user_message" && said.event.from === "sdk");
    assert.equal(room.cursor?.seq, seen.at(-1)?.seq);
    // A client has at most one room per session.
    assert.throws(() => client.attach(session), /already attached to/);
    room.leave();
    assert.deepEqual(await room[Symbol.asyncIterator]().next(), { done: true, value: undefined });
  });

  it("receives deltas before the message, and a repeated id takes effect once", async () => {
    const client = connect();
    const { session } = await client.createAgent({ name: "bo" });
    const room = client.attach(session);
    await room.send("count to 20", { id: "once" });
    const kinds: string[] = [];
    for await (const update of room) {
      if (update.type === "delta") kinds.push(`delta ${update.kind}`);
      if (update.type === "event") kinds.push(update.event.kind);
      if (update.type === "event" && isTurnEnd(update)) break;
    }
    assert.ok(
      kinds.indexOf("delta message") >= 0 &&
        kinds.indexOf("delta message") < kinds.indexOf("message"),
      kinds.join(),
    );
    const again = await room.send("count to 20", { id: "once" });
    assert.equal(again.duplicate, true);
    await assert.rejects(
      room.send("something else", { id: "once" }),
      (error) => error instanceof RefusedError && error.code === "id_reused",
    );
  });

  it("rejects refused commands, and ends the room of an unknown session", async () => {
    const client = connect();
    const { session } = await client.createAgent({ name: "cy" });
    await assert.rejects(
      client.createAgent({ name: "cy" }),
      (error) => error instanceof RefusedError && error.code === "name_taken",
    );
    const room = client.attach(session);
    await assert.rejects(
      room.send("   "),
      (error) => error instanceof RefusedError && error.code === "empty_text" && !error.retry,
    );
    const nowhere = client.attach("nowhere");
    await assert.rejects(
      nowhere[Symbol.asyncIterator]().next(),
      (error) => error instanceof RefusedError && error.code === "unknown_session",
    );
  });

  it("runs its own tools, including those that throw", async () => {
    const client = connect();
    const { session } = await client.createAgent({ name: "dee" });
    const parameters = {
      type: "object",
      properties: { room: { type: "string" } },
      required: ["room"],
    };
    const run = (args: Record<string, unknown>) => {
      if (args.room === "cellar") throw new Error("the cellar is locked");
      return `the ${String(args.room)} is open`;
    };
    const room = client.attach(session, {
      after: 0,
      tools: { open_door: { description: "Opens a door.", parameters, run } },
    });
    await room.send('use open_door {"room": "attic"}');
    assert.match(messages(await readUntil(room, isTurnEnd)).join(), /the attic is open/);
    await room.send('use open_door {"room": "cellar"}');
    assert.match(messages(await readUntil(room, isTurnEnd)).join(), /the cellar is locked/);
    // A replay does not run calls that are already settled.
    const again: unknown[] = [];
    const reader = connect().attach(session, {
      after: 0,
      tools: {
        open_door: { description: "", parameters, run: (args) => String(again.push(args)) },
      },
    });
    for await (const update of reader) if (update.type === "caught_up") break;
    assert.deepEqual(again, []);
  });

  it("decides approvals, cancels turns and withdraws queued inputs", async () => {
    const client = connect();
    const { session } = await client.createAgent({ name: "eve" });
    await server.rest("PATCH", "/v1/agents/eve", { permissions: { calculator: "ask" } });
    const room = client.attach(session, { after: 0 });
    await room.send("what is 6*7?");
    const waiting = await readUntil(room, (frame) => frame.event.kind === "approval_asked");
    const asked = waiting.at(-1)?.event;
    assert.ok(asked?.kind === "approval_asked" && asked.name === "calculator");
    const queued = await room.send("and then?");
    assert.equal(queued.disposition, "queued");
    await room.withdraw(queued.input!);
    await room.decide(asked.call, "denied");
    const seen = await readUntil(room, isTurnEnd);
    assert.ok(
      seen.some(
        (frame) => frame.event.kind === "approval_settled" && frame.event.decision === "denied",
      ),
    );
    await room.send("what is 7*7?");
    await readUntil(room, (frame) => frame.event.kind === "approval_asked");
    await room.cancel();
    const cancelled = (await readUntil(room, isTurnEnd)).at(-1)?.event;
    assert.ok(cancelled?.kind === "turn_ended" && cancelled.outcome === "cancelled");
  });

  it("watches the list of sessions", async () => {
    const client = connect();
    const list = client.watch();
    const { session } = await client.createAgent({ name: "flo" });
    for await (const entry of list) if ("id" in entry && entry.id === session) break;
    const other = await client.createSession({ agent: "flo", title: "Trains" });
    await client.deleteSession(other);
    const watched = client.watch();
    for await (const entry of watched) {
      assert.ok(!("id" in entry) || entry.id !== other);
      if ("id" in entry && entry.id === session) break;
    }
  });

  it("bounds memory when it reads slowly, and loses nothing", async () => {
    const client = connect();
    const { session } = await client.createAgent({
      name: "gus",
      model: "load:items=6000,bytes=20,rate=0",
    });
    const room = client.attach(session, { after: 0 });
    await room.send("go");
    // The room is not read yet; the turn ends on the server long before.
    const other = connect().attach(session, { after: 0 });
    await readUntil(other, isTurnEnd);
    const seen = await readUntil(room, isTurnEnd);
    assert.deepEqual(
      seen.map((frame) => frame.seq),
      seen.map((_, at) => at + 1),
    );
    assert.equal(messages(seen).length, 6000);
  });

  it("stops waiting when its signal is aborted", async () => {
    const client = connect();
    const { session } = await client.createAgent({ name: "hal" });
    const room = client.attach(session);
    await assert.rejects(
      room.send("never sent", { signal: AbortSignal.abort(new Error("enough")) }),
      /enough/,
    );
    assert.ok(!(await server.log(session)).some((frame) => frame.event.kind === "user_message"));
    assert.equal(client.waiting, 0);
  });

  it("refuses a frame for which the server would close the connection", async () => {
    const client = connect();
    const { session } = await client.createAgent({ name: "ian" });
    const room = client.attach(session);
    await assert.rejects(
      room.send("ä".repeat(700_000)),
      (error) => error instanceof RefusedError && error.code === "too_large",
    );
    assert.equal((await room.send("short")).disposition, "started");
  });
});

it("survives a killed server: resumes at its cursor, sends kept inputs once", async () => {
  const server = await TestServer.start();
  const client = server.client();
  try {
    const { session } = await client.createAgent({
      name: "ada",
      model: "load:items=400,bytes=30,rate=200,deltas=yes",
    });
    const room = client.attach(session, { after: 0 });
    const states: ClientState[] = [];
    client.onState((state) => states.push(state));
    await room.send("tell me something long");
    const seen: EventFrame[] = [];
    let killed = false;
    let resets = 0;
    for await (const update of room as AsyncIterable<RoomUpdate>) {
      if (update.type === "reset") resets += 1;
      if (update.type === "event") seen.push(update);
      if (update.type === "delta" && update.n > 250 && !killed) {
        killed = true;
        await server.kill();
        // Sent while the server is down: kept, and delivered when it is back.
        const later = room.send("are you back?");
        setTimeout(() => void server.restart(), 300);
        assert.equal((await later).duplicate ?? false, false);
      }
      if (update.type === "event" && isTurnEnd(update) && seen.filter(isTurnEnd).length === 2)
        break;
    }
    assert.equal(resets, 0);
    assert.ok(states.includes("waiting") && states.at(-1) === "open", states.join());
    // Exactly the log: the cut-off message with its text so far, and the second turn.
    const log = await server.log(session);
    assert.deepEqual(
      seen.map(({ seq, event }) => ({ seq, event })),
      log.map(({ seq, event }) => ({ seq, event })),
    );
    const cut = seen.find((frame) => frame.event.kind === "message" && !frame.event.complete);
    assert.ok(cut, "the cut sentence is marked");
    assert.equal(
      seen.filter(
        (frame) => frame.event.kind === "user_message" && frame.event.text === "are you back?",
      ).length,
      1,
    );
  } finally {
    await client.close();
    await server.stop();
  }
});
