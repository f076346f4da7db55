// Drives page.jsx in Chromium against a server. Its text is given to Node.js where the clients, the
// bundler and the browser's driver are installed; arguments: URL PAGE, where PAGE is page.jsx's text.
// It prints a session's id when its answer is half there, and goes on when a line comes.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createInterface } from "node:readline/promises";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const [url, source] = process.argv.slice(1);

const bundled = await build({
  stdin: { contents: source, loader: "jsx", resolveDir: process.cwd() },
  bundle: true,
  write: false,
  jsx: "automatic",
  define: { "process.env.NODE_ENV": '"production"' },
});
const script = bundled.outputFiles[0].text.replaceAll("</script", "<\\/script");
const names = ["chromium", "chromium-browser", "google-chrome"];
const find = names.map((name) => `command -v ${name}`).join(" || ");
const executablePath =
  process.env.CHROMIUM || execFileSync("sh", ["-c", find], { encoding: "utf8" }).trim();
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});

async function open(chat) {
  const page = await browser.newPage();
  await page.route(`${url}/page-of-the-sdk`, (route) =>
    route.fulfill({ contentType: "text/html", body: `<body><script>${script}</script>` }),
  );
  await page.goto(`${url}/page-of-the-sdk#${chat}`);
  await page.locator('[data-status="ready"]').waitFor();
  return page;
}

async function say(page, text) {
  await page.locator("input").fill(text);
  await page.locator("input").press("Enter");
}

const answer = (page) => page.locator("article.assistant").last();
const written = async (page) => (await answer(page).locator(".text").allInnerTexts()).join("");
const longer = (page, than) =>
  page.waitForFunction((length) => {
    const texts = document.querySelectorAll("article.assistant .text");
    return [...texts].map((one) => one.textContent).join("").length > length;
  }, than);

async function messages(session) {
  const response = await fetch(`${url}/v1/sessions/${session}/events?limit=1000`);
  const { events } = await response.json();
  return events.map((record) => record.event).filter((event) => event.kind === "message");
}

async function sessionOf(agent) {
  const { sessions } = await (await fetch(`${url}/v1/sessions`)).json();
  const { agent: found } = await (await fetch(`${url}/v1/agents/${agent}`)).json();
  const made = sessions.filter((one) => one.agent === found.id && one.id !== found.main_session);
  assert.equal(made.length, 1, JSON.stringify([sessions, found]));
  return made[0].id;
}

try {
  // Reasoning, a call that the user approves with a button, and the reply.
  const careful = await open("ada/careful");
  await say(careful, 'use calculator {"expression": "6*7"}');
  await careful.getByRole("button", { name: "Approve" }).click();
  await careful.getByText("calculator says: 42").waitFor();
  assert.equal(await answer(careful).locator(".call").innerText(), "calculator: output-available 42");
  assert.equal(
    await answer(careful).locator(".reasoning").first().innerText(),
    "I am to use calculator.",
  );
  assert.equal(await careful.locator("article").count(), 2);

  // A page that is loaded again in the middle of an answer goes on with it.
  const page = await open("slow/long");
  await say(page, "go");
  await longer(page, 200);
  await page.reload();
  await longer(page, 400);
  assert.equal(await page.locator("article").count(), 2);

  // So does one whose server was killed: when the user comes back to it, as the SDK has it.
  const session = await sessionOf("slow");
  const input = createInterface({ input: process.stdin });
  const lines = input[Symbol.asyncIterator]();
  console.log(session);
  await page.locator('[data-status="error"]').waitFor();
  await lines.next();
  input.close();
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await page.locator('[data-status="streaming"]').waitFor();
  await page.locator('[data-status="ready"]').waitFor({ timeout: 60_000 });
  const saved = await messages(session);
  assert.equal((await written(page)).trim(), saved.map((one) => one.text).join("").trim());
  assert.equal(await page.locator("article").count(), 2);
  assert.equal(await answer(page).locator(".text").count(), 1);
} finally {
  await browser.close();
}
console.log("ok");
