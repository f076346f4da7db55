/** The wire's types: those generated from the server's own, and names for what clients use of them. */
import type { ServerFrame } from "./generated.js";

export type * from "./generated.js";

/** Frames of one type. */
export type FrameOf<K extends ServerFrame["type"]> = Extract<ServerFrame, { type: K }>;
/** The yes to an `attach`. */
export type Attached = FrameOf<"attached">;
/** The yes to a command. */
export type Ack = FrameOf<"ack">;
/** The no to a command. */
export type Refused = FrameOf<"refused">;
/** Something that happened, at its position. */
export type EventFrame = FrameOf<"event">;
