/** An agent outside of the server, seen over all wires at once. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, it } from "node:test";

import type { Browser } from "playwright-core";

import type { Client, EventFrame, Room } from "../../sdk/typescript/src/index.js";
import { BrowserUser, cards, launch, live, TestServer, WebSocket } from "./support.js";

const PYTHON = new URL("../../.test-deps/python/bin/python", import.meta.url).pathname;
const EXAMPLE = new URL("../../sdk/python/examples/memgpt_agent.py", import.meta.url).pathname;

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

interface ChatMessage {
  role: string;
  content: string;
}

/** A model server with the API of MemGPT's time: it stores a note, then answers. */
async function modelServer() {
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += String(part);
    const { messages, model } = JSON.parse(body) as { messages: ChatMessage[]; model: string };
    const last = messages.at(-1)!;
    const hears = last.role === "user" && last.content.includes('"type": "user_message"');
    const note = { name: "human", content: "Likes tea.", request_heartbeat: true };
    const noted = messages[0]!.content.includes("Likes tea.");
    const call = hears
      ? { name: "core_memory_append", arguments: JSON.stringify(note) }
      : {
          name: "send_message",
          arguments: JSON.stringify({ message: noted ? "Noted!" : "I have forgotten." }),
        };
    const message = {
      role: "assistant",
      content: hears ? "They like tea." : "Now I answer.",
      function_call: call,
    };
    const usage = { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 };
    response.setHeader("content-type", "application/json");
    response.end(
      JSON.stringify({
        id: "c",
        object: "chat.completion",
        created: 0,
        model,
        choices: [{ index: 0, message, finish_reason: "function_call" }],
        usage,
      }),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    close: () => server.close(),
  };
}

/** Returns the session of Sparky's chat, found by a native client. */
async function chatOf(client: Client): Promise<string> {
  for await (const change of client.watch()) if ("id" in change && !change.main) return change.id;
  throw new Error("the list ended");
}

async function turn(room: Room): Promise<EventFrame[]> {
  const seen: EventFrame[] = [];
  for await (const shown of room) {
    if (shown.type !== "event") continue;
    seen.push(shown);
    if (shown.event.kind === "turn_ended") return seen;
  }
  throw new Error("the room ended before the turn");
}

it("MemGPT's agent from PyPI is seen by native and Sparky clients and the page", async () => {
  const server = await TestServer.start();
  const user = await BrowserUser.create(browser, server);
  const model = await modelServer();
  const home = mkdtempSync(join(tmpdir(), "memgpt-"));
  // `sparky` is the one agent that a user has on Sparky's wire.
  const env = {
    ...process.env,
    THOUGHTWIRE_URL: server.url,
    OPENAI_BASE_URL: model.url,
    OPENAI_API_KEY: "none",
    HOME: home,
  };
  const program = spawn(PYTHON, [EXAMPLE, "sparky"], { env, stdio: "inherit" });
  let sparky: WebSocket | undefined;
  try {
    const client = user.client();
    // The program's offer creates the agent.
    for await (const change of client.watch())
      if ("id" in change && change.agent_name === "sparky") break;
    const frames: { type: string; data: Record<string, unknown> }[] = [];
    const line = (sparky = new WebSocket(`${server.url.replace("http", "ws")}/ws/chat`));
    const answered = new Promise<void>((done) => {
      line.on("message", (data: Buffer) => {
        const frame = JSON.parse(data.toString()) as (typeof frames)[number];
        frames.push(frame);
        if (frame.type === "ready")
          line.send(JSON.stringify({ type: "message", data: { text: "I like tea." } }));
        if (frame.type === "message") done();
      });
    });
    await once(line, "open");
    line.send(JSON.stringify({ type: "connect", data: {} }));
    const session = await chatOf(client);
    const room = client.attach(session, { after: 0 });
    const page = await user.open(`#${session}`);
    await live(page);
    const [seen] = await Promise.all([turn(room), answered]);

    assert.deepEqual(
      seen
        .filter(({ event }) => event.kind === "tool_called")
        .map(({ event }) => event.kind === "tool_called" && event.name),
      ["core_memory_append", "send_message"],
    );
    assert.ok(
      seen.some(({ event }) => event.kind === "thought" && event.text === "They like tea."),
    );
    assert.ok(seen.some(({ event }) => event.kind === "message" && event.text === "Noted!"));
    const of = (type: string) =>
      frames.filter((frame) => frame.type === type).map((frame) => frame.data);
    assert.ok(of("thought").some((data) => JSON.stringify(data).includes("They like tea.")));
    assert.ok(of("tool_use").some((data) => JSON.stringify(data).includes("core_memory_append")));
    assert.equal(of("tool_result").length, 2);
    assert.ok(JSON.stringify(of("message")).includes("Noted!"));
    await page.getByText("Noted!").first().waitFor();
    await cards(page).filter({ hasText: "core_memory_append" }).first().waitFor();
  } finally {
    sparky?.close();
    program.kill("SIGKILL");
    model.close();
    await user.leave();
    await server.stop();
    rmSync(home, { recursive: true, force: true });
  }
});
