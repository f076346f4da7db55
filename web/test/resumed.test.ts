/** Turns that were interrupted: texts that go on, and calls that may have taken effect. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { Browser, Page } from "playwright-core";

import {
  accessible,
  ask,
  BrowserUser,
  cards,
  drawn,
  idle,
  LOOKS,
  launch,
  log,
  say,
  serve,
  sessionOf,
  shown,
  TestServer,
  WebSocket,
} from "./support.js";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

interface Frame {
  type: string;
  turn: string;
  call: string;
}

/**
 * Offers the agent `main` as a worker that calls `pay`, and asks the owner about the call as after
 * an interruption. Returns the connection.
 */
async function offer(server: TestServer): Promise<WebSocket> {
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/v1/ws`);
  const offered = new Promise<void>((done) => {
    socket.on("message", (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as Frame;
      const say = (id: string, verb: object) =>
        socket.send(
          JSON.stringify({ type: "say", id: `${id}-${frame.turn}`, turn: frame.turn, ...verb }),
        );
      const finish = () => say("m", { verb: "finish", text: "That is settled." });
      if (frame.type === "ack") done();
      if (frame.type === "run") {
        say("c", { verb: "tool_called", name: "pay", args: { sum: 12 } });
        say("q", { verb: "approval", call: `c-${frame.turn}`, about: "retry" });
      }
      if (frame.type === "tool_returned") finish();
      if (frame.type === "approval_settled") {
        say("r", { verb: "tool_returned", call: frame.call, status: "success", text: "paid" });
        finish();
      }
    });
  });
  await once(socket, "open");
  socket.send(JSON.stringify({ type: "offer", id: "o", agent: "main" }));
  await offered;
  return socket;
}

const question = (page: Page) => page.getByRole("group", { name: "Was pay done?" });

describe("a call that was interrupted", () => {
  it("is run again, counted as done or counted as failed, as the owner says", async (test) => {
    const { server, user } = await serve(test, browser);
    const worker = await offer(server);
    test.after(() => worker.close());
    const page = await user.open();
    await say(page, "pay the bill");
    await question(page)
      .getByText(/It may already have taken effect/)
      .waitFor();
    assert.match(await question(page).innerText(), /\d+:\d\d left/);
    await question(page).getByRole("button", { name: "Run again" }).click();
    await idle(page);
    assert.match(await cards(page).nth(0).innerText(), /^pay done, \d+\.\d s, run again\n/);
    assert.match(await cards(page).nth(0).innerText(), /The owner had it run again/);

    // By the keyboard alone: Enter in the field says that it was done.
    await say(page, "pay the next one");
    await question(page).waitFor();
    const result = question(page).getByLabel("Its result, if you know it");
    await result.focus();
    await page.keyboard.type("receipt 7");
    await page.keyboard.press("Enter");
    await idle(page);
    assert.match(await cards(page).nth(1).innerText(), /The owner says that it was done/);
    await page.waitForFunction(() => document.activeElement?.id === "composer");

    await say(page, "and the last one");
    await question(page).getByRole("button", { name: "It failed" }).focus();
    await page.keyboard.press("Enter");
    await idle(page);
    assert.match(await cards(page).nth(2).innerText(), /^pay failed[\s\S]*it failed/);

    const events = (await server.log(sessionOf(page))).map(({ event }) => event);
    assert.deepEqual(
      events.flatMap((event) => (event.kind === "approval_settled" ? [event.decision] : [])),
      ["approved", "done", "denied"],
    );
    assert.deepEqual(
      events.flatMap((event) => (event.kind === "tool_retried" ? [event.attempt] : [])),
      [1],
    );
    const returned = events.flatMap((event) =>
      event.kind === "tool_returned" ? [[event.status, event.text]] : [],
    );
    assert.deepEqual(returned.slice(0, 2), [
      ["success", "paid"],
      ["success", "receipt 7"],
    ]);
    assert.equal(returned[2]?.[0], "error");
    const before = await log(page).innerText();
    await page.reload();
    await cards(page).nth(2).waitFor();
    assert.equal(await log(page).innerText(), before);
  });

  for (const [name, options] of Object.entries(LOOKS)) {
    it(`${name}: its question is visible and accessible`, async () => {
      const server = await TestServer.start();
      // axe is injected, which the page's content security policy forbids.
      const user = await BrowserUser.create(browser, server, { ...options, bypassCSP: true });
      let worker: WebSocket | undefined;
      try {
        worker = await offer(server);
        const page = await user.open();
        await say(page, "pay the bill");
        await question(page).waitFor();
        const { width } = page.viewportSize()!;
        for (const button of ["Run again", "It was done", "It failed"]) {
          const box = await page.getByRole("button", { name: button }).boundingBox();
          assert.ok(box && box.x >= 0 && box.x + box.width <= width, `${button} is in view`);
        }
        assert.equal(
          await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
          true,
          "nothing overflows to the right",
        );
        await accessible(page, "a call in doubt");
      } finally {
        worker?.close();
        await user.leave();
        await server.stop();
      }
    });
  }
});

/** An MCP server whose tool `pay` keeps each sum, and returns if it knows the sum already. */
const BANK = `
const { appendFileSync, existsSync, readFileSync } = require("node:fs");
const { createInterface } = require("node:readline");
const payments = process.argv[2];
function result({ method, params }) {
  const serverInfo = { name: "bank", version: "1" };
  if (method === "initialize")
    return { protocolVersion: "2025-06-18", capabilities: { tools: {} }, serverInfo };
  if (method === "tools/list")
    return { tools: [{ name: "pay", inputSchema: { type: "object" } }] };
  if (method !== "tools/call") return {};
  const sum = String(params.arguments.sum);
  const paid = existsSync(payments) ? readFileSync(payments, "utf8").split(" ") : [];
  appendFileSync(payments, sum + " ");
  return paid.includes(sum) ? { content: [{ type: "text", text: "paid " + sum }] } : undefined;
}
createInterface({ input: process.stdin }).on("line", (line) => {
  const asked = JSON.parse(line);
  const told = "id" in asked ? result(asked) : undefined;
  if (told) console.log(JSON.stringify({ jsonrpc: "2.0", id: asked.id, result: told }));
});
`;

/** Waits until something is so, for at most a minute. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const since = Date.now();
  while (!(await isSo())) {
    assert.ok(Date.now() - since < 60_000, `never: ${isSo}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

describe("a call of the built-in agent in which the server was killed", () => {
  it("is settled by the keyboard", async (test) => {
    const dir = mkdtempSync(join(tmpdir(), "bank-"));
    test.after(() => rmSync(dir, { recursive: true }));
    const [config, script, payments] = ["config.toml", "bank.cjs", "payments"].map((name) =>
      join(dir, name),
    ) as [string, string, string];
    writeFileSync(script, BANK);
    const program = JSON.stringify(process.execPath);
    const args = JSON.stringify([script, payments]);
    writeFileSync(config, `[mcp.bank]\ncommand = ${program}\nargs = ${args}\n`);
    const paid = () => (existsSync(payments) ? readFileSync(payments, "utf8").trim() : "");

    const { server, user } = await serve(test, browser, "--config", config);
    const page = await user.open();
    // The first message makes the agent.
    await ask(page, "say: hello");
    await until(async () => {
      const response = await fetch(`${server.url}/v1/agents/main`);
      const { mcp } = (await response.json()) as { mcp?: { phase: string }[] };
      return mcp?.[0]?.phase === "ready";
    });
    const question = page.getByRole("group", { name: "Was bank__pay done?" });
    /** Has the agent pay, kills the server meanwhile, and answers the question with a key. */
    const settle = async (sum: number, answer: string, key: string) => {
      await say(page, `use bank__pay {"sum": ${sum}}`);
      await until(() => paid().endsWith(String(sum)));
      await server.kill();
      await server.restart();
      await question.getByText(/It may already have taken effect/).waitFor();
      for (const name of ["Run again", "It was done", "It failed"])
        assert.equal(await question.getByRole("button", { name }).count(), 1, name);
      assert.equal(await question.getByRole("button").count(), 3);
      await question.getByRole("button", { name: answer }).focus();
      await page.keyboard.press(key);
      await idle(page);
      return cards(page)
        .nth(sum - 1)
        .innerText();
    };
    assert.match(await settle(1, "Run again", "Enter"), /^bank__pay done[^\n]*, run again\n/);
    assert.match(await settle(2, "It was done", "Space"), /The owner says that it was done/);
    assert.match(await settle(3, "It failed", "Enter"), /^bank__pay failed[\s\S]*it failed/);

    assert.equal(paid(), "1 1 2 3", "only what the owner had run again is paid twice");
    const events = (await server.log(sessionOf(page))).map(({ event }) => event);
    const all = (kind: string, key: string) =>
      events
        .filter((event) => event.kind === kind)
        .map((event) => (event as unknown as Record<string, unknown>)[key]);
    assert.deepEqual(all("turn_resumed", "attempt"), [1, 1, 1]);
    assert.deepEqual(all("approval_asked", "about"), ["retry", "retry", "retry"]);
    assert.deepEqual(all("approval_settled", "decision"), ["approved", "done", "denied"]);
    assert.deepEqual(all("tool_returned", "status"), ["success", "success", "error"]);
    assert.deepEqual(all("turn_ended", "outcome"), Array(4).fill("completed"));
  });
});

describe("a text that was cut", () => {
  /** Lets the page see a log of its own and an open item, as a server would send them. */
  async function showing(
    page: Page,
    url: string,
    events: object[],
    partial?: object,
  ): Promise<void> {
    await page.routeWebSocket(/\/v1\/ws$/, (socket) => {
      const upstream = socket.connectToServer();
      const turn = "t-1";
      upstream.onMessage((message) => {
        const frame = JSON.parse(String(message)) as { type: string; session: string };
        if (frame.type !== "caught_up") return socket.send(message);
        const { session } = frame;
        events.forEach((event, n) => {
          const at = "2026-01-01T00:00:00.000Z";
          socket.send(JSON.stringify({ type: "event", session, seq: n + 2, at, turn, event }));
        });
        if (partial) socket.send(JSON.stringify({ type: "partial", session, turn, ...partial }));
        socket.send(message);
      });
    });
    await page.goto(url);
  }

  it("is one text while the last of its parts is streamed", async (test) => {
    const { server, user } = await serve(test, browser);
    const { session } = await user.client().createAgent({ name: "main" });
    const page = await user.context.newPage();
    const events = [
      { kind: "turn_started", input: "i-1" },
      { kind: "message", item: "m-1", text: "Half a ", complete: false },
      { kind: "turn_resumed", attempt: 1, reason: "restart" },
      { kind: "message", item: "m-2", text: "sen", complete: false, continues: "m-1" },
      { kind: "turn_resumed", attempt: 2, reason: "restart" },
    ];
    const partial = { item: "m-3", n: 2, kind: "message", text: "tence", continues: "m-2" };
    await showing(page, `${server.url}/#${session}`, events, partial);
    // Markdown is drawn by a worker, from what there was a moment ago.
    const markdown = page.locator(".entry.message .markdown:not(.said)");
    await markdown.getByText("Half a sentence").waitFor();
    assert.deepEqual(await drawn(page), ["Half a sentence"]);
  });

  it("has one thin mark where it goes on, which changes no Markdown", async (test) => {
    const { server, user } = await serve(test, browser);
    const { session } = await user.client().createAgent({ name: "main" });
    const page = await user.context.newPage();
    const link = "[a page](https://example.org/pa";
    await showing(page, `${server.url}/#${session}`, [
      { kind: "turn_started", input: "i-1" },
      { kind: "message", item: "m-1", text: `See ${link}`, complete: false },
      { kind: "turn_resumed", attempt: 1, reason: "restart" },
      { kind: "message", item: "m-2", text: "th) or **a bo", complete: false, continues: "m-1" },
      { kind: "turn_resumed", attempt: 2, reason: "worker_lost" },
      { kind: "message", item: "m-3", text: "ld word**.", complete: true, continues: "m-2" },
      { kind: "message", item: "m-4", text: "Half", complete: false },
      { kind: "turn_resumed", attempt: 3, reason: "moved" },
      { kind: "message", item: "m-5", text: "Another one.", complete: true },
      { kind: "turn_ended", input: "i-1", outcome: "completed" },
    ]);
    await shown(page, "Another one.");
    const first = page.locator(".entry.message").first();
    // Markdown is drawn by a worker.
    await first.locator("strong").getByText("a bold word").waitFor();
    assert.deepEqual(await drawn(page), ["See a page or a bold word.", "Half", "Another one."]);
    assert.equal(await first.locator("a").getAttribute("href"), "https://example.org/path");
    assert.equal(await first.getByRole("img", { name: /was interrupted here/ }).count(), 2);
    assert.equal(await page.getByText("cut off here").count(), 1, "nothing continues it");
    for (const cause of ["server was restarted", "worker was lost", "moved to another server"])
      await shown(page, cause);
  });
});
