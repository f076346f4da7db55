/** The server's REST side, as far as the page needs it. */
import type { Agent, EventFrame } from "thoughtwire";

import { address } from "./place";

/**
 * Who the caller is: by a login, by the server's trust, or nobody; or why the server does not say.
 */
export type Standing =
  | { as: "known" | "open"; user: string }
  | { as: "unknown" }
  | { as: "unreached"; reason: string };

export interface Block {
  label: string;
  text: string;
  limit: number;
  description: string;
}

export interface Tool {
  name: string;
  description: string;
  source: string;
  server?: string;
  permission: "allow" | "ask" | "deny";
}

export interface AgentPage {
  agent: Agent & { main_session: string };
  blocks: Block[];
  memory: { archival: number; recall: number };
  tools: Tool[];
  mcp: { name: string; phase: string; reason?: string }[];
}

export interface Note {
  id: number;
  at: string;
  text: string;
}

/** A no from the server, in its own words. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, reason: string) {
    super(reason);
    this.status = status;
  }
}

/** No answer at all. */
export class Unreached extends Error {}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const content =
    body === undefined
      ? {}
      : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(address(path), { method, ...content }).catch(() => {
    throw new Unreached("the server cannot be reached");
  });
  if (response.status === 204) return undefined as T;
  const text = await response.text();
  const answer = read(text) as T & { error?: { reason: string } };
  if (!response.ok)
    throw new Refusal(
      response.status,
      answer?.error?.reason ?? `the server answered ${response.status}`,
    );
  return answer;
}

/** A proxy in between answers with its own pages. */
function read(text: string): unknown {
  try {
    return JSON.parse(text || "null");
  } catch {
    return null;
  }
}

const of = (...parts: string[]) => `v1/${parts.map(encodeURIComponent).join("/")}`;

export const rest = {
  standing: (): Promise<Standing> =>
    call<{ auth: "none" | "keys"; user: string }>("GET", of("whoami")).then(
      ({ auth, user }) => ({ as: auth === "keys" ? "known" : "open", user }),
      (error: unknown) =>
        error instanceof Refusal && error.status === 401
          ? { as: "unknown" }
          : { as: "unreached", reason: error instanceof Error ? error.message : String(error) },
    ),
  login: (key: string) => call("POST", of("login"), { key }),
  logout: () => call("POST", of("logout")),
  agents: () =>
    call<{ agents: (Agent & { main_session: string })[] }>("GET", of("agents")).then(
      (page) => page.agents,
    ),
  makeAgent: (name: string) => call<AgentPage>("POST", of("agents"), { name }),
  agent: (agent: string) => call<AgentPage>("GET", of("agents", agent)),
  editAgent: (agent: string, changes: Record<string, unknown>) =>
    call("PATCH", of("agents", agent), changes),
  editBlock: (agent: string, label: string, text: string) =>
    call<{ block: Block }>("PATCH", of("agents", agent, "blocks", label), { text }).then(
      (page) => page.block,
    ),
  notes: (agent: string, query: string) =>
    call<{ notes: Note[]; total: number }>(
      "GET",
      `${of("agents", agent, "archival")}?query=${encodeURIComponent(query)}`,
    ),
  sessions: () =>
    call<{ sessions: { id: string }[] }>("GET", of("sessions")).then((page) =>
      page.sessions.map(({ id }) => id),
    ),
  events: (session: string, after: number, limit: number) =>
    call<{ events: EventFrame[]; first: number }>(
      "GET",
      `${of("sessions", session, "events")}?after=${after}&limit=${limit}`,
    ),
};
