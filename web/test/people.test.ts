/** Isolation of users in one browser: unsent messages, drafts and edits, over logins and tabs. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { Browser, Page } from "playwright-core";

import {
  ask,
  composer,
  launch,
  live,
  say,
  serve,
  sessionOf,
  shown,
  type TestServer,
} from "./support.js";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

async function logIn(page: Page, secret: string): Promise<void> {
  await page.getByLabel("Key").fill(secret);
  await page.getByLabel("Key").press("Enter");
  await live(page);
}

/** Returns everything stored in the browser, except the user's name. */
const kept = (page: Page) =>
  page.evaluate(() =>
    JSON.stringify(Object.entries(localStorage).filter(([key]) => !key.endsWith(":who"))),
  );

/** Returns the texts of all inputs that a key can read. */
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
  it("sends nothing of Alice's as Bob, and shows him none of it", async (test) => {
    const { server, user } = await serve(test, browser, "--auth", "keys");
    user.expect(/status of 40[0-9]/);
    const [alice, bob] = [
      await server.key("alice", "chat", "agents"),
      await server.key("bob", "chat", "agents"),
    ];
    const page = await user.open();
    await logIn(page, alice.secret);
    await ask(page, "hello from alice");
    const second = await user.open(`#${sessionOf(page)}`);
    await live(second);
    await server.kill();
    for (const tab of [page, second]) await tab.locator('[data-connection="offline"]').waitFor();
    await say(page, "alice's secret");
    await composer(second).fill("alice's draft");
    await page.locator(".unsent").waitFor();
    await server.restart();
    // Her key is revoked before the reconnect: she is not logged out, and Bob logs in.
    await server.revoke(alice.key);
    await page.getByLabel("Key").waitFor();
    await logIn(page, bob.secret);
    await page.getByText("Write a message to start.").waitFor();
    await ask(page, "hello from bob");
    assert.equal(await page.getByText("alice's").count(), 0);
    // Her other tab is now his as well, and shows nothing of hers.
    await second.reload();
    await live(second);
    assert.equal(await second.getByText("alice's").count(), 0);
    assert.equal(await composer(second).inputValue(), "");
    await ask(second, "and again");
    assert.deepEqual((await said(server, bob.secret)).sort(), ["and again", "hello from bob"]);
    // With another key she finds her messages, which are sent as hers.
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByLabel("Key").waitFor();
    const again = await server.key("alice", "chat", "agents");
    await logIn(page, again.secret);
    await page.waitForFunction(() => !document.querySelector(".unsent"));
    await page.getByRole("button", { name: /^main/ }).click();
    await shown(page, "alice's secret");
    assert.equal(await composer(page).inputValue(), "alice's draft");
    assert.ok(!(await said(server, bob.secret)).some((text) => text.includes("alice's")));
  });

  it("deletes everything at logout, in every open tab", async (test) => {
    const { server, user } = await serve(test, browser, "--auth", "keys");
    user.expect(/status of 40[0-9]/);
    const [alice, bob] = [
      await server.key("alice", "chat", "agents"),
      await server.key("bob", "chat", "agents"),
    ];
    const page = await user.open();
    await logIn(page, alice.secret);
    await ask(page, "hello from alice");
    const session = sessionOf(page);
    const second = await user.open(`#${session}`);
    await live(second);
    // A message that stays unsent in the other tab, and a draft there.
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
    await page.waitForFunction(() => JSON.stringify({ ...localStorage }).includes("alice's draft"));
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
  });

  it("shows what the server refused, and why", async (test) => {
    const { server, user } = await serve(test, browser, "--auth", "keys");
    user.expect(/status of 40[0-9]/);
    const { secret } = await server.key("ada", "chat");
    const page = await user.open();
    // A server on which this key may neither use nor create an agent.
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
      .getByText(/refused your message: this key may not make agents/)
      .waitFor();
    assert.equal(await page.getByText("sending").count(), 0);
    assert.equal(await composer(page).inputValue(), "is anybody there?");
    // A refused message does not replace a draft.
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
      .getByText(/^Not sent: the frame has/)
      .waitFor();
    assert.equal(await composer(page).inputValue(), "something else");
    await page.getByRole("button", { name: "Discard" }).click();
    assert.equal(await page.locator(".refused").count(), 0);
  });
});
