/**
 * Client for Thoughtwire's native wire, `thoughtwire.v1`.
 *
 * A {@link Client} keeps one connection and makes it again when it breaks; what was asked meanwhile is
 * sent then, once. A {@link Room} is a place in one session: everything that happens there, in order,
 * each event once, whatever happened to the connection. {@link offer} makes this program an agent, whose
 * turns it answers through the {@link Interface} that it is handed.
 *
 * @example
 * ```ts
 * const client = new Client({ url: "ws://127.0.0.1:8282/v1/ws" });
 * const { session } = await client.createAgent({ name: "ada" });
 * const room = client.attach(session, { after: 0 });
 * await room.send("What is 6*7?");
 * for await (const shown of room) {
 *   if (shown.type === "event" && shown.event.kind === "message") console.log(shown.event.text);
 *   if (shown.type === "event" && shown.event.kind === "turn_ended") break;
 * }
 * await client.close();
 * ```
 */

export type {
  ClientOptions,
  ClientState,
  CommandOptions,
  NewAgent,
  NewSession,
  SendOptions,
} from "./client.js";
export { Client } from "./client.js";
export { ClosedError, EndedError, FailedError, RefusedError } from "./errors.js";
export type { Interface, Returned, Streamed, WaitOptions } from "./interface.js";
export type { OfferedAgent, OfferOptions, TurnFunction } from "./offer.js";
export { offer } from "./offer.js";
export type { AttachOptions, RunTool, Shown } from "./room.js";
export { Room } from "./room.js";
export type { WebSocketClass, WebSocketLike } from "./socket.js";
export type * from "./wire.js";
