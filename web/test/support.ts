/** A browser, its users, and helpers that the tests share. */
import assert from "node:assert/strict";
import { accessSync, constants } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import type { TestContext } from "node:test";

import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Locator,
  type Page,
} from "playwright-core";

import type { Client, EventFrame } from "../../sdk/typescript/src/index.js";
import { TestServer } from "../../sdk/typescript/test/support.js";

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
        // Try the next one.
      }
    }
  }
  throw new Error("no Chromium in PATH: install one, or set CHROMIUM to its path");
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

/** A user's browser, with its own storage. Records errors on the console and in scripts. */
export class BrowserUser {
  readonly context: BrowserContext;
  readonly complaints: string[] = [];
  readonly #server: TestServer;
  readonly #clients: Client[] = [];
  #expected: RegExp[] = [];

  private constructor(context: BrowserContext, server: TestServer) {
    this.context = context;
    this.#server = server;
  }

  static async create(
    browser: Browser,
    server: TestServer,
    options: BrowserContextOptions = {},
  ): Promise<BrowserUser> {
    return new BrowserUser(
      await browser.newContext({ viewport: { width: 1100, height: 760 }, ...options }),
      server,
    );
  }

  /** Opens the page, at a session if one is named. */
  async open(hash = ""): Promise<Page> {
    const page = await this.context.newPage();
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      // Tests that kill the server expect these.
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

  /** Connects a client in addition to the browser. */
  client(name?: string): Client {
    const client = this.#server.client(name);
    this.#clients.push(client);
    return client;
  }

  /** Accepts errors that the test causes on purpose. */
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

/** Starts a server and a browser user for one test; both are closed after it. */
export async function serve(
  test: TestContext,
  browser: Browser,
  ...flags: string[]
): Promise<{ server: TestServer; user: BrowserUser }> {
  const server = await TestServer.start(...flags);
  const user = await BrowserUser.create(browser, server);
  test.after(async () => {
    try {
      await user.leave();
    } finally {
      await server.stop();
    }
  });
  return { server, user };
}

export const composer = (page: Page): Locator =>
  page.getByRole("textbox", { name: "Message", exact: true });
export const log = (page: Page): Locator => page.getByRole("log");
export const cards = (page: Page): Locator => page.locator(".card");
export const live = (page: Page): Promise<void> =>
  page.locator('[data-connection="live"]').waitFor();

export async function say(page: Page, text: string): Promise<void> {
  await composer(page).fill(text);
  await composer(page).press("Enter");
}

/** Sends a message, and waits until its turn has ended. */
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

/** Waits until the conversation shows a text. */
export const shown = (page: Page, text: string): Promise<void> =>
  log(page).getByText(text).first().waitFor();

/** Waits until nothing is unsent and no turn runs. */
export const idle = async (page: Page): Promise<void> => {
  await page.waitForFunction(() => !document.querySelector('.unsent, .stop, [data-state="waits"]'));
};

/** Returns the session in the page's address. */
export const sessionOf = (page: Page): string => new URL(page.url()).hash.slice(1).split(":")[0]!;

/** Returns the displayed messages as texts. */
export const drawn = (page: Page): Promise<string[]> =>
  page
    .locator(".entry.message .markdown")
    .evaluateAll((all) => all.map((one) => (one as HTMLElement).innerText.trim()));

/** Returns the messages of a log as texts. One that was cut and continued is one text. */
export function written(frames: EventFrame[]): string[] {
  const texts: { items: string[]; text: string }[] = [];
  for (const { event } of frames) {
    if (event.kind !== "message") continue;
    const cut = texts.find(({ items }) => items.includes(event.continues ?? ""));
    if (!cut) texts.push({ items: [event.item], text: event.text });
    else {
      cut.items.push(event.item);
      cut.text += event.text;
    }
  }
  return texts.map(({ text }) => text.trim());
}

/** Browsers in which the page is looked at. */
export const LOOKS: Record<string, BrowserContextOptions> = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  phone: {
    colorScheme: "light",
    viewport: { width: 360, height: 740 },
    hasTouch: true,
    isMobile: true,
    deviceScaleFactor: 2,
  },
};

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** Checks the page with axe. The browser must bypass the content security policy. */
export async function accessible(page: Page, where: string): Promise<void> {
  await page.addScriptTag({ path: AXE });
  const found = await page.evaluate(async () => {
    const { axe } = window as unknown as {
      axe: {
        run(): Promise<{
          violations: { id: string; impact: string; nodes: { html: string }[] }[];
        }>;
      };
    };
    return (await axe.run()).violations.map(
      ({ id, impact, nodes }) => `${impact}: ${id}: ${nodes.map((node) => node.html).join(" ")}`,
    );
  });
  assert.deepEqual(
    found.filter((line) => /^(serious|critical)/.test(line)),
    [],
    where,
  );
}
