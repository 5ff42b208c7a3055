// A connection that stays, whatever happens to the WebSockets under it.
//
//   connecting ──► open ──► waiting ──► connecting …
//        └──────────┴──────────┴──────► closed
//
// What goes out has an order: signs of life and tokens at once; then what changes subscriptions, then acknowledgements,
// then what the application says, at the pace that the gateway allows. A new connection begins with all subscriptions.

import { type Return, delayMs, returnAfter } from "./closing.js";
import { RingwayError } from "./error.js";
import { type Listener, Listeners, safely } from "./listeners.js";
import type { Answers, ClientMessage, Id, ServerMessage, ServerMessages } from "./messages.js";
import type { Options, Session, State } from "./options.js";
import { DELAYS, LIVENESS, MESSAGE_BYTES_MAX, PACE, QUEUE } from "./options.js";
import { type DropReason, Outbox, type Waiting } from "./outbox.js";
import { Pace } from "./pace.js";
import { Pulse } from "./pulse.js";
import { Requests } from "./requests.js";
import { Seen } from "./seen.js";
import { type Socket, type SocketClass, hasRoom, isOpen, leave, open } from "./socket.js";
import { type Topic, Topics } from "./topics.js";

/** What a request may wait for its answer, the time in the queue counted. */
const REQUEST_TIMEOUT_MS = 10_000;
/** How soon a WebSocket that has no room is looked at again. */
const ROOM_LOOK_MS = 50;
/** A longer token does not surely fit into the head of a request, and not every character may stand there. */
const TOKEN_IN_HEAD = /^[\w.~-]{1,4096}$/;
/** At every third failure to open the token goes as a message: so it is refused with a reason, which browsers see. */
const TOKEN_AS_MESSAGE_EVERY = 3;
/** So many tokens in a row may be refused; then it is not the token's age. */
const REFUSALS_MAX = 2;
/** Acknowledgements that wait. What is not acknowledged comes again, and is then. */
const ACKS_MAX = 1_000;

/** A message that goes before what the application says. */
type Said = { type: string; [field: string]: unknown };

export class Ringway {
  readonly #options: Options;
  readonly #delays;
  readonly #liveness;
  readonly #Class: SocketClass;
  readonly #idPrefix = Math.random().toString(36).slice(2, 10);
  #ids = 0;

  readonly #listeners = new Listeners();
  readonly #topics = new Topics(() => this.#newId());
  readonly #requests = new Requests();
  readonly #seen = new Seen();
  readonly #outbox: Outbox;
  #acks: Id[] = [];

  #state: State = { name: "connecting" };
  #socket: Socket | undefined;
  #pulse: Pulse | undefined;
  #pace: Pace;
  /** Of the connection: until it is open, or until the next attempt. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Until something of what waits may go. */
  #pumping: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #failedToOpen = 0;
  #tokensRefused = 0;
  #openSince: number | undefined;
  #wasOpen = false;

  /** Connects at once. */
  constructor(options: Options) {
    const Class = options.WebSocket ?? (globalThis as { WebSocket?: SocketClass }).WebSocket;
    if (!Class) throw new TypeError("there is no WebSocket here: pass one");
    this.#Class = Class;
    this.#options = options;
    this.#delays = { ...DELAYS, ...options.delays };
    this.#liveness = { ...LIVENESS, ...options.liveness };
    this.#outbox = new Outbox({ ...QUEUE, ...options.queue });
    this.#pace = this.#newPace();
    // A URL that is none is told at once. What the application passes is called when it has what it makes here.
    address(options);
    queueMicrotask(() => void this.#connect());
  }

  get state(): State {
    return this.#state;
  }

  /** Of the last ping that was answered. */
  get latencyMs(): number | undefined {
    return this.#pulse?.latencyMs;
  }

  /**
   * Calls `listener` with every message of this type, or with every message of any type where it is `*`.
   * Returns what ends that. A notification is acknowledged once its listeners have returned, or their promises have
   * resolved; it comes again when one of them throws.
   */
  on<T extends keyof ServerMessages>(type: T, listener: Listener<T>): () => void;
  on(type: "*", listener: (message: ServerMessage) => unknown): () => void;
  on(type: string, listener: (message: any) => unknown): () => void {
    return this.#listeners.add(type, listener);
  }

  /**
   * Sends it, or keeps it until it can be sent. Nobody says whether it has arrived: {@link request} waits for that.
   *
   * @throws RangeError when it is larger than the gateway takes.
   */
  send(message: ClientMessage): void {
    const dropped = (reason: DropReason) => safely(() => this.#options.onDropped?.(message, reason));
    this.#put({ message, text: this.#encode(message), since: performance.now(), sent: () => {}, dropped });
  }

  /** Sends it and resolves to its answer. Rejects with a {@link RingwayError}. */
  request<T extends keyof Answers>(
    message: ClientMessage<T>,
    timeoutMs: number = REQUEST_TIMEOUT_MS,
  ): Promise<ServerMessage<Answers[T]>> {
    const id = this.#newId();
    const text = this.#encode(Object.assign({}, message, { id }));
    const answer = this.#requests.add(id, timeoutMs);
    const dropped = (reason: DropReason) => {
      this.#requests.fail(id, new RingwayError("dropped", `not sent: ${reason}`));
    };
    const waiting: Waiting = { message, text, since: performance.now(), sent: () => this.#requests.sent(id), dropped };
    answer.catch(() => this.#outbox.forget(waiting));
    this.#put(waiting);
    return answer as Promise<any>;
  }

  /**
   * Subscribes, on this connection and on all that follow. Resolves when the gateway says so for the first time,
   * rejects when it refuses; what is refused later is told as an `error` message.
   */
  subscribe(topic: Topic): Promise<void> {
    return this.#want(topic, true);
  }

  unsubscribe(topic: Topic): Promise<void> {
    return this.#want(topic, false);
  }

  /** While it waits: tries again now. For who knows that the network is back. */
  retry(): void {
    if (this.#state.name === "waiting") void this.#connect();
  }

  /** Ends it. What was not sent is dropped, and what was asked is rejected. */
  close(): void {
    this.#end(1000, "closed by this side");
  }

  // Coming and going

  async #connect(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#state.name === "closed") return;
    this.#to({ name: "connecting" });
    const token = await this.#token().catch((error: unknown) => {
      if (this.#state.name === "connecting") this.#wait("soon", 1006, `no token: ${String(error)}`);
    });
    if (token === undefined || this.#state.name !== "connecting") return;
    const asMessage = !TOKEN_IN_HEAD.test(token) || this.#failedToOpen % TOKEN_AS_MESSAGE_EVERY === 2;
    const protocols = asMessage ? ["ringway.v1"] : ["ringway.v1", `bearer.${token}`];
    this.#pace = this.#newPace();
    try {
      const socket: Socket = open(this.#Class, address(this.#options), protocols, {
        opened: () => asMessage && this.#urgently({ type: "auth", token }),
        text: (text) => this.#hear(text),
        lost: (code, reason) => this.#lost(code, reason),
      });
      this.#socket = socket;
      this.#timer = setTimeout(() => this.#lost(1006, "no answer"), this.#liveness.openMs);
    } catch (error) {
      this.#end(1006, String(error));
    }
  }

  #opened(session: Session): void {
    clearTimeout(this.#timer);
    this.#openSince = performance.now();
    this.#failedToOpen = this.#tokensRefused = 0;
    this.#pulse = new Pulse(this.#liveness, () => this.#newId(), {
      ask: (id) => this.#urgently({ type: "ping", id }),
      silent: () => this.#lost(1006, "no sign of life"),
    });
    const again = this.#wasOpen;
    this.#wasOpen = true;
    this.#to({ name: "open", session, again });
    this.#pump();
  }

  #lost(code: number, reason: string): void {
    this.#leave();
    if (this.#openSince === undefined) this.#failedToOpen += 1;
    else if (performance.now() - this.#openSince > this.#delays.mostMs) this.#attempt = 0;
    this.#openSince = undefined;
    this.#acks = [];
    this.#topics.lost();
    this.#requests.lost();
    const way = this.#wayBack(code);
    way === "never" ? this.#end(code, reason) : this.#wait(way, code, reason);
  }

  #wayBack(code: number): Return {
    const way = returnAfter(code);
    if (way !== "token") return way;
    this.#tokensRefused += 1;
    const hasAnother = typeof this.#options.token === "function" && this.#tokensRefused < REFUSALS_MAX;
    return hasAnother ? way : "never";
  }

  #wait(way: Return, code: number, reason: string): void {
    const ms = delayMs(way, this.#attempt++, this.#delays);
    this.#timer = setTimeout(() => void this.#connect(), ms);
    this.#to({ name: "waiting", ms, code, reason });
  }

  #end(code: number, reason: string): void {
    if (this.#state.name === "closed") return;
    this.#leave(code === 1000 ? 1000 : undefined);
    const error = new RingwayError("closed", reason);
    this.#outbox.close();
    this.#topics.close(error);
    this.#requests.close(error);
    this.#to({ name: "closed", code, reason });
  }

  /** Hears and says no more on this connection, however long its end takes. */
  #leave(code?: number): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#pumping);
    this.#pulse?.stop();
    if (this.#socket) leave(this.#socket, code);
    this.#socket = this.#pulse = undefined;
  }

  #to(state: State): void {
    const isNew = this.#state.name !== state.name;
    this.#state = state;
    if (isNew) safely(() => this.#options.onState?.(state));
  }

  // The token

  /** A promise that is late is a failure. */
  async #token(): Promise<string> {
    const { token } = this.#options;
    if (typeof token === "string") return token;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("it took too long")), this.#liveness.openMs);
    });
    return Promise.race([(async () => token())(), late]).finally(() => clearTimeout(timer));
  }

  /** Where there is none, the connection ends with 4502, and the next one asks again. */
  async #renew(): Promise<void> {
    const socket = this.#socket;
    if (typeof this.#options.token === "string") return;
    const token = await this.#token().catch(() => undefined);
    if (token !== undefined && socket === this.#socket) this.#urgently({ type: "auth", token });
  }

  // What comes

  #hear(text: string): void {
    const message = parse(text);
    this.#pulse?.heard(message?.id);
    if (!message) return safely(() => this.#options.onText?.(text));
    this.#answer(message);
    if (!this.#topics.take(message)) this.#requests.take(message);
    const id = message.type === "notification" ? (message.payload?.id ?? message.id) : undefined;
    if (id === undefined) void this.#listeners.tell(message);
    else void this.#notify(id, text, message);
  }

  /** What the gateway expects of every client. */
  #answer(message: ServerMessage): void {
    switch (message.type) {
      case "connected":
      case "auth.success":
        if (this.#openSince === undefined) {
          this.#opened({ userId: message.payload.user_id, sessionId: message.payload.session_id });
        }
        return;
      case "token_expiring":
        return void this.#renew();
      case "heartbeat":
        return this.#urgently({ type: "heartbeat_ack", payload: message.payload });
    }
  }

  /** Hands a notification to the application once, and acknowledges it as often as it comes. */
  async #notify(id: Id, text: string, message: ServerMessage): Promise<void> {
    // Nobody is there to take it yet.
    if (!this.#listeners.has("notification") && !this.#listeners.has("*")) return;
    if (!(await this.#seen.once(String(id), text, () => this.#listeners.tell(message)))) return;
    if (this.#acks.length < ACKS_MAX) this.#acks.push(id);
    this.#pump();
  }

  // What goes

  #want(topic: Topic, wanted: boolean): Promise<void> {
    if (this.#state.name === "closed") return Promise.reject(new RingwayError("closed", this.#state.reason));
    const settled = this.#topics.want(topic, wanted);
    // Who does not wait for it hears of it as an `error` message.
    settled.catch(() => {});
    // What else is wanted now goes into the same message.
    queueMicrotask(() => this.#pump());
    return settled;
  }

  #put(waiting: Waiting): void {
    if (this.#state.name === "closed") return waiting.dropped("closed");
    this.#outbox.put(waiting);
    this.#pump();
  }

  /** Sends what waits, as far as it may. */
  #pump(): void {
    clearTimeout(this.#pumping);
    while (this.#state.name === "open" && this.#socket && this.#hasMore()) {
      const waitMs = hasRoom(this.#socket) ? this.#pace.waitMs(performance.now()) : ROOM_LOOK_MS;
      if (waitMs > 0) {
        this.#pumping = setTimeout(() => this.#pump(), waitMs);
        return;
      }
      this.#sendNext();
    }
  }

  #hasMore(): boolean {
    return this.#topics.hasNext || this.#acks.length > 0 || this.#outbox.size > 0;
  }

  #sendNext(): void {
    const ask = this.#topics.next();
    if (ask) return this.#urgently(ask.message);
    const notificationId = this.#acks.shift();
    if (notificationId !== undefined) return this.#urgently({ type: "notification_ack", notificationId });
    const waiting = this.#outbox.take(performance.now());
    if (!waiting) return;
    this.#write(waiting.text);
    waiting.sent();
  }

  #urgently(message: Said): void {
    if (this.#socket && isOpen(this.#socket)) this.#write(JSON.stringify(message));
  }

  #write(text: string): void {
    this.#pace.count(performance.now());
    this.#socket?.send(text);
  }

  #encode(message: { type: string }): string {
    const text = JSON.stringify(message);
    const bytesMax = this.#options.messageBytesMax ?? MESSAGE_BYTES_MAX;
    // The gateway would close the connection, and it would not come back.
    if (text.length * 3 > bytesMax && new TextEncoder().encode(text).length > bytesMax) {
      throw new RangeError(`the message is larger than ${bytesMax} bytes`);
    }
    return text;
  }

  #newPace(): Pace {
    return new Pace({ ...PACE, ...this.#options.pace });
  }

  #newId(): string {
    this.#ids += 1;
    return `${this.#idPrefix}-${this.#ids}`;
  }
}

/** With what the session says of itself. */
function address({ url, userType, deviceId, platform }: Options): string {
  const address = new URL(url);
  for (const [name, value] of Object.entries({ userType, deviceId, platform })) {
    if (value !== undefined) address.searchParams.set(name, value);
  }
  return address.href;
}

/** A message, or nothing where it is none. */
function parse(text: string): ServerMessage | undefined {
  try {
    const message = JSON.parse(text);
    return typeof message?.type === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}
