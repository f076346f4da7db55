/** Turns that were interrupted: texts that go on, and calls that may have taken effect. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";

import type { Browser, Page } from "playwright-core";

import {
  accessible,
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
    await shown(page, "Half a sentence");
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
