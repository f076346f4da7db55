/** A browser, a page in it, and what the tests share. */
import assert from "node:assert/strict";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Locator,
  type Page,
} from "playwright-core";

import type { Client, EventFrame } from "../../sdk/typescript/src/index.js";
import type { TestServer } from "../../sdk/typescript/test/support.js";

export { TestServer, WebSocket } from "../../sdk/typescript/test/support.js";

function executable(): string {
  const chosen = process.env.CHROMIUM;
  if (chosen) return chosen;
  for (const dir of (process.env.PATH ?? "").split(delimiter)) {
    for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
      try {
        accessSync(join(dir, name), constants.X_OK);
        return join(dir, name);
      } catch {
        // Not here.
      }
    }
  }
  throw new Error("There is no Chromium in PATH: install one, or name it in CHROMIUM.");
}

export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: executable(),
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--no-first-run",
      "--disable-component-update",
      "--disable-sync",
    ],
  });

/** A browser of one person: with its own storage, and with everything it complained about. */
export class Person {
  readonly context: BrowserContext;
  readonly complaints: string[] = [];
  readonly #server: TestServer;
  readonly #clients: Client[] = [];
  #expected: RegExp[] = [];

  private constructor(context: BrowserContext, server: TestServer) {
    this.context = context;
    this.#server = server;
  }

  static async come(
    browser: Browser,
    server: TestServer,
    options: BrowserContextOptions = {},
  ): Promise<Person> {
    return new Person(
      await browser.newContext({ viewport: { width: 1100, height: 760 }, ...options }),
      server,
    );
  }

  /** Opens the page, at a session if one is named. */
  async open(hash = ""): Promise<Page> {
    const page = await this.context.newPage();
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      // That a server is away is known where it was killed.
      if (
        message.type() === "error" &&
        !/WebSocket connection|ERR_(CONNECTION_(REFUSED|RESET)|SOCKET_NOT_CONNECTED)/.test(
          message.text(),
        )
      )
        this.complaints.push(message.text());
    });
    page.on("dialog", (dialog) => {
      if (dialog.type() === "alert") this.complaints.push(`alert: ${dialog.message()}`);
    });
    await page.goto(`${this.#server.url}/${hash}`);
    return page;
  }

  /** A client of theirs beside the browser. */
  client(name?: string): Client {
    const client = this.#server.client(name);
    this.#clients.push(client);
    return client;
  }

  /** What the browser complains about on the way, and rightly. */
  expect(complaint: RegExp): void {
    this.#expected.push(complaint);
  }

  async leave(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    await this.context.close();
    assert.deepEqual(
      this.complaints.filter((line) => !this.#expected.some((expected) => expected.test(line))),
      [],
    );
  }
}

export const composer = (page: Page): Locator =>
  page.getByRole("textbox", { name: "Message", exact: true });
export const log = (page: Page): Locator => page.getByRole("log");
export const cards = (page: Page): Locator => page.locator(".card");
export const live = (page: Page): Promise<void> => page.locator('[data-line="live"]').waitFor();

export async function say(page: Page, text: string): Promise<void> {
  await composer(page).fill(text);
  await composer(page).press("Enter");
}

/** Says something, and waits until the turn that it asks for has ended. */
export async function ask(page: Page, text: string): Promise<void> {
  const before = await page
    .locator(".entry.end")
    .last()
    .getAttribute("data-seq", { timeout: 100 })
    .catch(() => "0");
  await say(page, text);
  await page.waitForFunction(
    (before) =>
      Number(
        ([...document.querySelectorAll(".entry.end")].at(-1) as HTMLElement)?.dataset.seq ?? 0,
      ) > Number(before),
    before,
  );
}

/** Waits until the conversation has a text. */
export const shown = (page: Page, text: string): Promise<void> =>
  log(page).getByText(text).first().waitFor();

/** Waits until nothing is on its way and no turn runs. */
export const idle = async (page: Page): Promise<void> => {
  await page.waitForFunction(() => !document.querySelector('.unsent, .stop, [data-state="waits"]'));
};

/** The session that the page shows, by its address. */
export const sessionOf = (page: Page): string => new URL(page.url()).hash.slice(1).split(":")[0]!;

/** The messages that are drawn, as texts. */
export const drawn = (page: Page): Promise<string[]> =>
  page
    .locator(".entry.message .markdown")
    .evaluateAll((all) => all.map((one) => (one as HTMLElement).innerText.trim()));

/** The messages of a log. */
export const written = (frames: EventFrame[]): string[] =>
  frames.flatMap(({ event }) => (event.kind === "message" ? [event.text.trim()] : []));
