/** The page when the connection or the server goes away. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";

import type { Browser } from "playwright-core";

import {
  ask,
  BrowserUser,
  drawn,
  idle,
  launch,
  live,
  say,
  sessionOf,
  shown,
  TestServer,
  written,
} from "./support.js";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

describe("a page that loses its connection", () => {
  let server: TestServer;
  let user: BrowserUser;
  beforeEach(async () => {
    server = await TestServer.start();
    user = await BrowserUser.create(browser, server);
  });
  afterEach(async () => {
    await user.leave();
    await server.stop();
  });

  it("joins a text that a killed server cut and continued", async () => {
    await server.rest("POST", "/v1/agents", {
      name: "main",
      model: "load:items=300,bytes=30,rate=60,deltas=yes",
    });
    const page = await user.open();
    await say(page, "tell me something long");
    const message = page.locator(".entry.message .markdown").first();
    await page.waitForFunction(
      () => (document.querySelector(".entry.message")?.textContent?.length ?? 0) > 2500,
    );
    await server.kill();
    await page.locator('[data-connection="offline"]').waitFor();
    // Sent while offline: kept, and delivered once.
    await say(page, "are you back?");
    await page.getByText("Not sent yet. It is sent when the connection is back.").waitFor();
    assert.match(
      await page.getByRole("status", { name: "Connection" }).innerText(),
      /offline, 1 to send/,
    );
    const before = await message.innerText();
    await server.restart();
    await live(page);
    await shown(page, "The server was restarted; the turn goes on.");
    await page.locator(".entry.message").nth(1).waitFor();
    await idle(page);
    const events = await server.log(sessionOf(page));
    assert.deepEqual(await drawn(page), written(events));
    // The first answer is one text: what was seen before the kill, and the rest behind it.
    assert.equal((await drawn(page)).length, 2);
    assert.ok((await message.innerText()).startsWith(before.trimEnd()));
    assert.equal(await page.getByText("cut off here").count(), 0);
    const seam = page.getByRole("img", {
      name: "The text was interrupted here and then continued",
    });
    assert.equal(await seam.count(), 1);
    const ends = events.flatMap(({ event }) => (event.kind === "turn_ended" ? [event] : []));
    assert.deepEqual(
      ends.map(({ outcome }) => outcome),
      ["completed", "completed"],
    );
    assert.equal(
      events.filter(({ event }) => event.kind === "user_message" && event.text === "are you back?")
        .length,
      1,
    );
    // The mark takes no space: the text is where it would be without it.
    const moved = await seam.evaluate((mark) => {
      const text = mark.parentElement!;
      const before = text.getBoundingClientRect().height;
      mark.remove();
      return text.getBoundingClientRect().height - before;
    });
    assert.equal(moved, 0);
    await page.reload();
    await seam.waitFor();
    assert.deepEqual(await drawn(page), written(events));
    assert.equal(await page.locator(".unsent").count(), 0);
  });

  it("delivers an offline message once, from a tab that was closed", async () => {
    const page = await user.open();
    await ask(page, "hello");
    const session = sessionOf(page);
    await server.kill();
    await page.locator('[data-connection="offline"]').waitFor();
    await say(page, "sent from the train");
    await page.locator(".unsent").waitFor();
    await page.close();
    await server.restart();
    // Two tabs find the same message in the outbox, and both send it.
    const [one, two] = await Promise.all([user.open(`#${session}`), user.open(`#${session}`)]);
    for (const tab of [one, two]) await shown(tab, "sent from the train");
    await one.locator(".unsent").waitFor({ state: "detached" });
    await two.locator(".unsent").waitFor({ state: "detached" });
    await idle(one);
    const said = (await server.log(session)).filter(
      ({ event }) => event.kind === "user_message" && event.text === "sent from the train",
    );
    assert.equal(said.length, 1);
  });

  it("sends to the session in the address, however slow the connection", async () => {
    await server.rest("POST", "/v1/agents", { name: "main" });
    await server.rest("POST", "/v1/agents", { name: "ada" });
    const { agent } = (await (await fetch(`${server.url}/v1/agents/ada`)).json()) as {
      agent: { main_session: string };
    };
    const page = await user.context.newPage();
    await page.routeWebSocket(/\/v1\/ws$/, (socket) => {
      const upstream = socket.connectToServer();
      upstream.onMessage((message) => void setTimeout(() => socket.send(message), 700));
    });
    await page.goto(`${server.url}/#${agent.main_session}`);
    await ask(page, "what is 6*7?");
    assert.equal(sessionOf(page), agent.main_session);
    assert.ok(
      (await server.log(agent.main_session)).some(({ event }) => event.kind === "user_message"),
    );
  });

  it("returns texts it cannot send, and removes sessions deleted meanwhile", async () => {
    const client = user.client();
    await client.createAgent({ name: "main" });
    const session = await client.createSession({ agent: "main", title: "Short-lived" });
    const page = await user.open(`#${session}`);
    await live(page);
    await server.kill();
    await page.locator('[data-connection="offline"]').waitFor();
    await say(page, "into the void");
    // The session is deleted before the page reconnects.
    await page.evaluate(
      () =>
        ((window as unknown as { WebSocket: unknown }).WebSocket = class {
          close() {}
          addEventListener() {}
        }),
    );
    await server.restart();
    await client.deleteSession(session);
    await page.reload();
    await page.getByRole("alert").waitFor();
    await page.waitForFunction(
      () => (document.getElementById("composer") as HTMLTextAreaElement).value === "into the void",
    );
    assert.equal(await page.getByRole("button", { name: /^Short-lived/ }).count(), 0);
  });

  it("ignores unknown frames of a newer server", async () => {
    const page = await user.context.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.routeWebSocket(/\/v1\/ws$/, (socket) => {
      const upstream = socket.connectToServer();
      upstream.onMessage((message) => {
        const frame = JSON.parse(String(message)) as {
          type: string;
          session?: string;
          seq?: number;
          event?: { kind: string };
        };
        socket.send(JSON.stringify({ type: "weather", session: frame.session, sky: "blue" }));
        socket.send("this is no frame");
        // A known event under an unknown kind.
        if (frame.event?.kind === "thought") frame.event.kind = "dream";
        socket.send(JSON.stringify({ ...frame, colour: "green" }));
      });
    });
    await page.goto(server.url);
    await ask(page, "what is 6*7?");
    await shown(page, "6*7 = 42");
    assert.equal(await page.locator(".entry.thought").count(), 0);
    assert.deepEqual(errors, []);
  });

  it("survives a connection that is cut repeatedly", async () => {
    await server.rest("POST", "/v1/agents", {
      name: "main",
      model: "load:items=200,bytes=30,rate=60,deltas=yes",
    });
    const page = await user.context.newPage();
    let cuts = 0;
    await page.routeWebSocket(/\/v1\/ws$/, (socket) => {
      socket.connectToServer();
      cuts += 1;
      // A proxy with short connections; its close code does not mean "for good".
      setTimeout(() => void socket.close({ code: 1001 }).catch(() => {}), 700);
    });
    await page.goto(server.url);
    await say(page, "tell me something long");
    await page.locator(".entry.end").waitFor({ timeout: 60_000 });
    assert.ok(cuts > 2, `${cuts}`);
    assert.deepEqual(await drawn(page), written(await server.log(sessionOf(page))));
  });
});
