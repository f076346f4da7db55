/** States that the page shows: queued inputs, denied calls, reconnects, unsaved edits. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";

import type { Browser, Locator } from "playwright-core";

import {
  ask,
  BrowserUser,
  cards,
  composer,
  idle,
  launch,
  live,
  log,
  say,
  sessionOf,
  shown,
  TestServer,
} from "./support.js";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const SLOW = "load:items=2000,bytes=10,rate=20,deltas=yes";

/** Returns the number of lines of a text. */
const lines = (element: Locator): Promise<number> =>
  element.evaluate((one) => {
    const range = document.createRange();
    range.selectNodeContents(one);
    return new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size;
  });

describe("the page", () => {
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

  it("marks queued and steered inputs, and shows them with their answers", async () => {
    await server.rest("POST", "/v1/agents", { name: "main", model: SLOW });
    const page = await user.open();
    await say(page, "one");
    await page.locator(".entry.message").waitFor();
    await say(page, "two");
    await page.locator(".entry.input").getByText("Queued until the current turn ends").waitFor();
    // A queued input is shown after the running turn's output.
    assert.match(await log(page).locator("article").last().innerText(), /^two/);
    const client = user.client();
    await client.command({
      type: "send",
      session: sessionOf(page),
      text: "three",
      policy: "steer",
    });
    await page.locator(".entry.input").getByText("Added to the running turn").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page
      .locator(".entry.input")
      .getByText("Was queued while the agent was working")
      .waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await idle(page);
    const order = await log(page)
      .locator(".entry.input, .entry.end")
      .evaluateAll((all) =>
        all.map((one) =>
          one.classList.contains("end") ? "end" : (one as HTMLElement).innerText.split("\n")[0],
        ),
      );
    assert.deepEqual(order, ["one", "three", "end", "two", "end"]);
  });

  it("shows denied and waiting calls, and running time without the wait", async () => {
    await server.rest("POST", "/v1/agents", { name: "main" });
    await server.rest("PATCH", "/v1/agents/main", { permissions: { calculator: "ask" } });
    const page = await user.open();
    await say(page, "what is 6*7?");
    await page.getByRole("group", { name: "May calculator run?" }).waitFor();
    const other = await user.open("#");
    await other.getByRole("navigation").getByText("needs you").waitFor();
    for (const tab of [page, other])
      await tab.waitForFunction(() => document.title.startsWith("(1) needs you"));
    await page.waitForTimeout(2_500);
    await page.getByRole("button", { name: "Approve" }).click();
    await shown(page, "6*7 = 42");
    const ran = /done, (\d+\.\d) s/.exec(await cards(page).first().innerText());
    assert.ok(ran && Number(ran[1]) < 2, await cards(page).first().innerText());
    for (const tab of [page, other])
      await tab.waitForFunction(() => !document.title.includes("needs you"));
    assert.equal(await other.getByText("needs you").count(), 0);
    await idle(page);
    await say(page, "what is 5*5?");
    await page.getByRole("button", { name: "Deny" }).click();
    await idle(page);
    assert.match(await cards(page).nth(1).locator(".title").innerText(), /^calculator denied$/);
    await server.rest("PATCH", "/v1/agents/main", { permissions: { calculator: "deny" } });
    await ask(page, "what is 8*8?");
    assert.match(await cards(page).nth(2).locator(".title").innerText(), /^calculator denied$/);
  });

  it("shows when it reconnects, and reconnects at once on request", async () => {
    const page = await user.open();
    await ask(page, "hello");
    await server.kill();
    await page.locator('[data-connection="offline"]').waitFor();
    // The pauses grow, so one is long enough to count down.
    await page.getByText(/retrying in [2-9]\d? s/).waitFor({ timeout: 30_000 });
    await server.restart();
    await page.getByRole("button", { name: "Retry now" }).click();
    await live(page);
    assert.equal(await page.getByRole("button", { name: "Retry now" }).count(), 0);
  });

  it("tells that a turn ended without a message", async () => {
    const page = await user.open();
    await ask(page, "hello");
    const client = user.client();
    const { session } = await client.createAgent({ name: "mute" });
    await server.rest("PATCH", "/v1/agents/mute", { model: "offered" });
    const { offer } = await import("../../sdk/typescript/src/index.js");
    const agent = offer(
      client,
      "mute",
      async (turn) => void (await turn.internalMonologue("I say nothing.")),
    );
    await agent.offered();
    await page.evaluate((session) => (location.hash = session), session);
    await live(page);
    await say(page, "are you there?");
    await page.getByText("The agent ended its turn without a message").waitFor();
    await agent.stop();
  });

  it("keeps unsaved memory edits across panels, reloads and changes", async () => {
    const page = await user.open();
    await ask(page, "remember that I like trains");
    const panel = page.getByRole("complementary", { name: "Agent" });
    const human = panel.getByLabel(/^human/);
    const open = () => page.getByRole("button", { name: "Agent", exact: true }).click();
    await open();
    await human.fill("I like ships");
    await panel.getByText("Not saved").waitFor();
    await panel.getByRole("button", { name: "Close" }).click();
    await open();
    assert.equal(await human.inputValue(), "I like ships");
    await page.reload();
    await live(page);
    await open();
    await panel.getByText("Not saved").waitFor();
    assert.equal(await human.inputValue(), "I like ships");
    // The agent changes the block: neither version is lost or replaced unseen.
    await ask(page, "remember that I live in Bern");
    await panel.getByText(/Changed since you began to edit. It now says:[\s\S]*Bern/).waitFor();
    assert.equal(await human.inputValue(), "I like ships");
    await panel.getByRole("button", { name: "Replace" }).click();
    await panel.getByText("Not saved").waitFor({ state: "detached" });
    const { blocks } = (await (await fetch(`${server.url}/v1/agents/main`)).json()) as {
      blocks: { label: string; text: string }[];
    };
    assert.equal(blocks.find(({ label }) => label === "human")?.text, "I like ships");
    // A change that the page has not received yet is not replaced either.
    await human.fill("I like planes");
    await page.route(/\/v1\/agents\/[^/]+$/, (route) => route.continue(), { times: 1 });
    await server.rest("PATCH", "/v1/agents/main/blocks/human", { text: "I like bikes" });
    await panel.getByText(/Changed since you began to edit. It now says:[\s\S]*bikes/).waitFor();
    await panel.getByRole("button", { name: "Undo" }).click();
    assert.equal(await human.inputValue(), "I like bikes");
  });

  it("keeps short texts on one line, and words in tables whole", async () => {
    const client = user.client();
    await client.createAgent({ name: "main" });
    const row = (cell: string) =>
      `|${Array.from({ length: 8 }, (_, n) => ` ${cell}${n} `).join("|")}|`;
    const table = [
      row("Incomprehensibility"),
      row("---").replace(/\d/g, ""),
      row("Donaudampfschiffahrt"),
    ].join("\n");
    const session = await client.createSession({
      agent: "main",
      history: [{ role: "assistant", text: table }],
    });
    for (const viewport of [
      { width: 1100, height: 760 },
      { width: 360, height: 740 },
    ]) {
      const page = await user.open(`#${session}`);
      await page.setViewportSize(viewport);
      const cell = page.locator(".markdown td").first();
      await cell.waitFor();
      assert.equal(await lines(cell), 1, "a word stays whole");
      assert.equal(await lines(page.locator(".markdown th").first()), 1);
      const wide = await page
        .locator(".markdown table")
        .evaluate((one) => [
          one.scrollWidth > one.clientWidth,
          document.documentElement.scrollWidth <= innerWidth,
        ]);
      assert.deepEqual(wide, [true, true], "it scrolls, and the page does not");
      await page.evaluate(() => (location.hash = "nowhere"));
      const dismiss = page.getByRole("button", { name: "Dismiss" });
      await dismiss.waitFor();
      assert.equal(await lines(dismiss), 1);
      await dismiss.click();
      await page.close();
    }
    const page = await user.context.newPage();
    await page.routeWebSocket(/\/v1\/ws$/, (socket) => {
      socket.connectToServer();
      // The message never gets an answer.
      socket.onMessage(() => {});
    });
    await page.goto(server.url);
    await say(page, "Hi there");
    await page.locator(".unsent .said").waitFor();
    assert.equal(await lines(page.locator(".unsent .said")), 1);
    assert.equal(await lines(page.locator(".unsent .quiet")), 1);
  });
});

it("works below a path", async () => {
  const server = await TestServer.start();
  const { hostname, port } = new URL(server.url);
  // A proxy that removes the path, and does not tell the server.
  const proxy = createServer((from, to) => {
    if (!from.url?.startsWith("/tw/")) return void to.writeHead(404).end();
    const asked = request(
      { hostname, port, method: from.method, path: from.url.slice(3), headers: from.headers },
      (answer) => {
        to.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(to);
      },
    );
    asked.on("error", () => to.writeHead(502).end());
    from.pipe(asked);
  });
  proxy.on("upgrade", (from, socket) => {
    const up = connect(Number(port), hostname, () => {
      const headers = Object.entries(from.headers)
        .map(([name, value]) => `${name}: ${String(value)}`)
        .join("\r\n");
      up.write(`GET ${from.url?.slice(3)} HTTP/1.1\r\n${headers}\r\n\r\n`);
      up.pipe(socket).pipe(up);
    });
    const abort = () => void [up.destroy(), socket.destroy()];
    for (const end of [up, socket]) end.on("error", abort);
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const user = await BrowserUser.create(browser, server);
  const page = await user.context.newPage();
  const lost: string[] = [];
  page.on(
    "response",
    (response) => response.status() >= 400 && lost.push(`${response.status()} ${response.url()}`),
  );
  try {
    await page.goto(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}/tw/`);
    await ask(page, "what is 6*7?");
    await shown(page, "6*7 = 42");
    await page.getByRole("button", { name: "Agent", exact: true }).click();
    await page
      .getByRole("complementary", { name: "Agent" })
      .getByText("calculator", { exact: true })
      .waitFor();
    await page.locator(".entry.message .markdown:not(.said)").first().waitFor();
    assert.match(page.url(), /\/tw\/#/);
    assert.equal(await composer(page).inputValue(), "");
    // The page asks for the agent before it exists.
    assert.deepEqual(
      lost.filter((line) => !line.endsWith("/tw/v1/agents/main")),
      [],
    );
  } finally {
    await user.leave();
    proxy.closeAllConnections();
    proxy.close();
    await server.stop();
  }
});
