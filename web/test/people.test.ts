/**
 * What one person wrote is not another's: messages that were not sent, drafts, edits; over logins
 * and tabs.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { Browser, Page } from "playwright-core";

import {
  ask,
  composer,
  launch,
  live,
  Person,
  say,
  sessionOf,
  shown,
  TestServer,
} from "./support.js";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

async function logIn(page: Page, secret: string): Promise<void> {
  await page.getByLabel("Key").fill(secret);
  await page.getByLabel("Key").press("Enter");
  await live(page);
}

/** Everything that the browser keeps, but for whose it is. */
const kept = (page: Page) =>
  page.evaluate(() =>
    JSON.stringify(Object.entries(localStorage).filter(([key]) => !key.endsWith(":who"))),
  );

/** The texts that anybody said on the server. */
async function said(server: TestServer, secret: string): Promise<string[]> {
  const headers = { authorization: `Bearer ${secret}` };
  const { sessions } = (await (await fetch(`${server.url}/v1/sessions`, { headers })).json()) as {
    sessions: { id: string }[];
  };
  const texts: string[] = [];
  for (const { id } of sessions) {
    const { events } = (await (
      await fetch(`${server.url}/v1/sessions/${id}/events?limit=1000`, { headers })
    ).json()) as { events: { event: { kind: string; text?: string } }[] };
    texts.push(
      ...events
        .filter(({ event }) => event.kind === "user_message")
        .map(({ event }) => event.text ?? ""),
    );
  }
  return texts;
}

describe("one browser, two people", () => {
  it("sends nothing of Alice's as Bob's, and shows him nothing of it", async () => {
    const server = await TestServer.start("--auth", "keys");
    const person = await Person.come(browser, server);
    person.expect(/status of 40[0-9]/);
    try {
      const [alice, bob] = [
        await server.key("alice", "chat", "agents"),
        await server.key("bob", "chat", "agents"),
      ];
      const page = await person.open();
      await logIn(page, alice.secret);
      await ask(page, "hello from alice");
      const second = await person.open(`#${sessionOf(page)}`);
      await live(second);
      await server.kill();
      for (const tab of [page, second]) await tab.locator('[data-line="offline"]').waitFor();
      await say(page, "alice's secret");
      await composer(second).fill("alice's draft");
      await page.locator(".unsent").waitFor();
      await server.restart();
      // The key goes before the line is back: she is not logged out, somebody else logs in.
      await server.revoke(alice.key);
      await page.getByLabel("Key").waitFor();
      await logIn(page, bob.secret);
      await page.getByText("Say something:").waitFor();
      await ask(page, "hello from bob");
      assert.equal(await page.getByText("alice's").count(), 0);
      // Her other tab has become his, too, and says nothing of hers.
      await second.reload();
      await live(second);
      assert.equal(await second.getByText("alice's").count(), 0);
      assert.equal(await composer(second).inputValue(), "");
      await ask(second, "and again");
      assert.deepEqual((await said(server, bob.secret)).sort(), ["and again", "hello from bob"]);
      // With another key she finds what she wrote, and it is sent as hers.
      await page.getByRole("button", { name: "Log out" }).click();
      await page.getByLabel("Key").waitFor();
      const again = await server.key("alice", "chat", "agents");
      await logIn(page, again.secret);
      await page.waitForFunction(() => !document.querySelector(".unsent"));
      await page.getByRole("button", { name: /^main/ }).click();
      await shown(page, "alice's secret");
      assert.equal(await composer(page).inputValue(), "alice's draft");
      assert.ok(!(await said(server, bob.secret)).some((text) => text.includes("alice's")));
    } finally {
      await person.leave();
      await server.stop();
    }
  });

  it("forgets with the logout, in every tab that is open", async () => {
    const server = await TestServer.start("--auth", "keys");
    const person = await Person.come(browser, server);
    person.expect(/status of 40[0-9]/);
    try {
      const [alice, bob] = [
        await server.key("alice", "chat", "agents"),
        await server.key("bob", "chat", "agents"),
      ];
      const page = await person.open();
      await logIn(page, alice.secret);
      await ask(page, "hello from alice");
      const session = sessionOf(page);
      const second = await person.open(`#${session}`);
      await live(second);
      // A message that stays unsent in the other tab, and one that is being written there.
      for (const tab of [page, second]) {
        await tab.evaluate(() => {
          const send = WebSocket.prototype.send;
          WebSocket.prototype.send = function (this: WebSocket, data) {
            if (!String(data).includes("alice's secret")) send.call(this, data);
          };
        });
      }
      await say(second, "alice's secret");
      await second.locator(".unsent").waitFor();
      await composer(second).fill("alice's draft");
      await page.waitForFunction(() =>
        JSON.stringify({ ...localStorage }).includes("alice's draft"),
      );
      await page.getByRole("button", { name: "Log out" }).click();
      for (const tab of [page, second]) await tab.getByLabel("Key").waitFor();
      assert.ok(!/alice/.test(await kept(page)), await kept(page));
      await logIn(page, bob.secret);
      await ask(page, "hello from bob");
      await second.reload();
      await live(second);
      assert.deepEqual(await said(server, bob.secret), ["hello from bob"]);
      assert.equal(await composer(second).inputValue(), "");
      await page.getByRole("button", { name: "Log out" }).click();
      await page.getByLabel("Key").waitFor();
      await logIn(page, alice.secret);
      await page.getByRole("button", { name: /^main/ }).click();
      await shown(page, "hello from alice");
      assert.deepEqual(await said(server, alice.secret), ["hello from alice"]);
      assert.equal(await composer(page).inputValue(), "");
    } finally {
      await person.leave();
      await server.stop();
    }
  });

  it("says what the server refuses, and why", async () => {
    const server = await TestServer.start("--auth", "keys");
    const person = await Person.come(browser, server);
    person.expect(/status of 40[0-9]/);
    try {
      const { secret } = await server.key("ada", "chat");
      const page = await person.open();
      // A server on which this key may neither use nor make an agent.
      await page.route(/\/v1\/agents/, (route) =>
        route.fulfill({
          status: 403,
          json: { error: { code: "forbidden", reason: "this key may not make agents" } },
        }),
      );
      await page.routeWebSocket(/\/v1\/ws$/, (socket) => {
        const upstream = socket.connectToServer();
        socket.onMessage((message) => {
          const frame = JSON.parse(String(message)) as { type: string; id?: string };
          if (frame.type === "create_agent")
            socket.send(
              JSON.stringify({
                type: "refused",
                id: frame.id,
                code: "forbidden",
                reason: "no",
                retry: false,
              }),
            );
          else upstream.send(message);
        });
      });
      await logIn(page, secret);
      await say(page, "is anybody there?");
      await page
        .getByRole("alert")
        .getByText(/refused it: this key may not make agents/)
        .waitFor();
      assert.equal(await page.getByText("sending").count(), 0);
      assert.equal(await composer(page).inputValue(), "is anybody there?");
      // What is being written meanwhile is not mixed with what was refused.
      const session = await (async () => {
        const own = await server.key("ada", "chat", "agents");
        const made = await fetch(`${server.url}/v1/agents`, {
          method: "POST",
          headers: { authorization: `Bearer ${own.secret}`, "content-type": "application/json" },
          body: JSON.stringify({ name: "ada" }),
        });
        return ((await made.json()) as { agent: { main_session: string } }).agent.main_session;
      })();
      await page.evaluate((session) => (location.hash = session), session);
      await live(page);
      await composer(page).fill("x".repeat(1_100_000));
      await composer(page).press("Enter");
      await page.getByRole("alert").getByText(/bytes/).waitFor();
      await composer(page).fill("x".repeat(1_100_000));
      await page.evaluate(() => {
        const field = document.getElementById("composer") as HTMLTextAreaElement;
        field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
        field.value = "something else";
        field.dispatchEvent(new Event("input", { bubbles: true }));
      });
      await page
        .locator(".refused")
        .getByText(/^refused: the frame has/)
        .waitFor();
      assert.equal(await composer(page).inputValue(), "something else");
      await page.getByRole("button", { name: "Discard" }).click();
      assert.equal(await page.locator(".refused").count(), 0);
    } finally {
      await person.leave();
      await server.stop();
    }
  });
});
