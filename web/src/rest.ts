/** REST calls of the page. */
import type { EventFrame, Rest } from "thoughtwire";

import { address } from "./address";

/** Login state: with a key, open to everybody here, not logged in, or no answer from the server. */
export type LoginState =
  | { as: "known" | "open"; user: string }
  | { as: "anonymous" }
  | { as: "unreachable"; reason: string };

export type AgentDetails = Rest.AgentDetails;
export type Block = Rest.CoreBlock;
export type Note = Rest.ArchivalNote;

/** Error response of the server, with its own reason. */
export class HttpError extends Error {
  readonly status: number;

  constructor(status: number, reason: string) {
    super(reason);
    this.status = status;
  }
}

/** The server did not answer. */
export class NetworkError extends Error {}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const content =
    body === undefined
      ? {}
      : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(address(path), { method, ...content }).catch(() => {
    throw new NetworkError("cannot reach the server");
  });
  if (response.status === 204) return undefined as T;
  const text = await response.text();
  const answer = read(text) as T & { error?: { reason: string } };
  if (!response.ok)
    throw new HttpError(
      response.status,
      answer?.error?.reason ?? `the server answered ${response.status}`,
    );
  return answer;
}

/** Parses a body. A proxy may answer with a page of its own, which is not JSON. */
function read(text: string): unknown {
  try {
    return JSON.parse(text || "null");
  } catch {
    return null;
  }
}

const of = (...parts: string[]) => `v1/${parts.map(encodeURIComponent).join("/")}`;

export const rest = {
  loginState: (): Promise<LoginState> =>
    call<{ auth: "none" | "keys"; user: string }>("GET", of("whoami")).then(
      ({ auth, user }) => ({ as: auth === "keys" ? "known" : "open", user }),
      (error: unknown) =>
        error instanceof HttpError && error.status === 401
          ? { as: "anonymous" }
          : { as: "unreachable", reason: error instanceof Error ? error.message : String(error) },
    ),
  login: (key: string) => call("POST", of("login"), { key }),
  logout: () => call("POST", of("logout")),
  agents: () => call<Rest.AgentList>("GET", of("agents")).then((page) => page.agents),
  makeAgent: (name: string) => call<AgentDetails>("POST", of("agents"), { name }),
  agent: (agent: string) => call<AgentDetails>("GET", of("agents", agent)),
  editAgent: (agent: string, changes: Record<string, unknown>) =>
    call("PATCH", of("agents", agent), changes),
  editBlock: (agent: string, label: string, text: string) =>
    call<Rest.BlockBody>("PATCH", of("agents", agent, "blocks", label), { text }).then(
      (page) => page.block,
    ),
  notes: (agent: string, query: string) =>
    call<Rest.NotePage>(
      "GET",
      `${of("agents", agent, "archival")}?query=${encodeURIComponent(query)}`,
    ),
  sessions: () =>
    call<Rest.SessionList>("GET", of("sessions")).then((page) => page.sessions.map(({ id }) => id)),
  events: (session: string, after: number, limit: number) =>
    call<{ events: EventFrame[]; first: number }>(
      "GET",
      `${of("sessions", session, "events")}?after=${after}&limit=${limit}`,
    ),
};
