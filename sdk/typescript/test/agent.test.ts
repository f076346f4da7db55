/** Agents that the client offers, at the real server. */
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
import { ended, messages, Server, until, Way } from "./support.js";

describe("an agent of one's own", () => {
  let server: Server;
  const clients: Client[] = [];
  const connect = (url?: string) => {
    const client = server.client(undefined, url);
    clients.push(client);
    return client;
  };
  /** An agent that is offered on a connection of its own, and a room in its main session. */
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
  before(async () => void (server = await Server.start()));
  after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await server.stop();
  });

  it("speaks with every verb, and what it gives back is its last message", async () => {
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
    for await (const shown of room) {
      if (shown.type === "status") seen.push(`status ${shown.text}`);
      if (shown.type === "delta") seen.push(`delta ${shown.kind}`);
      if (shown.type !== "event") continue;
      const { event } = shown;
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
      if (ended(shown)) break;
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

  it("makes a call that needs approval once its owner approves it, and not when its owner denies it", async () => {
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
      for await (const shown of room) {
        if (shown.type !== "event") continue;
        const { event } = shown;
        if (event.kind === "approval_asked") {
          asked += 1;
          assert.ok(!ran.includes(text), text);
          await room.decide(event.call, decision);
        }
        if (event.kind === "tool_returned") assert.equal(event.status, status, text);
        if (event.kind === "message") assert.equal(event.text, said, text);
        if (ended(shown)) break;
      }
      assert.equal(asked, 1, text);
    }
    assert.deepEqual(ran, ["approve"]);
  });

  it("streams, so that a client sees the pieces before the whole", async () => {
    const { room } = await offered("bo", async (turn) => {
      const thought = turn.thought();
      await thought.write("Let me ");
      await thought.write("count.");
      await thought.end();
      const message = turn.message();
      for (let n = 1; n <= 20; n += 1) await message.write(`${n} `);
      await message.end();
      // Nothing was written: nothing is said.
      await turn.message().end();
    });
    await room.send("count");
    const pieces = new Map<string, string>();
    for await (const shown of room) {
      if (shown.type === "delta")
        pieces.set(shown.item, (pieces.get(shown.item) ?? "") + shown.text);
      if (shown.type !== "event") continue;
      const { event } = shown;
      if (event.kind === "thought" || event.kind === "message")
        assert.equal(pieces.get(event.item), event.text);
      if (ended(shown)) break;
    }
    assert.deepEqual(
      [...pieces.values()],
      ["Let me count.", Array.from({ length: 20 }, (_, n) => `${n + 1} `).join("")],
    );
  });

  it("is told of a cancel, after which nothing more is taken", async () => {
    const late = deferred<unknown>();
    const { room } = await offered("cy", async (turn) => {
      const message = turn.message();
      await message.write("I was about to");
      await new Promise((resolve) => turn.signal.addEventListener("abort", resolve));
      late.resolve(await turn.assistantMessage("too late").catch((error: unknown) => error));
      turn.signal.throwIfAborted();
    });
    await room.send("talk");
    for await (const shown of room) if (shown.type === "delta") break;
    await room.cancel();
    const log = await until(room, ended);
    assert.ok(
      log.some(
        ({ event }) =>
          event.kind === "message" && event.text === "I was about to" && !event.complete,
      ),
    );
    assert.ok((await late.promise) instanceof EndedError);
  });

  it("fails a turn whose function throws, with a text that gives nothing away", async () => {
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
      const { event } = (await until(room, ended)).at(-1)!;
      assert.ok(event.kind === "turn_ended" && event.outcome === "failed");
      return [event.code, event.reason];
    };
    assert.deepEqual(await end("tea"), ["out_of_tea", "There is no tea."]);
    assert.equal(reported.length, 0);
    assert.deepEqual(await end("secrets"), ["agent_failed", "The agent's program failed."]);
    assert.match(String(reported[0]), /xyzzy/);
    // Refused where nobody waited for it: not lost behind the turn's end.
    assert.equal((await end("silence"))[0], "bad_request");
    assert.ok(reported[1] instanceof RefusedError);
    // Refused by the client itself: the server would end the connection for it.
    assert.equal((await end("a flood"))[0], "too_large");
  });

  it("goes on where it stopped when its connection is cut in the middle of a turn, and nothing is doubled", async () => {
    const way = await Way.to(server);
    const [read, shown] = [deferred<void>(), deferred<void>()];
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
        way.deafen();
        await turn.toolReturned(call, "noon");
        await write(10, 20);
        await turn.internalMonologue("two");
        // The server has taken all of it, of which this program has not heard.
        await read.promise;
        way.cut();
        await write(20, 30);
        await shown.promise;
        await message.end();
        return "the end";
      },
      {},
      way.url,
    );
    await room.send("go");
    const numbers: number[] = [];
    const said: string[] = [];
    for await (const frame of room) {
      if (frame.type === "delta") numbers.push(frame.n);
      if (numbers.length === 30) shown.resolve();
      if (frame.type !== "event") continue;
      if ("text" in frame.event) said.push(frame.event.text);
      if (said.at(-1) === "two") read.resolve();
      if (ended(frame)) break;
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
    await way.close();
  });

  it("says everything once and in order, however often its connection is cut", async () => {
    const way = await Way.to(server);
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
      way.url,
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
          // Whatever is on its way then is lost.
          if ((heard += 1) % 60 === 0) way.cut();
          if (frame.type === "event") log.push(frame);
          if (frame.type === "event" && ended(frame)) break;
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
    await way.close();
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
    const logs = await Promise.all([until(room, ended), until(other, ended)]);
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
    const log = await until(room, ended);
    assert.deepEqual(messages(log), ["1: tea", "2: with milk\n\nand sugar"]);
    assert.equal(log.filter(({ event }) => event.kind === "turn_started").length, 1);
  });

  it("fails a turn that another process began, if it does not", async () => {
    const { room } = await offered(
      "ian",
      async (turn) => {
        await turn.internalMonologue("Hm.");
        await new Promise(() => {});
      },
      { worker: "one", onError: (error) => assert.match(String(error), /another connection/) },
    );
    await room.send("go");
    await until(room, (frame) => frame.event.kind === "thought");
    const again = await offered("ian", (turn) => `fresh: ${turn.userMessage}`, { worker: "one" });
    const { event } = (await until(room, ended)).at(-1)!;
    assert.ok(event.kind === "turn_ended" && event.code === "agent_restarted");
    again.room.leave();
    await room.send("and now?");
    assert.deepEqual(messages(await until(room, ended)), ["fresh: and now?"]);
  });

  it("leaves when what runs has ended, and fails what does not end in time", async () => {
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
    assert.deepEqual(messages(await until(room, ended)), ["in time"]);
    // What waited for a place is the next one's.
    const next = await offered(
      "jan",
      (turn) =>
        new Promise((resolve) => turn.signal.addEventListener("abort", () => resolve("late"))),
    );
    await until(other, (frame) => frame.event.kind === "turn_started");
    await next.agent.stop(0);
    const log = await until(other, ended);
    assert.ok(log.at(-1)!.event.kind === "turn_ended" && messages(log).length === 0);
    assert.equal((log.at(-1)!.event as { code?: string }).code, "agent_stopped");
  });

  it("tells when the server will not have the offer, or ends it", async () => {
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

it("goes on with what waits for leave across a killed server, in the same program and in another", async () => {
  const server = await Server.start();
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
      const { event } = (await until(room, (frame) => frame.event.kind === "approval_asked")).at(
        -1,
      )!;
      assert.ok(event.kind === "approval_asked");
      return event.call;
    };
    const first = await asks();
    await server.kill();
    await server.again();
    await room.decide(first, "approved");
    // As it was, or anew, if it came back before its turn was there to be given out.
    assert.match(messages(await until(room, ended)).join(), /^(true|false) approved$/);
    const second = await asks();
    await server.kill();
    await program.close();
    await server.again();
    offer(other, "ada", answer, options);
    await room.decide(second, "denied");
    const log = await until(room, ended);
    assert.deepEqual(messages(log), ["true denied"]);
    assert.ok(!log.some(({ event }) => event.kind === "tool_called"));
  } finally {
    await Promise.all([program.close(), other.close(), client.close()]);
    await server.stop();
  }
});
