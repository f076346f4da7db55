/** The page of a server that requires keys. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { Browser } from "playwright-core";

import { ask, composer, launch, live, serve, shown } from "./support.js";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

describe("with keys", () => {
  it("logs in with a key, hides it from scripts, asks again once it is revoked", async (test) => {
    const { server, user } = await serve(test, browser, "--auth", "keys");
    user.expect(/status of 401/);
    const { key, secret } = await server.key("ada", "chat", "agents");
    const page = await user.open();
    await page.getByLabel("Key").fill("twk_wrong");
    await page.getByLabel("Key").press("Enter");
    await page.getByRole("alert").getByText("not known").waitFor();
    assert.equal(await composer(page).count(), 0, "a wrong key opens nothing");
    await page.getByLabel("Key").fill(secret);
    await page.getByRole("button", { name: "Log in" }).click();
    await ask(page, "what is 6*7?");
    await shown(page, "6*7 = 42");
    const visible = await page.evaluate(() =>
      JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }, location.href]),
    );
    assert.ok(!visible.includes(secret) && !visible.includes("thoughtwire="), visible);
    // A killed server does not log out.
    await server.kill();
    await page.locator('[data-connection="offline"]').waitFor();
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
  });
});
