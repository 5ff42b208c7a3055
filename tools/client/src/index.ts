// Everything that an application sees of this library.

export { Ringway } from "./client.js";
export { RingwayError } from "./error.js";
export type { Return, Delays } from "./closing.js";
export { returnAfter } from "./closing.js";
export type { Listener } from "./listeners.js";
export type * from "./messages.js";
export type { Options, Session, State } from "./options.js";
export type { DropReason, QueueLimits } from "./outbox.js";
export type { PaceLimits } from "./pace.js";
export type { Liveness } from "./pulse.js";
export type { Socket, SocketClass } from "./socket.js";
export type { Topic } from "./topics.js";
