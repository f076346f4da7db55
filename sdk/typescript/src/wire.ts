/** Types of the native wire, generated from the server's own, and names for those used most. */
import type { ServerFrame } from "./generated.js";

export type * from "./generated.js";

/** Server frames of one type. */
export type FrameOf<K extends ServerFrame["type"]> = Extract<ServerFrame, { type: K }>;
/** Confirmation of an `attach`. */
export type Attached = FrameOf<"attached">;
/** Confirmation of a command. */
export type Ack = FrameOf<"ack">;
/** Refusal of a command. */
export type Refused = FrameOf<"refused">;
/** Event with its position in the session's log. */
export type EventFrame = FrameOf<"event">;
