/** The page with texts made to stall it, or to hide their content. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";

import type { Browser, Page } from "playwright-core";

import { visible } from "../src/visible.js";
import { ask, cards, composer, launch, live, log, say, serve, shown } from "./support.js";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

/** Measures the longest stall of the page's main thread, in milliseconds. */
const watch = (page: Page) =>
  page.addInitScript(`
    window.stalled = 0;
    window.last = performance.now();
    setInterval(() => {
      const now = performance.now();
      window.stalled = Math.max(window.stalled, now - window.last);
      window.last = now;
    }, 10);
  `);
const stalled = (page: Page): Promise<number> =>
  page.evaluate(() => (window as unknown as { stalled: number }).stalled);

describe("texts made to stall the page", () => {
  const HOSTILE: Record<string, string> = {
    "links without an end": "[a](".repeat(40_000),
    "pictures without an end": "![a](".repeat(30_000),
    brackets: "[".repeat(150_000),
    stars: "**".repeat(80_000),
    "stars between words": "*a _b ".repeat(25_000),
    "nested quotes": ">".repeat(50_000),
    "quotes with spaces": "> ".repeat(30_000),
    backticks: Array.from({ length: 500 }, (_, n) => "`".repeat(n)).join(" "),
    "one long fence": "`".repeat(150_000),
    "a table of ten thousand columns": ["a", "-", "b"]
      .map((cell) => `${`|${cell}`.repeat(10_000)}|`)
      .join("\n"),
    pipes: "|".repeat(150_000),
    "a line without a space": "x".repeat(190_000),
    "angle brackets": "<".repeat(100_000),
    "tags without an end": "<a ".repeat(50_000),
    comments: "<!--".repeat(40_000),
    "nested lists": Array.from({ length: 500 }, (_, n) => `${" ".repeat(2 * n)}- x`).join("\n"),
    "list marks": "- ".repeat(50_000),
    links: "https://e.example/a ".repeat(9_000),
    "mail addresses": "a@".repeat(80_000),
    "reference definitions": "[a]: b\n".repeat(25_000),
    entities: "&#x".repeat(60_000),
    "line breaks": "\n".repeat(150_000),
    "spaces and breaks": "a  \n".repeat(40_000),
    underscores: "_a".repeat(80_000),
    tildes: "~~a".repeat(50_000),
    "code of a language": `\`\`\`javascript\n${"/*".repeat(30_000)}${"`${".repeat(20_000)}\n\`\`\``,
    headings: "#".repeat(150_000),
    "a setext heading": `${"a\n".repeat(20_000)}===`,
    escapes: "\\[".repeat(70_000),
  };

  it("are displayed as plain text, and the page stays responsive", async (test) => {
    const { server, user } = await serve(test, browser);
    const client = user.client();
    await client.createAgent({ name: "main" });
    const page = await user.open();
    await watch(page);
    for (const [name, text] of Object.entries(HOSTILE)) {
      const session = await client.createSession({
        agent: "main",
        history: [
          { role: "assistant", text },
          { role: "assistant", text: "**behind** it" },
        ],
      });
      await page.goto(`${server.url}/#${session}`);
      await page.reload();
      await live(page);
      const message = page.locator(".entry.message").first();
      await message.locator(".markdown").waitFor();
      assert.ok((await message.innerText()).length > 0 || text.trim() === "", `${name} is shown`);
      await page.locator(".entry.message strong").getByText("behind").waitFor({ timeout: 20_000 });
      await composer(page).fill("still here");
      assert.equal(await composer(page).inputValue(), "still here", name);
      await composer(page).fill("");
      assert.ok(
        (await stalled(page)) < 8_000,
        `${name} held the page up for ${await stalled(page)} ms`,
      );
    }
  });

  it("also while streaming, as arguments, results and memory", async (test) => {
    const { server, user } = await serve(test, browser);
    const client = user.client();
    const { session } = await client.createAgent({ name: "main" });
    const page = await user.open(`#${session}`);
    await live(page);
    const deep = `${"[".repeat(60)}${"]".repeat(60)}`;
    const room = client.attach(session, {
      after: 0,
      tools: {
        quote: {
          description: "",
          parameters: { type: "object" },
          run: ({ which }) =>
            which === "deep" ? "[".repeat(5_000) + "]".repeat(5_000) : "[a](".repeat(20_000),
        },
      },
    });
    await room.send(`use quote {"which": "links", "more": ${deep}}`);
    await page.locator(".entry.end").waitFor();
    await room.send('use quote {"which": "deep"}');
    await page.locator(".entry.end").nth(1).waitFor();
    await cards(page).last().getByText("Result").click();
    await ask(page, "what is 6*7?");
    await shown(page, "6*7 = 42");
    const many = (word: string) =>
      Array.from({ length: 4_000 }, (_, n) => `${word} ${n}`).join("\n");
    await server.rest("PATCH", "/v1/agents/main/blocks/human", {
      text: many("before"),
      limit: 1_000_000,
    });
    await server.rest("PATCH", "/v1/agents/main/blocks/human", { text: many("after") });
    await page.locator(".change ins").getByText("after 3999").first().waitFor();
  });
});

describe("invisible characters", () => {
  const HIDDEN = new RegExp(
    [
      String.raw`[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u200c\u200e\u200f`,
      String.raw`\u202a-\u202e\u2060-\u2069\ufeff\u{e0000}-\u{e007f}]`,
    ].join(""),
    "u",
  );

  it("are marked, except where a script or an emoji needs them", () => {
    for (const line of readFileSync(new URL("../../vectors/visible.jsonl", import.meta.url), "utf8")
      .trim()
      .split("\n")) {
      const { text, shown } = JSON.parse(line) as { text: string; shown: string };
      assert.equal(visible(text), shown);
    }
  });

  it("are marked wherever the page shows another person's text", async (test) => {
    const { user } = await serve(test, browser);
    const bad = "a\u202eb\u200bc\u{e0041}d\u00ade\u2066f";
    const client = user.client(bad);
    await client.createAgent({ name: `agent ${bad}`, persona: bad, human: bad });
    const session = await client.createSession({
      agent: `agent ${bad}`,
      title: `title ${bad}`,
      instructions: bad,
      history: [
        { role: "user", text: bad },
        { role: "assistant", text: `**${bad}** \`${bad}\`\n\n\`\`\`js\n${bad}\n\`\`\`` },
      ],
    });
    const page = await user.open(`#${session}`);
    const tools = { quote: { description: bad, parameters: { type: "object" }, run: () => bad } };
    const room = client.attach(session, { after: 0, tools });
    await live(page);
    await room.send(`use quote {"${bad}": "${bad}"}`);
    await cards(page).first().waitFor();
    await page.locator(".entry.end").waitFor();
    for (const summary of await cards(page).getByText("Result").all()) await summary.click();
    await say(page, `also ${bad}`);
    await page.locator(".entry.end").nth(1).waitFor();
    await page.getByRole("button", { name: "Agent", exact: true }).click();
    await page
      .getByRole("complementary", { name: "Agent" })
      .getByText("calculator", { exact: true })
      .waitFor();
    await log(page).getByText("‹U+202E›").first().waitFor();
    const seen = await page.evaluate(() => document.title + document.body.innerText);
    const found = HIDDEN.exec(seen);
    assert.equal(
      found,
      null,
      found ? JSON.stringify(seen.slice(Math.max(0, found.index - 40), found.index + 40)) : "",
    );
    assert.match(
      await page.getByRole("heading", { level: 1 }).innerText(),
      /^title a‹U\+202E›b‹U\+200B›c‹U\+E0041›d‹U\+00AD›e‹U\+2066›f/,
    );
  });
});
