/**
 * What the page says of what goes on: queued and steered inputs, denied calls, waiting,
 * reconnecting, edits that are not saved.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";

import type { Browser, Locator } from "playwright-core";

import {
  ask,
  cards,
  composer,
  idle,
  launch,
  live,
  log,
  Person,
  say,
  sessionOf,
  shown,
  TestServer,
} from "./support.js";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const SLOW = "load:items=2000,bytes=10,rate=20,deltas=yes";

/** How many lines a text takes. */
const lines = (element: Locator): Promise<number> =>
  element.evaluate((one) => {
    const range = document.createRange();
    range.selectNodeContents(one);
    return new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size;
  });

describe("the page says", () => {
  let server: TestServer;
  let person: Person;
  beforeEach(async () => {
    server = await TestServer.start();
    person = await Person.come(browser, server);
  });
  afterEach(async () => {
    await person.leave();
    await server.stop();
  });

  it("which inputs were queued and steered, and shows them with their answers", async () => {
    await server.rest("POST", "/v1/agents", { name: "main", model: SLOW });
    const page = await person.open();
    await say(page, "one");
    await page.locator(".entry.message").waitFor();
    await say(page, "two");
    await page.locator(".entry.input").getByText("queued, waits for its turn").waitFor();
    // What waits stands behind what the running turn says.
    assert.match(await log(page).locator("article").last().innerText(), /^two/);
    const client = person.client();
    await client.command({
      type: "send",
      session: sessionOf(page),
      text: "three",
      policy: "steer",
    });
    await page.locator(".entry.input").getByText("steered: said into the running turn").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.locator(".entry.input").getByText("was queued while the agent worked").waitFor();
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

  it("that a call was denied, that it waits, and how long it ran without the waiting", async () => {
    await server.rest("POST", "/v1/agents", { name: "main" });
    await server.rest("PATCH", "/v1/agents/main", { permissions: { calculator: "ask" } });
    const page = await person.open();
    await say(page, "what is 6*7?");
    await page.getByRole("group", { name: "May calculator run?" }).waitFor();
    const other = await person.open("#");
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

  it("when it connects again, and does so at once when asked", async () => {
    const page = await person.open();
    await ask(page, "hello");
    await server.kill();
    await page.locator('[data-line="offline"]').waitFor();
    // The pauses grow: sooner or later there is one to count down.
    await page.getByText(/again in [2-9]\d? s/).waitFor({ timeout: 30_000 });
    await server.restart();
    await page.getByRole("button", { name: "Retry now" }).click();
    await live(page);
    assert.equal(await page.getByRole("button", { name: "Retry now" }).count(), 0);
  });

  it("that a turn ended without a message", async () => {
    const page = await person.open();
    await ask(page, "hello");
    const client = person.client();
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

  it("what was written into memory and not saved, wherever one goes meanwhile", async () => {
    const page = await person.open();
    await ask(page, "remember that I like trains");
    const panel = page.getByRole("complementary", { name: "Agent" });
    const human = panel.getByLabel(/^human/);
    const open = () => page.getByRole("button", { name: "Agent", exact: true }).click();
    await open();
    await human.fill("I like ships");
    await panel.getByText("not saved").waitFor();
    await panel.getByRole("button", { name: "Close" }).click();
    await open();
    assert.equal(await human.inputValue(), "I like ships");
    await page.reload();
    await live(page);
    await open();
    await panel.getByText("not saved").waitFor();
    assert.equal(await human.inputValue(), "I like ships");
    // The agent writes meanwhile: neither is lost, and nothing is replaced unseen.
    await ask(page, "remember that I live in Bern");
    await panel.getByText(/Changed meanwhile, it now says:[\s\S]*Bern/).waitFor();
    assert.equal(await human.inputValue(), "I like ships");
    await panel.getByRole("button", { name: "Replace" }).click();
    await panel.getByText("not saved").waitFor({ state: "detached" });
    const { blocks } = (await (await fetch(`${server.url}/v1/agents/main`)).json()) as {
      blocks: { label: string; text: string }[];
    };
    assert.equal(blocks.find(({ label }) => label === "human")?.text, "I like ships");
    // A change that the page has not heard of yet is not replaced either.
    await human.fill("I like planes");
    await page.route(/\/v1\/agents\/[^/]+$/, (route) => route.continue(), { times: 1 });
    await server.rest("PATCH", "/v1/agents/main/blocks/human", { text: "I like bikes" });
    await panel.getByText(/Changed meanwhile, it now says:[\s\S]*bikes/).waitFor();
    await panel.getByRole("button", { name: "Undo" }).click();
    assert.equal(await human.inputValue(), "I like bikes");
  });

  it("short things on one line, and the words of tables in one piece", async () => {
    const client = person.client();
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
      const page = await person.open(`#${session}`);
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
    const page = await person.context.newPage();
    await page.routeWebSocket(/\/v1\/ws$/, (socket) => {
      socket.connectToServer();
      // The message stays on its way.
      socket.onMessage(() => {});
    });
    await page.goto(server.url);
    await say(page, "Hi there");
    await page.locator(".unsent .said").waitFor();
    assert.equal(await lines(page.locator(".unsent .said")), 1);
    assert.equal(await lines(page.locator(".unsent .quiet")), 1);
  });
});

it("works below a path of its own", async () => {
  const server = await TestServer.start();
  const { hostname, port } = new URL(server.url);
  // A proxy that takes the path off, and tells the server nothing of it.
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
  const person = await Person.come(browser, server);
  const page = await person.context.newPage();
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
    // That the agent is not there yet is found out by asking.
    assert.deepEqual(
      lost.filter((line) => !line.endsWith("/tw/v1/agents/main")),
      [],
    );
  } finally {
    await person.leave();
    proxy.closeAllConnections();
    proxy.close();
    await server.stop();
  }
});
