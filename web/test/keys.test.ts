/** The page where keys are needed. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { Browser } from "playwright-core";

import { ask, composer, launch, live, Person, shown, TestServer } from "./support.js";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

describe("where keys are needed", () => {
  it("logs in with a key, keeps it from scripts, and asks again when it was revoked", async () => {
    const server = await TestServer.start("--auth", "keys");
    const person = await Person.come(browser, server);
    try {
      person.expect(/status of 401/);
      const { key, secret } = await server.key("ada", "chat", "agents");
      const page = await person.open();
      await page.getByLabel("Key").fill("twk_wrong");
      await page.getByLabel("Key").press("Enter");
      await page.getByRole("alert").getByText("not known").waitFor();
      await page.getByLabel("Key").fill(secret);
      await page.getByRole("button", { name: "Log in" }).click();
      await ask(page, "what is 6*7?");
      await shown(page, "6*7 = 42");
      const visible = await page.evaluate(() =>
        JSON.stringify([
          document.cookie,
          { ...localStorage },
          { ...sessionStorage },
          location.href,
        ]),
      );
      assert.ok(!visible.includes(secret) && !visible.includes("thoughtwire="), visible);
      // A killed server changes nothing about who one is.
      await server.kill();
      await page.locator('[data-line="offline"]').waitFor();
      await server.restart();
      await live(page);
      await composer(page).fill("half a thou");
      await server.revoke(key);
      await page.getByLabel("Key").waitFor();
      const another = await server.key("ada", "chat");
      await page.getByLabel("Key").fill(another.secret);
      await page.getByLabel("Key").press("Enter");
      await shown(page, "6*7 = 42");
      assert.equal(await composer(page).inputValue(), "half a thou");
      await page.getByRole("button", { name: "Log out" }).click();
      await page.getByLabel("Key").waitFor();
    } finally {
      await person.leave();
      await server.stop();
    }
  });
});
