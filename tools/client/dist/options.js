// What can be said of a client when it is made, and what holds where nothing is said.
export const QUEUE = { messages: 100, ms: 30_000 };
export const PACE = { messages: 90, windowMs: 60_000 };
export const DELAYS = { firstMs: 500, mostMs: 30_000, laterMs: 5_000 };
export const LIVENESS = { openMs: 10_000, pingMs: 20_000, silenceMs: 10_000 };
export const MESSAGE_BYTES_MAX = 8_192;
