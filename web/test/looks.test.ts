/** Layout and accessibility of the page: light, dark and on a phone. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { Browser } from "playwright-core";

import { accessible, ask, BrowserUser, LOOKS, launch, say, shown, TestServer } from "./support.js";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

describe("looks", () => {
  for (const [name, options] of Object.entries(LOOKS)) {
    it(`${name}: everything is visible and accessible`, async () => {
      const server = await TestServer.start();
      // axe is injected, which the page's content security policy forbids.
      const user = await BrowserUser.create(browser, server, { ...options, bypassCSP: true });
      try {
        await server.rest("POST", "/v1/agents", { name: "ada" });
        const page = await user.open();
        await ask(page, "what is 6*7?");
        await shown(page, "6*7 = 42");
        await ask(page, "remember that I like night trains");
        await shown(page, "I will remember that you like night trains.");
        await server.rest("PATCH", "/v1/agents/main", { permissions: { calculator: "ask" } });
        await say(page, "what is 12*12?");
        await page.getByRole("group", { name: "May calculator run?" }).waitFor();
        assert.equal(
          await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
          true,
          "nothing overflows to the right",
        );
        for (const button of ["Approve", "Deny", "Send", "Cancel"]) {
          const box = await page.getByRole("button", { name: button }).boundingBox();
          const { width, height } = page.viewportSize()!;
          assert.ok(
            box &&
              box.x >= 0 &&
              box.y >= 0 &&
              box.x + box.width <= width &&
              box.y + box.height <= height,
            `${button} is in view`,
          );
        }
        const picture = process.env.UPDATE_PICTURES
          ? { path: new URL(`../../docs/page-${name}.png`, import.meta.url).pathname }
          : {};
        assert.ok((await page.screenshot(picture)).length > 10_000);
        const { agent } = (await (await fetch(`${server.url}/v1/agents/main`)).json()) as {
          agent: { main_session: string };
        };
        await server.rest("PATCH", `/v1/sessions/${agent.main_session}`, {
          title: "A title that goes on and on without coming to any kind of end at all",
        });
        await page.getByRole("heading", { name: /^A title that/ }).waitFor();
        const send = (await page.getByRole("button", { name: "Send" }).boundingBox())!;
        assert.ok(
          send.x + send.width <= page.viewportSize()!.width,
          "a long title pushes nothing out",
        );
        await accessible(page, "the conversation");
        await page.getByRole("button", { name: "Agent", exact: true }).click();
        await page.getByRole("complementary", { name: "Agent" }).getByLabel("Model").waitFor();
        await accessible(page, "the agent panel");
        await page
          .getByRole("complementary", { name: "Agent" })
          .getByRole("button", { name: "Close" })
          .click();
        // Closing the panel returns the focus to its button.
        await page.waitForFunction(() => document.activeElement?.id === "agent-button");
        if (name === "phone") await page.getByRole("button", { name: "Sessions" }).click();
        await page
          .getByRole("navigation")
          .getByRole("button", { name: "New", exact: true })
          .click();
        await page.getByRole("navigation").getByLabel("Agent").waitFor();
        await accessible(page, "a new session");
      } finally {
        await user.leave();
        await server.stop();
      }
    });
  }
});
