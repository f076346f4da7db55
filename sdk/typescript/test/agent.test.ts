/** Offered agents, against the real server. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { deferred } from "../src/deferred.js";
import {
  type Client,
  EndedError,
  type EventFrame,
  FailedError,
  type Interface,
  type OfferOptions,
  offer,
  RefusedError,
  type TurnFunction,
} from "../src/index.js";
import { CutProxy, isTurnEnd, messages, readUntil, TestServer } from "./support.js";

describe("an offered agent", () => {
  let server: TestServer;
  const clients: Client[] = [];
  const connect = (url?: string) => {
    const client = server.client(undefined, url);
    clients.push(client);
    return client;
  };
  /** Offers an agent on its own connection; returns it with a room in its main session. */
  const offered = async (
    name: string,
    answer: TurnFunction,
    options?: OfferOptions,
    url?: string,
  ) => {
    const agent = offer(connect(url), name, answer, options);
    const { session } = await agent.offered();
    return { agent, session, room: connect().attach(session, { after: 0 }) };
  };
  before(async () => void (server = await TestServer.start()));
  after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await server.stop();
  });

  it("sends every verb, and its return value is the last message", async () => {
    const answer = async (turn: Interface) => {
      assert.equal(turn.userMessage, "do it all");
      assert.deepEqual(turn.memory.map((block) => block.label).sort(), ["human", "persona"]);
      assert.deepEqual(
        turn.clientTools.map((tool) => tool.name),
        ["open_door"],
      );
      assert.equal(turn.permissions.calculator, "ask");
      await turn.status("reading");
      await turn.internalMonologue("Hm.");
      await turn.assistantMessage("One moment.");
      await turn.functionMessage("Running now({})");
      await turn.functionMessage("Success: noon");
      const sum = turn.call("calculator");
      await sum.write('{"expression": ');
      await sum.write('"6*7"}');
      const call = await sum.end();
      assert.equal(await turn.approval(call, { timeout: 60 }), "approved");
      await turn.toolReturned(call, "42", { content: { value: 42 } });
      const door = await turn.toolCalled("open_door", { room: "attic" });
      assert.deepEqual(await turn.clientRuns(door), {
        status: "success",
        text: "the attic is open",
      });
      await turn.usage({ input_tokens: 1, output_tokens: 1 });
      await turn.usage({ input_tokens: 120, output_tokens: 8, cached_tokens: 100 });
      return "Done.";
    };
    const tools = [{ name: "calculator", description: "Calculates." }];
    const { session } = await offered("ada", answer, { memory: true, tools });
    await server.rest("PATCH", "/v1/agents/ada", { permissions: { calculator: "ask" } });
    const run = (args: Record<string, unknown>) => `the ${String(args.room)} is open`;
    const room = connect().attach(session, {
      tools: { open_door: { description: "Opens a door.", run } },
    });
    await room.send("do it all");
    const seen: string[] = [];
    for await (const update of room) {
      if (update.type === "status") seen.push(`status ${update.text}`);
      if (update.type === "delta") seen.push(`delta ${update.kind}`);
      if (update.type !== "event") continue;
      const { event } = update;
      seen.push("text" in event ? `${event.kind} ${event.text}` : event.kind);
      if (event.kind === "approval_asked") await room.decide(event.call, "approved");
      if (event.kind === "usage")
        assert.deepEqual(event, {
          kind: "usage",
          input_tokens: 120,
          output_tokens: 8,
          cached_tokens: 100,
        });
      if (event.kind === "tool_called" && event.name === "calculator")
        assert.deepEqual(event.args, { expression: "6*7" });
      if (isTurnEnd(update)) break;
    }
    assert.deepEqual(seen, [
      "user_message do it all",
      "turn_started",
      "status reading",
      "thought Hm.",
      "message One moment.",
      "tool_called",
      "tool_returned noon",
      "delta tool_args",
      "delta tool_args",
      "tool_called",
      "approval_asked",
      "approval_settled",
      "tool_returned 42",
      "tool_called",
      "tool_awaited",
      "tool_returned the attic is open",
      "usage",
      "message Done.",
      "turn_ended",
    ]);
  });

  it("makes a call that needs approval only after the owner approves it", async () => {
    const ran: string[] = [];
    const answer = async (turn: Interface) => {
      const streamed = turn.call("safe");
      await streamed.write("{}");
      try {
        const call =
          turn.userMessage === "streamed" ? await streamed.end() : await turn.toolCalled("safe");
        ran.push(turn.userMessage);
        assert.equal(await turn.approval(call), "approved");
        await turn.toolReturned(call, "open");
        return "It is open.";
      } catch (error) {
        assert.ok(error instanceof RefusedError);
        return error.code;
      }
    };
    const { room } = await offered("mia", answer, {
      tools: [{ name: "safe", description: "Opens the safe." }],
    });
    await server.rest("PATCH", "/v1/agents/mia", { permissions: { safe: "ask" } });
    for (const [text, decision, said, status] of [
      ["approve", "approved", "It is open.", "success"],
      ["deny", "denied", "forbidden", "error"],
      ["streamed", "denied", "forbidden", "error"],
    ] as const) {
      await room.send(text);
      let asked = 0;
      for await (const update of room) {
        if (update.type !== "event") continue;
        const { event } = update;
        if (event.kind === "approval_asked") {
          asked += 1;
          assert.ok(!ran.includes(text), text);
          await room.decide(event.call, decision);
        }
        if (event.kind === "tool_returned") assert.equal(event.status, status, text);
        if (event.kind === "message") assert.equal(event.text, said, text);
        if (isTurnEnd(update)) break;
      }
      assert.equal(asked, 1, text);
    }
    assert.deepEqual(ran, ["approve"]);
  });

  it("streams deltas that a client sees before the complete item", async () => {
    const { room } = await offered("bo", async (turn) => {
      const thought = turn.thought();
      await thought.write("Let me ");
      await thought.write("count.");
      await thought.end();
      const message = turn.message();
      for (let n = 1; n <= 20; n += 1) await message.write(`${n} `);
      await message.end();
      // Without text, no message is sent.
      await turn.message().end();
    });
    await room.send("count");
    const pieces = new Map<string, string>();
    for await (const update of room) {
      if (update.type === "delta")
        pieces.set(update.item, (pieces.get(update.item) ?? "") + update.text);
      if (update.type !== "event") continue;
      const { event } = update;
      if (event.kind === "thought" || event.kind === "message")
        assert.equal(pieces.get(event.item), event.text);
      if (isTurnEnd(update)) break;
    }
    assert.deepEqual(
      [...pieces.values()],
      ["Let me count.", Array.from({ length: 20 }, (_, n) => `${n + 1} `).join("")],
    );
  });

  it("is aborted by a cancel, after which its verbs are rejected", async () => {
    const late = deferred<unknown>();
    const { room } = await offered("cy", async (turn) => {
      const message = turn.message();
      await message.write("I was about to");
      await new Promise((resolve) => turn.signal.addEventListener("abort", resolve));
      late.resolve(await turn.assistantMessage("too late").catch((error: unknown) => error));
      turn.signal.throwIfAborted();
    });
    await room.send("talk");
    for await (const update of room) if (update.type === "delta") break;
    await room.cancel();
    const log = await readUntil(room, isTurnEnd);
    assert.ok(
      log.some(
        ({ event }) =>
          event.kind === "message" && event.text === "I was about to" && !event.complete,
      ),
    );
    assert.ok((await late.promise) instanceof EndedError);
  });

  it("fails a turn whose function throws, without revealing the error's text", async () => {
    const reported: unknown[] = [];
    const { room } = await offered(
      "dee",
      (turn) => {
        if (turn.userMessage === "tea")
          throw new FailedError("There is no tea.", { code: "out_of_tea" });
        if (turn.userMessage === "secrets") throw new Error("the password is xyzzy");
        if (turn.userMessage === "silence") void turn.assistantMessage("");
        if (turn.userMessage === "a flood") return "ä".repeat(700_000);
        return undefined;
      },
      { onError: (error) => reported.push(error) },
    );
    const end = async (text: string) => {
      await room.send(text);
      const { event } = (await readUntil(room, isTurnEnd)).at(-1)!;
      assert.ok(event.kind === "turn_ended" && event.outcome === "failed");
      return [event.code, event.reason];
    };
    assert.deepEqual(await end("tea"), ["out_of_tea", "There is no tea."]);
    assert.equal(reported.length, 0);
    assert.deepEqual(await end("secrets"), ["agent_failed", "The agent's program failed."]);
    assert.match(String(reported[0]), /xyzzy/);
    // A refused verb that was not awaited still fails the turn.
    assert.equal((await end("silence"))[0], "bad_request");
    assert.ok(reported[1] instanceof RefusedError);
    // The client refuses it itself, since the server would close the connection.
    assert.equal((await end("a flood"))[0], "too_large");
  });

  it("continues after its connection is cut during a turn, without duplicates", async () => {
    const proxy = await CutProxy.to(server);
    const [allRead, allDeltas] = [deferred<void>(), deferred<void>()];
    const { agent, room } = await offered(
      "eve",
      async (turn) => {
        const message = turn.message();
        const write = async (from: number, to: number) => {
          for (let n = from; n < to; n += 1) await message.write(`${n} `);
        };
        await turn.internalMonologue("one");
        await write(0, 10);
        const call = await turn.toolCalled("now");
        proxy.dropReplies();
        await turn.toolReturned(call, "noon");
        await write(10, 20);
        await turn.internalMonologue("two");
        // The server has received all of it, but its acks are lost.
        await allRead.promise;
        proxy.cut();
        await write(20, 30);
        await allDeltas.promise;
        await message.end();
        return "the end";
      },
      {},
      proxy.url,
    );
    await room.send("go");
    const numbers: number[] = [];
    const said: string[] = [];
    for await (const frame of room) {
      if (frame.type === "delta") numbers.push(frame.n);
      if (numbers.length === 30) allDeltas.resolve();
      if (frame.type !== "event") continue;
      if ("text" in frame.event) said.push(frame.event.text);
      if (said.at(-1) === "two") allRead.resolve();
      if (isTurnEnd(frame)) break;
    }
    assert.deepEqual(
      numbers,
      Array.from({ length: 30 }, (_, n) => n),
    );
    assert.deepEqual(said, [
      "go",
      "one",
      "noon",
      "two",
      numbers.map((n) => `${n} `).join(""),
      "the end",
    ]);
    await agent.stop();
    await proxy.close();
  });

  it("sends everything once and in order, however often its connection is cut", async () => {
    const proxy = await CutProxy.to(server);
    const words = Array.from({ length: 40 }, (_, n) => `word ${n}`);
    const { agent, session } = await offered(
      "fay",
      async (turn) => {
        for (const word of words) {
          const message = turn.message();
          for (const piece of word.split(/(?<= )/)) await message.write(piece);
          await message.end();
          await turn.toolReturned(await turn.toolCalled("nod"), "nodded");
        }
        return "the end";
      },
      { turns: 3 },
      proxy.url,
    );
    const client = connect();
    const sessions = [
      session,
      await client.createSession({ agent: "fay" }),
      await client.createSession({ agent: "fay" }),
    ];
    let heard = 0;
    await Promise.all(
      sessions.map(async (session) => {
        const room = client.attach(session, { after: 0 });
        await room.send("go");
        const log: EventFrame[] = [];
        for await (const frame of room) {
          // Frames in transit are lost.
          if ((heard += 1) % 60 === 0) proxy.cut();
          if (frame.type === "event") log.push(frame);
          if (frame.type === "event" && isTurnEnd(frame)) break;
        }
        assert.deepEqual(messages(log), [...words, "the end"]);
        const calls = log.map(({ event }) => event.kind).filter((kind) => kind.startsWith("tool_"));
        assert.deepEqual(
          calls,
          words.flatMap(() => ["tool_called", "tool_returned"]),
        );
      }),
    );
    await agent.stop();
    await proxy.close();
  });

  it("runs as many turns at once as it offers", async () => {
    let inside = 0;
    const both = deferred<void>();
    const { session, room } = await offered(
      "flo",
      async () => {
        if ((inside += 1) === 2) both.resolve();
        await both.promise;
        return "both of us";
      },
      { turns: 2 },
    );
    const client = connect();
    const other = client.attach(await client.createSession({ agent: "flo" }), { after: 0 });
    assert.notEqual(other.session, session);
    await Promise.all([room.send("one"), other.send("two")]);
    const logs = await Promise.all([readUntil(room, isTurnEnd), readUntil(other, isTurnEnd)]);
    assert.deepEqual(logs.map(messages), [["both of us"], ["both of us"]]);
  });

  it("answers inputs that join a turn in the same turn", async () => {
    const inside = deferred<void>();
    const joined = deferred<void>();
    const { room } = await offered("gus", async (turn) => {
      inside.resolve();
      await joined.promise;
      return `${turn.inputs.length}: ${turn.userMessage}`;
    });
    await room.send("tea");
    await inside.promise;
    await room.send("with milk", { policy: "steer" });
    await room.send("and sugar", { policy: "steer" });
    joined.resolve();
    const log = await readUntil(room, isTurnEnd);
    assert.deepEqual(messages(log), ["1: tea", "2: with milk\n\nand sugar"]);
    assert.equal(log.filter(({ event }) => event.kind === "turn_started").length, 1);
  });

  it("fails a turn that another process began, unless it resumes turns", async () => {
    const { room } = await offered(
      "ian",
      async (turn) => {
        await turn.internalMonologue("Hm.");
        await new Promise(() => {});
      },
      { worker: "one", onError: (error) => assert.match(String(error), /another connection/) },
    );
    await room.send("go");
    await readUntil(room, (frame) => frame.event.kind === "thought");
    const again = await offered("ian", (turn) => `fresh: ${turn.userMessage}`, { worker: "one" });
    const { event } = (await readUntil(room, isTurnEnd)).at(-1)!;
    assert.ok(event.kind === "turn_ended" && event.code === "agent_restarted");
    again.room.leave();
    await room.send("and now?");
    assert.deepEqual(messages(await readUntil(room, isTurnEnd)), ["fresh: and now?"]);
  });

  it("stops once its turns have ended, and fails those that exceed the grace", async () => {
    const [inside, go] = [deferred<void>(), deferred<void>()];
    const { agent, room } = await offered("jan", async () => {
      inside.resolve();
      await go.promise;
      return "in time";
    });
    await room.send("one");
    await inside.promise;
    const client = connect();
    const other = client.attach(await client.createSession({ agent: "jan" }), { after: 0 });
    await other.send("two");
    const stopped = agent.stop(60);
    go.resolve();
    await stopped;
    await agent.ended;
    assert.deepEqual(messages(await readUntil(room, isTurnEnd)), ["in time"]);
    // The next worker takes the turn that was queued.
    const next = await offered(
      "jan",
      (turn) =>
        new Promise((resolve) => turn.signal.addEventListener("abort", () => resolve("late"))),
    );
    await readUntil(other, (frame) => frame.event.kind === "turn_started");
    await next.agent.stop(0);
    const log = await readUntil(other, isTurnEnd);
    assert.ok(log.at(-1)!.event.kind === "turn_ended" && messages(log).length === 0);
    assert.equal((log.at(-1)!.event as { code?: string }).code, "agent_stopped");
  });

  it("reports when the server refuses the offer, or ends it", async () => {
    const reported: unknown[] = [];
    const onError = (error: unknown) => reported.push(error);
    const client = connect();
    await client.createAgent({ name: "kim" });
    const own = offer(client, "kim", () => {}, { onError });
    await assert.rejects(
      own.offered(),
      (error) => error instanceof RefusedError && error.code === "not_offered",
    );
    const { agent } = await offered("lea", () => {}, { onError });
    const gone = fetch(`${server.url}/v1/agents/lea`, { method: "DELETE" });
    await assert.rejects(agent.ended, /deleted/);
    assert.ok((await gone).ok);
    assert.equal(reported.length, 2);
  });
});

it("resumes turns that wait for approval after a kill, here and in another program", async () => {
  const server = await TestServer.start();
  const [program, other, client] = [server.client(), server.client(), server.client()];
  try {
    const answer = async (turn: Interface) => {
      const call = turn.waiting[0]?.call ?? (await turn.toolCalled("door", {}));
      return `${turn.history.length > 0} ${await turn.approval(call)}`;
    };
    const options = { worker: "door-keeper", resumes: true };
    const agent = offer(program, "ada", answer, options);
    const room = client.attach((await agent.offered()).session, { after: 0 });
    const asks = async () => {
      await room.send("open");
      const { event } = (
        await readUntil(room, (frame) => frame.event.kind === "approval_asked")
      ).at(-1)!;
      assert.ok(event.kind === "approval_asked");
      return event.call;
    };
    const first = await asks();
    await server.kill();
    await server.restart();
    await room.decide(first, "approved");
    // It may reconnect before the server hands out the turn again; then the turn starts fresh.
    assert.match(messages(await readUntil(room, isTurnEnd)).join(), /^(true|false) approved$/);
    const second = await asks();
    await server.kill();
    await program.close();
    await server.restart();
    offer(other, "ada", answer, options);
    await room.decide(second, "denied");
    const log = await readUntil(room, isTurnEnd);
    assert.deepEqual(messages(log), ["true denied"]);
    assert.ok(!log.some(({ event }) => event.kind === "tool_called"));
  } finally {
    await Promise.all([program.close(), other.close(), client.close()]);
    await server.stop();
  }
});
