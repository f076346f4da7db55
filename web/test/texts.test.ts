/** Markup in texts is displayed, and never runs. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { Browser } from "playwright-core";

import { ask, cards, drawn, idle, launch, live, serve } from "./support.js";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

describe("markup in texts", () => {
  const ATTACKS = [
    '<img src=x onerror="alert(1)">',
    "<script>alert(2)</script>",
    "[click](javascript:alert(3))",
    "[click](JaVaScRiPt&#58;alert(3))",
    "[click](data:text/html;base64,PHNjcmlwdD5hbGVydCg0KTwvc2NyaXB0Pg==)",
    "![picture](https://example.org/spy.png)",
    '<a href="vbscript:alert(5)">x</a><svg/onload=alert(6)>',
    '<iframe srcdoc="<script>alert(7)</script>"></iframe>',
    "<math><mtext><table><mglyph><style><!--</style>" +
      '<img title="--&gt;&lt;img src=1 onerror=alert(8)&gt;">',
    '<form action="https://example.org"><input type="password" name="p">' +
      "<button>Log in</button></form>",
    '<p class="card" style="position:fixed;inset:0" id="composer">over all</p>',
    "```html\n<img src=x onerror=alert(9)>\n```",
    "<a href='/v1/agents' onclick='alert(10)'>here</a>",
  ].join("\n\n");

  it("never runs: in messages, tool results, names and titles", async (test) => {
    const { server, user } = await serve(test, browser);
    const client = user.client("<img src=x onerror=alert(11)>");
    await client.createAgent({ name: "main" });
    const session = await client.createSession({
      agent: "main",
      title: "<img src=x onerror=alert(12)><b>bold</b>",
      history: [{ role: "assistant", text: ATTACKS }],
    });
    const page = await user.open(`#${session}`);
    const foreign: string[] = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(server.url) && !request.url().startsWith("ws"))
        foreign.push(request.url());
    });
    const room = client.attach(session, {
      after: 0,
      tools: {
        evil: {
          description: "<img src=x onerror=alert(13)>",
          parameters: { type: "object" },
          run: () => ATTACKS,
        },
      },
    });
    await live(page);
    // The offline model repeats the tool's result.
    await room.send('use evil {"<img src=x onerror=alert(14)>": "<img src=x onerror=alert(15)>"}');
    await cards(page).first().waitFor();
    await idle(page);
    await ask(page, ATTACKS);
    for (const summary of await cards(page).getByText("Result").all()) await summary.click();
    await page.getByRole("button", { name: "Agent", exact: true }).click();
    await page
      .getByRole("complementary", { name: "Agent" })
      .getByRole("heading", { name: "main" })
      .waitFor();
    assert.ok(
      (await drawn(page)).some((text) => text.includes("over all")),
      "the attacks stand in a message",
    );
    const inside = page.locator(".markdown");
    for (const forbidden of [
      "script",
      "img",
      "iframe",
      "svg",
      "form",
      "style",
      "button:not(.copy)",
      "input:not([type=checkbox])",
      "[style]",
      "[id]",
      "[onclick]",
      "[onerror]",
      ".card",
    ]) {
      assert.equal(await inside.locator(forbidden).count(), 0, forbidden);
    }
    const links = await inside
      .locator("a[href]")
      .evaluateAll((all) => all.map((one) => one.getAttribute("href") ?? ""));
    assert.deepEqual(
      links.filter((href) => !/^(https?:|mailto:)/.test(href)),
      [],
    );
    assert.equal(await page.locator("#composer").count(), 1);
    assert.match(await page.getByRole("heading", { level: 1 }).innerText(), /^<img src=x/);
    assert.deepEqual(foreign, []);
  });

  it("is displayed as Markdown: highlighted code, tables, safe links", async (test) => {
    const { user } = await serve(test, browser);
    const client = user.client();
    await client.createAgent({ name: "main" });
    const text = [
      "# Title",
      "```rust\nfn main() { let n = 42; }\n```",
      "| a | b |\n|---|---|\n| 1 | 2 |",
      "- [x] done\n- [ ] open",
      "3. three",
      "<https://example.org> and [mail](mailto:a@example.org)",
    ].join("\n\n");
    const session = await client.createSession({ agent: "main" });
    const room = client.attach(session, {
      tools: { quote: { description: "", parameters: { type: "object" }, run: () => text } },
    });
    await room.send("use quote {}");
    const page = await user.open(`#${session}`);
    const markdown = page.locator(".entry.message .markdown").last();
    await markdown.locator("pre .hljs-keyword").first().waitFor();
    assert.equal(await markdown.locator("td").count(), 2);
    assert.deepEqual(
      await markdown
        .locator("input")
        .evaluateAll((all) => all.map((one) => (one as HTMLInputElement).checked)),
      [true, false],
    );
    assert.equal(await markdown.locator("ol").getAttribute("start"), "3");
    const link = markdown.getByRole("link", { name: "https://example.org" });
    assert.deepEqual(
      [await link.getAttribute("target"), await link.getAttribute("rel")],
      ["_blank", "noopener noreferrer"],
    );
    await user.context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await markdown.getByRole("button", { name: "Copy" }).click();
    assert.equal(
      (await page.evaluate(() => navigator.clipboard.readText())).trim(),
      "fn main() { let n = 42; }",
    );
  });
});
