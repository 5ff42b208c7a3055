// A connection that stays, whatever happens to the WebSockets under it.
//
//   connecting ──► open ──► waiting ──► connecting …
//        └──────────┴──────────┴──────► closed
//
// What goes out has an order: signs of life and tokens at once; then what changes subscriptions, then acknowledgements,
// then what the application says, at the pace that the gateway allows. A new connection begins with all subscriptions.
import { delayMs, returnAfter } from "./closing.js";
import { RingwayError } from "./error.js";
import { Listeners, safely } from "./listeners.js";
import { DELAYS, LIVENESS, MESSAGE_BYTES_MAX, PACE, QUEUE } from "./options.js";
import { Outbox } from "./outbox.js";
import { Pace } from "./pace.js";
import { Pulse } from "./pulse.js";
import { Requests } from "./requests.js";
import { Seen } from "./seen.js";
import { hasRoom, isOpen, leave, open } from "./socket.js";
import { Topics } from "./topics.js";
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
export class Ringway {
    #options;
    #delays;
    #liveness;
    #Class;
    #idPrefix = Math.random().toString(36).slice(2, 10);
    #ids = 0;
    #listeners = new Listeners();
    #topics = new Topics(() => this.#newId());
    #requests = new Requests();
    #seen = new Seen();
    #outbox;
    #acks = [];
    #state = { name: "connecting" };
    #socket;
    #pulse;
    #pace;
    /** Of the connection: until it is open, or until the next attempt. */
    #timer;
    /** Until something of what waits may go. */
    #pumping;
    #attempt = 0;
    #failedToOpen = 0;
    #tokensRefused = 0;
    #openSince;
    #wasOpen = false;
    /** Connects at once. */
    constructor(options) {
        const Class = options.WebSocket ?? globalThis.WebSocket;
        if (!Class)
            throw new TypeError("there is no WebSocket here: pass one");
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
    get state() {
        return this.#state;
    }
    /** Of the last ping that was answered. */
    get latencyMs() {
        return this.#pulse?.latencyMs;
    }
    on(type, listener) {
        return this.#listeners.add(type, listener);
    }
    /**
     * Sends it, or keeps it until it can be sent. Nobody says whether it has arrived: {@link request} waits for that.
     *
     * @throws RangeError when it is larger than the gateway takes.
     */
    send(message) {
        const dropped = (reason) => safely(() => this.#options.onDropped?.(message, reason));
        this.#put({ message, text: this.#encode(message), since: performance.now(), sent: () => { }, dropped });
    }
    /** Sends it and resolves to its answer. Rejects with a {@link RingwayError}. */
    request(message, timeoutMs = REQUEST_TIMEOUT_MS) {
        const id = this.#newId();
        const text = this.#encode(Object.assign({}, message, { id }));
        const answer = this.#requests.add(id, timeoutMs);
        const dropped = (reason) => {
            this.#requests.fail(id, new RingwayError("dropped", `not sent: ${reason}`));
        };
        const waiting = { message, text, since: performance.now(), sent: () => this.#requests.sent(id), dropped };
        answer.catch(() => this.#outbox.forget(waiting));
        this.#put(waiting);
        return answer;
    }
    /**
     * Subscribes, on this connection and on all that follow. Resolves when the gateway says so for the first time,
     * rejects when it refuses; what is refused later is told as an `error` message.
     */
    subscribe(topic) {
        return this.#want(topic, true);
    }
    unsubscribe(topic) {
        return this.#want(topic, false);
    }
    /** While it waits: tries again now. For who knows that the network is back. */
    retry() {
        if (this.#state.name === "waiting")
            void this.#connect();
    }
    /** Ends it. What was not sent is dropped, and what was asked is rejected. */
    close() {
        this.#end(1000, "closed by this side");
    }
    // Coming and going
    async #connect() {
        clearTimeout(this.#timer);
        if (this.#state.name === "closed")
            return;
        this.#to({ name: "connecting" });
        const token = await this.#token().catch((error) => {
            if (this.#state.name === "connecting")
                this.#wait("soon", 1006, `no token: ${String(error)}`);
        });
        if (token === undefined || this.#state.name !== "connecting")
            return;
        const asMessage = !TOKEN_IN_HEAD.test(token) || this.#failedToOpen % TOKEN_AS_MESSAGE_EVERY === 2;
        const protocols = asMessage ? ["ringway.v1"] : ["ringway.v1", `bearer.${token}`];
        this.#pace = this.#newPace();
        try {
            const socket = open(this.#Class, address(this.#options), protocols, {
                opened: () => asMessage && this.#urgently({ type: "auth", token }),
                text: (text) => this.#hear(text),
                lost: (code, reason) => this.#lost(code, reason),
            });
            this.#socket = socket;
            this.#timer = setTimeout(() => this.#lost(1006, "no answer"), this.#liveness.openMs);
        }
        catch (error) {
            this.#end(1006, String(error));
        }
    }
    #opened(session) {
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
    #lost(code, reason) {
        this.#leave();
        if (this.#openSince === undefined)
            this.#failedToOpen += 1;
        else if (performance.now() - this.#openSince > this.#delays.mostMs)
            this.#attempt = 0;
        this.#openSince = undefined;
        this.#acks = [];
        this.#topics.lost();
        this.#requests.lost();
        const way = this.#wayBack(code);
        way === "never" ? this.#end(code, reason) : this.#wait(way, code, reason);
    }
    #wayBack(code) {
        const way = returnAfter(code);
        if (way !== "token")
            return way;
        this.#tokensRefused += 1;
        const hasAnother = typeof this.#options.token === "function" && this.#tokensRefused < REFUSALS_MAX;
        return hasAnother ? way : "never";
    }
    #wait(way, code, reason) {
        const ms = delayMs(way, this.#attempt++, this.#delays);
        this.#timer = setTimeout(() => void this.#connect(), ms);
        this.#to({ name: "waiting", ms, code, reason });
    }
    #end(code, reason) {
        if (this.#state.name === "closed")
            return;
        this.#leave(code === 1000 ? 1000 : undefined);
        const error = new RingwayError("closed", reason);
        this.#outbox.close();
        this.#topics.close(error);
        this.#requests.close(error);
        this.#to({ name: "closed", code, reason });
    }
    /** Hears and says no more on this connection, however long its end takes. */
    #leave(code) {
        clearTimeout(this.#timer);
        clearTimeout(this.#pumping);
        this.#pulse?.stop();
        if (this.#socket)
            leave(this.#socket, code);
        this.#socket = this.#pulse = undefined;
    }
    #to(state) {
        const isNew = this.#state.name !== state.name;
        this.#state = state;
        if (isNew)
            safely(() => this.#options.onState?.(state));
    }
    // The token
    /** A promise that is late is a failure. */
    async #token() {
        const { token } = this.#options;
        if (typeof token === "string")
            return token;
        let timer;
        const late = new Promise((_, reject) => {
            timer = setTimeout(() => reject(new Error("it took too long")), this.#liveness.openMs);
        });
        return Promise.race([(async () => token())(), late]).finally(() => clearTimeout(timer));
    }
    /** Where there is none, the connection ends with 4502, and the next one asks again. */
    async #renew() {
        const socket = this.#socket;
        if (typeof this.#options.token === "string")
            return;
        const token = await this.#token().catch(() => undefined);
        if (token !== undefined && socket === this.#socket)
            this.#urgently({ type: "auth", token });
    }
    // What comes
    #hear(text) {
        const message = parse(text);
        this.#pulse?.heard(message?.id);
        if (!message)
            return safely(() => this.#options.onText?.(text));
        this.#answer(message);
        if (!this.#topics.take(message))
            this.#requests.take(message);
        const id = message.type === "notification" ? (message.payload?.id ?? message.id) : undefined;
        if (id === undefined)
            void this.#listeners.tell(message);
        else
            void this.#notify(id, text, message);
    }
    /** What the gateway expects of every client. */
    #answer(message) {
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
    async #notify(id, text, message) {
        // Nobody is there to take it yet.
        if (!this.#listeners.has("notification") && !this.#listeners.has("*"))
            return;
        if (!(await this.#seen.once(String(id), text, () => this.#listeners.tell(message))))
            return;
        if (this.#acks.length < ACKS_MAX)
            this.#acks.push(id);
        this.#pump();
    }
    // What goes
    #want(topic, wanted) {
        if (this.#state.name === "closed")
            return Promise.reject(new RingwayError("closed", this.#state.reason));
        const settled = this.#topics.want(topic, wanted);
        // Who does not wait for it hears of it as an `error` message.
        settled.catch(() => { });
        // What else is wanted now goes into the same message.
        queueMicrotask(() => this.#pump());
        return settled;
    }
    #put(waiting) {
        if (this.#state.name === "closed")
            return waiting.dropped("closed");
        this.#outbox.put(waiting);
        this.#pump();
    }
    /** Sends what waits, as far as it may. */
    #pump() {
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
    #hasMore() {
        return this.#topics.hasNext || this.#acks.length > 0 || this.#outbox.size > 0;
    }
    #sendNext() {
        const ask = this.#topics.next();
        if (ask)
            return this.#urgently(ask.message);
        const notificationId = this.#acks.shift();
        if (notificationId !== undefined)
            return this.#urgently({ type: "notification_ack", notificationId });
        const waiting = this.#outbox.take(performance.now());
        if (!waiting)
            return;
        this.#write(waiting.text);
        waiting.sent();
    }
    #urgently(message) {
        if (this.#socket && isOpen(this.#socket))
            this.#write(JSON.stringify(message));
    }
    #write(text) {
        this.#pace.count(performance.now());
        this.#socket?.send(text);
    }
    #encode(message) {
        const text = JSON.stringify(message);
        const bytesMax = this.#options.messageBytesMax ?? MESSAGE_BYTES_MAX;
        // The gateway would close the connection, and it would not come back.
        if (text.length * 3 > bytesMax && new TextEncoder().encode(text).length > bytesMax) {
            throw new RangeError(`the message is larger than ${bytesMax} bytes`);
        }
        return text;
    }
    #newPace() {
        return new Pace({ ...PACE, ...this.#options.pace });
    }
    #newId() {
        this.#ids += 1;
        return `${this.#idPrefix}-${this.#ids}`;
    }
}
/** With what the session says of itself. */
function address({ url, userType, deviceId, platform }) {
    const address = new URL(url);
    for (const [name, value] of Object.entries({ userType, deviceId, platform })) {
        if (value !== undefined)
            address.searchParams.set(name, value);
    }
    return address.href;
}
/** A message, or nothing where it is none. */
function parse(text) {
    try {
        const message = JSON.parse(text);
        return typeof message?.type === "string" ? message : undefined;
    }
    catch {
        return undefined;
    }
}
