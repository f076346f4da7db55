/** The page in a real browser, against the real server. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";

import type { Browser } from "playwright-core";

import {
  ask,
  BrowserUser,
  cards,
  composer,
  drawn,
  idle,
  launch,
  live,
  log,
  say,
  sessionOf,
  shown,
  TestServer,
  written,
} from "./support.js";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

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

  it("leads from the first load to an answer with thoughts, a tool card and usage", async () => {
    const page = await user.open();
    await composer(page).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement?.id), "composer");
    await ask(page, "what is 6*7?");
    await shown(page, "6*7 = 42");
    assert.equal(await cards(page).count(), 1);
    const card = cards(page).first();
    assert.match(
      await card.innerText(),
      /calculator\s+done, \d+\.\d s[\s\S]*expression\s+6\*7[\s\S]*Result/,
    );
    assert.equal(
      await card.getByText("42", { exact: true }).isVisible(),
      false,
      "the result is folded",
    );
    await card.getByText("Result").click();
    assert.equal(await card.getByText("42").isVisible(), true);
    assert.match(await page.locator(".entry.end").innerText(), /tokens read, \d+ written/);
    assert.match(await page.locator(".spent").innerText(), /\d tokens$/);
    // The switch folds all thoughts; each can still be unfolded.
    const thought = page.locator(".entry.thought .said").first();
    assert.equal(await thought.isVisible(), true);
    await page.getByLabel("Thoughts").uncheck();
    assert.equal(await thought.isVisible(), false);
    await page.locator(".entry.thought summary").first().click();
    assert.equal(await thought.isVisible(), true);
    // The agent and its session now exist, also after a reload.
    assert.equal(
      await page.getByRole("navigation").getByRole("button", { name: /^main/ }).count(),
      1,
    );
    await page.reload();
    await shown(page, "6*7 = 42");
    assert.equal(await page.getByLabel("Thoughts").isChecked(), false);
  });

  it("shows text while it streams", async () => {
    const page = await user.open();
    await server.rest("POST", "/v1/agents", {
      name: "main",
      model: "load:items=60,bytes=20,rate=20,deltas=yes",
    });
    await say(page, "go");
    const message = page.locator(".entry.message .markdown").first();
    await message.waitFor();
    const lengths = new Set<number>();
    while (lengths.size < 4) lengths.add((await message.innerText()).length);
    assert.equal(
      await page.getByRole("button", { name: "Cancel" }).count(),
      1,
      "the turn runs still",
    );
    await idle(page);
    assert.deepEqual(await drawn(page), written(await server.log(sessionOf(page))));
  });

  it("asks for approval with a card, and follows the decision", async () => {
    await server.rest("POST", "/v1/agents", { name: "main" });
    await server.rest("PATCH", "/v1/agents/main", { permissions: { calculator: "ask" } });
    const page = await user.open();
    await say(page, "what is 6*7?");
    const group = page.getByRole("group", { name: "May calculator run?" });
    await group.waitFor();
    assert.match(await group.innerText(), /\d+:\d\d left/);
    const returned = async () =>
      (await server.log(sessionOf(page))).filter(({ event }) => event.kind === "tool_returned");
    assert.deepEqual(await returned(), [], "nothing has run before the approval");
    await group.getByRole("button", { name: "Approve" }).click();
    await shown(page, "6*7 = 42");
    await idle(page);
    await say(page, "what is 5*5?");
    await group.getByRole("button", { name: "Deny" }).click();
    await idle(page);
    assert.match(await cards(page).nth(1).innerText(), /calculator\s+denied[\s\S]*denied/);
    const decisions = (await server.log(sessionOf(page))).flatMap(({ event }) =>
      event.kind === "approval_settled" ? [event.decision] : [],
    );
    assert.deepEqual(decisions, ["approved", "denied"]);
    const statuses = (await returned()).map(
      ({ event }) => event.kind === "tool_returned" && event.status,
    );
    assert.deepEqual(statuses, ["success", "error"], "the denied call has not run");
  });

  it("cancels by Escape and by the button; queues, steers and interrupts", async () => {
    await server.rest("POST", "/v1/agents", {
      name: "main",
      model: "load:items=2000,bytes=20,rate=20,deltas=yes",
    });
    const page = await user.open();
    await say(page, "one");
    await page.locator(".entry.message").waitFor();
    await composer(page).press("Escape");
    await shown(page, "cancelled");
    await idle(page);
    assert.equal(await page.getByText("cut off here").count(), 1);
    await say(page, "two");
    await page.getByRole("button", { name: "Cancel" }).waitFor();
    const policy = page.getByLabel("While the agent works");
    assert.deepEqual(await policy.locator("option").allInnerTexts(), [
      "Queue",
      "Steer",
      "Interrupt",
    ]);
    await say(page, "three");
    await page.getByText("Queued until the current turn ends").waitFor();
    await page.getByRole("button", { name: "Take back" }).click();
    await page.getByText("Taken back").waitFor();
    await policy.selectOption("interrupt");
    await say(page, "four");
    await shown(page, "interrupted");
    await page.getByRole("button", { name: "Cancel" }).click();
    await idle(page);
    const ends = (await server.log(sessionOf(page))).flatMap(({ event }) =>
      event.kind === "turn_ended" ? [event.outcome] : [],
    );
    assert.deepEqual(ends, ["cancelled", "cancelled", "cancelled"]);
  });

  it("shows the same in two tabs and to another client", async () => {
    const one = await user.open();
    await say(one, "what is 6*7?");
    await shown(one, "6*7 = 42");
    const two = await user.open(`#${sessionOf(one)}`);
    await shown(two, "6*7 = 42");
    await one.getByText("1 other here").waitFor();
    const client = user.client("terminal");
    const room = client.attach(sessionOf(one), { after: 0 });
    await room.send("remember that I like trains");
    for (const page of [one, two]) {
      await shown(page, "I will remember that you like trains.");
      await idle(page);
      await page.locator(".change ins").getByText("I like trains").waitFor();
    }
    // Both tabs show exactly the same conversation.
    assert.equal(await log(one).innerText(), await log(two).innerText());
    assert.deepEqual(await drawn(one), written(await server.log(sessionOf(one))));
  });

  it("keeps drafts per session over a reload, and refused texts", async () => {
    const page = await user.open();
    await ask(page, "hello");
    await composer(page).fill("half a thou");
    await page.reload();
    await live(page);
    await page.waitForFunction(
      () => (document.getElementById("composer") as HTMLTextAreaElement).value === "half a thou",
    );
    await composer(page).fill("x".repeat(1_100_000));
    await composer(page).press("Enter");
    await page.getByRole("alert").waitFor();
    assert.equal((await composer(page).inputValue()).length, 1_100_000);
  });

  it("creates, finds, renames and deletes sessions, and marks unread ones", async () => {
    const page = await user.open();
    await ask(page, "hello");
    const first = sessionOf(page);
    const side = page.getByRole("navigation", { name: "Sessions" });
    await side.getByRole("button", { name: "New", exact: true }).click();
    await side.getByLabel("Agent").fill("ada");
    await side.getByLabel("Agent").press("Enter");
    await side.getByRole("button", { name: /^ada/ }).waitFor();
    await side.getByRole("button", { name: "New", exact: true }).click();
    await side.getByLabel("Agent").fill("ada");
    await side.getByLabel("Title").fill("Trains");
    await side.getByLabel("Title").press("Enter");
    await side.getByRole("button", { name: /^Trains/ }).waitFor();
    await side.getByRole("button", { name: "Rename Trains" }).click();
    await side.getByLabel("New title").fill("Night trains");
    await side.getByLabel("New title").press("Enter");
    await side.getByRole("button", { name: /^Night trains/ }).waitFor();
    await page.getByRole("heading", { name: "Night trains" }).waitFor();
    // A message arrives in a session that is not open.
    await server.rest("POST", `/v1/sessions/${first}/inputs?wait=10`, { text: "anybody?" });
    await side.getByRole("button", { name: /^main\s+new/ }).waitFor();
    await side.getByLabel("Search sessions").fill("night");
    assert.deepEqual(await side.locator(".name").allInnerTexts(), ["Night trains"]);
    page.once("dialog", (dialog) => void dialog.accept());
    await side.getByRole("button", { name: "Delete Night trains" }).click();
    await side.getByText("No session matches this search.").waitFor();
    await page.getByText("Write a message to start.").waitFor();
    await side.getByLabel("Search sessions").fill("");
    await side.getByRole("button", { name: /^main/ }).click();
    await shown(page, "anybody?");
    await side.getByRole("button", { name: /^main\s+new/ }).waitFor({ state: "detached" });
  });

  it("shows an agent's memory, tools and model, and changes them", async () => {
    const page = await user.open();
    await say(page, "remember that I like trains");
    await shown(page, "I will remember that you like trains.");
    await page.getByRole("button", { name: "Agent", exact: true }).click();
    const panel = page.getByRole("complementary", { name: "Agent" });
    const human = panel.getByLabel(/^human/);
    assert.equal(await human.inputValue(), "I like trains");
    const persona = panel.getByLabel(/^persona/);
    await persona.fill("Answers in rhymes.");
    await panel.getByRole("button", { name: "Save" }).nth(1).click();
    await page.getByText("Memory, persona (by the owner)").waitFor();
    // Changes by the agent appear without a reload.
    await say(page, "remember that I live in Bern");
    await page.waitForFunction(() =>
      /Bern/.test((document.getElementById("block-human") as HTMLTextAreaElement).value),
    );
    assert.equal(await persona.inputValue(), "Answers in rhymes.");
    const edited = () =>
      page.waitForResponse((response) => response.request().method() === "PATCH" && response.ok());
    await Promise.all([edited(), panel.getByLabel("May calculator run?").selectOption("deny")]);
    await ask(page, "what is 6*7?");
    assert.match(await cards(page).last().innerText(), /denied/);
    await panel.getByLabel("Model").fill("load:items=1,bytes=9,rate=0");
    await Promise.all([edited(), panel.getByRole("button", { name: "Save" }).first().click()]);
    await panel.getByRole("searchbox", { name: "Search archival memory" }).fill("trains");
    await panel.getByRole("button", { name: "Search" }).click();
    await panel.getByText("No notes found.").waitFor();
    const { agent } = (await (await fetch(`${server.url}/v1/agents/main`)).json()) as {
      agent: { model: string };
    };
    assert.equal(agent.model, "load:items=1,bytes=9,rate=0");
  });

  it("stays responsive with ten thousand events, and links to any of them", async () => {
    await server.rest("POST", "/v1/agents", {
      name: "main",
      model: "load:items=10000,bytes=40,rate=0",
    });
    const { agent } = (await (await fetch(`${server.url}/v1/agents/main`)).json()) as {
      agent: { main_session: string };
    };
    await server.rest("POST", `/v1/sessions/${agent.main_session}/inputs?wait=100`, { text: "go" });
    const page = await user.open(`#${agent.main_session}`);
    await page.locator('[data-seq="10004"]').waitFor();
    const articles = page.locator("article");
    assert.ok((await articles.count()) <= 120);
    // Scrolling up page by page leaves no gap, and keeps the position.
    await log(page).hover();
    const seen = new Set<number>();
    while (seen.size < 900) {
      for (const seq of await articles.evaluateAll((all) =>
        all.map((one) => Number((one as HTMLElement).dataset.seq)),
      ))
        seen.add(seq);
      assert.ok((await articles.count()) <= 360);
      await page.mouse.wheel(0, -2000);
      await page.waitForTimeout(20);
    }
    // The last two events, usage and end, are drawn as one entry.
    const sorted = [...seen].filter((seq) => seq < 10_003).sort((one, other) => one - other);
    assert.equal(sorted.at(-1)! - sorted[0]! + 1, sorted.length, "without a gap");
    await page.getByRole("button", { name: "Newest" }).click();
    await page.locator('[data-seq="10004"]').waitFor();
    // A link to a position that is not loaded.
    await page.evaluate(() => (location.hash += ":77"));
    await page.waitForFunction(() => (document.activeElement as HTMLElement).dataset.seq === "77");
    const fresh = await user.open(`#${agent.main_session}:4321`);
    await fresh.waitForFunction(
      () => (document.activeElement as HTMLElement).dataset.seq === "4321",
    );
    assert.ok(await page.locator('[data-seq="77"]').isVisible());
    assert.ok((await articles.count()) <= 360);
    await user.context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.locator('[data-seq="77"]').hover();
    await page.getByRole("button", { name: "Copy a link to event 77" }).click();
    assert.equal(
      await page.evaluate(() => navigator.clipboard.readText()),
      `${server.url}/#${agent.main_session}:77`,
    );
  });

  it("keeps the scroll position while events arrive, and follows at the end", async () => {
    await server.rest("POST", "/v1/agents", {
      name: "main",
      model: "load:items=4000,bytes=60,rate=150",
    });
    const page = await user.open();
    await say(page, "go");
    await page.locator(".entry.message").nth(100).waitFor();
    await log(page).hover();
    // Scrolling a few pixels stops following.
    await page.mouse.wheel(0, -30);
    await page.getByRole("button", { name: "Newest" }).waitFor();
    await page.mouse.wheel(0, -600);
    await page.waitForTimeout(100);
    const place = () =>
      log(page).evaluate((box) => {
        const first = [...box.querySelectorAll("article")].find(
          (one) => one.offsetTop + one.offsetHeight > box.scrollTop,
        )!;
        return [first.dataset.seq, Math.round(first.offsetTop - box.scrollTop)];
      });
    const before = await place();
    const newest = async () =>
      (
        (await (await fetch(`${server.url}/v1/sessions/${sessionOf(page)}`)).json()) as {
          session: { head: number };
        }
      ).session.head;
    const was = await newest();
    while ((await newest()) < was + 300) await page.waitForTimeout(50);
    assert.deepEqual(await place(), before);
    // A turn whose start is not loaded is still shown as running.
    await page.reload();
    await page.getByText("Working…").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await idle(page);
  });

  it("works by the keyboard alone", async () => {
    const page = await user.open();
    await composer(page).waitFor();
    const focus = () =>
      page.evaluate(
        () =>
          document.activeElement?.getAttribute("aria-label") ??
          document.activeElement?.textContent ??
          "",
      );
    const tabTo = async (name: RegExp, key = "Tab") => {
      for (let n = 0; n < 60; n += 1) {
        if (name.test(await focus())) return;
        await page.keyboard.press(key);
      }
      assert.fail(`${name} is not reached by ${key}`);
    };
    await page.keyboard.type("first line");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("second line");
    await page.keyboard.press("Enter");
    await page.locator(".entry.input").getByText("first line\nsecond line").waitFor();
    await idle(page);
    await page.keyboard.type("what is 6*7?");
    await page.keyboard.press("Enter");
    await shown(page, "6*7 = 42");
    await tabTo(/^Result$/, "Shift+Tab");
    await page.keyboard.press("Enter");
    await cards(page).getByText("42", { exact: true }).waitFor();
    await tabTo(/^Agent$/, "Shift+Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("complementary", { name: "Agent" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("complementary", { name: "Agent" }).waitFor({ state: "detached" });
    await tabTo(/^New$/, "Shift+Tab");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => (document.activeElement as HTMLInputElement).name === "agent");
    await page.keyboard.type("ada");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "ada" }).waitFor();
    await page.waitForFunction(() => document.activeElement?.id === "composer");
    await tabTo(/Skip to the message field/, "Shift+Tab");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement?.id), "composer");
  });

  it("announces each message once to screen readers, not its deltas", async () => {
    const page = await user.open();
    await ask(page, "hello");
    await page.evaluate(() => {
      const told: string[] = [];
      (window as unknown as { told: string[] }).told = told;
      new MutationObserver(() =>
        told.push(document.querySelector(".unseen")?.textContent ?? ""),
      ).observe(document.querySelector(".unseen")!, {
        characterData: true,
        childList: true,
        subtree: true,
      });
    });
    await ask(page, "count to 20");
    await shown(page, "19 20");
    const told = await page.evaluate(() => (window as unknown as { told: string[] }).told);
    assert.deepEqual(told, [written(await server.log(sessionOf(page))).at(-1)]);
  });
});
