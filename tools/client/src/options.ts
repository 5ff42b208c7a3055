// What can be said of a client when it is made, and what holds where nothing is said.

import type { Delays } from "./closing.js";
import type { DropReason, QueueLimits } from "./outbox.js";
import type { PaceLimits } from "./pace.js";
import type { Liveness } from "./pulse.js";
import type { SocketClass } from "./socket.js";

export interface Options {
  /** `wss://…/ws`. */
  url: string;
  /**
   * The token, or whoever has a fresh one: asked for each attempt to connect, and when the gateway says that the token
   * expires. With a string the end of the token is the end of the connection.
   */
  token: string | (() => string | Promise<string>);
  userType?: string;
  deviceId?: string;
  platform?: string;
  /** Where there is none in `globalThis`, as in Node.js before 22: `import { WebSocket } from "ws"`. */
  WebSocket?: SocketClass;
  /** Told of every change. */
  onState?: (state: State) => void;
  /** Told of every message that was not sent, but for those of `request`, which rejects. */
  onDropped?: (message: { type: string }, reason: DropReason) => void;
  /** Takes what was published and is no JSON object with a type. */
  onText?: (text: string) => void;
  /** What is said while the connection is away, or faster than `pace`. */
  queue?: Partial<QueueLimits>;
  pace?: Partial<PaceLimits>;
  delays?: Partial<Delays>;
  liveness?: Partial<Liveness>;
  /** `limits.message_bytes` of the gateway, which closes who says more. */
  messageBytesMax?: number;
}

/** Who this is for the gateway. */
export interface Session {
  userId: string;
  sessionId: string;
}

export type State =
  | { name: "connecting" }
  /** `again`: not for the first time. What was published meanwhile has not come; ask your backend for it. */
  | { name: "open"; session: Session; again: boolean }
  /** The next attempt comes after `ms`. */
  | { name: "waiting"; ms: number; code: number; reason: string }
  /** It does not come back. */
  | { name: "closed"; code: number; reason: string };

export const QUEUE: QueueLimits = { messages: 100, ms: 30_000 };
export const PACE: PaceLimits = { messages: 90, windowMs: 60_000 };
export const DELAYS: Delays = { firstMs: 500, mostMs: 30_000, laterMs: 5_000 };
export const LIVENESS: Liveness = { openMs: 10_000, pingMs: 20_000, silenceMs: 10_000 };
export const MESSAGE_BYTES_MAX = 8_192;
