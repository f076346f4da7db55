/**
 * Client for Thoughtwire's native wire, `thoughtwire.v1`.
 *
 * A {@link Client} keeps one connection and makes it again when it is lost. Commands issued
 * meanwhile are sent then, once. A {@link Room} is an attachment to one session: it yields each
 * event once and in order, across reconnects. {@link offer} makes this program an agent that
 * answers turns through the {@link Interface} it is given.
 *
 * @example
 * ```ts
 * const client = new Client({ url: "ws://127.0.0.1:8282/v1/ws" });
 * const { session } = await client.createAgent({ name: "ada" });
 * const room = client.attach(session, { after: 0 });
 * await room.send("What is 6*7?");
 * for await (const update of room) {
 *   if (update.type !== "event") continue;
 *   if (update.event.kind === "message") console.log(update.event.text);
 *   if (update.event.kind === "turn_ended") break;
 * }
 * await client.close();
 * ```
 */

export type { CallOnceOptions, MakeCall } from "./call-once.js";
export type { AgentAndSession, ClientOptions, SessionChange } from "./client.js";
export { Client } from "./client.js";
export type { Command, CommandOptions, NewAgent, NewSession, SendOptions } from "./commands.js";
export type { ClientState, ConnectionOptions } from "./connection.js";
export {
  CallFailed,
  ClosedError,
  EndedError,
  FailedError,
  OutcomeUnknown,
  RefusedError,
} from "./errors.js";
/** Bodies of REST requests and answers, generated from the server's types. */
export type * as Rest from "./generated-rest.js";
export type { Interface, TextOptions, WaitOptions } from "./interface.js";
export type { ItemWriter } from "./item-writer.js";
export type { OfferedAgent, OfferOptions, TurnFunction } from "./offer.js";
export { offer } from "./offer.js";
export type { AttachOptions, RoomUpdate, RunTool } from "./room.js";
export { Room } from "./room.js";
export type { WebSocketClass, WebSocketLike } from "./socket.js";
export type { ToolResult } from "./turn-channel.js";
export type * from "./wire.js";
