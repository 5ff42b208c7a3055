// What the application wants to hear: asked for when it says so, and again on every connection.
//
// Changes are kept by topic and not as a list of requests: whoever changes his mind ten times while the connection is
// away is asked for once. Invariant: a topic that is `#changed` is told to the gateway by the next `next`.

import { RingwayError, refused } from "./error.js";
import type { Circle, Names, ServerMessage } from "./messages.js";

/** Something to subscribe to. There is one circle: another one takes its place. */
export type Topic =
  | { channel: string }
  | { conversation: string }
  | { clan: string }
  | { vendor: string }
  | { notifications: true }
  | { nearby: Circle };

/** A message that changes subscriptions. */
export interface Ask {
  id: string;
  message: { type: string };
}

/** Names in one message; the gateway takes 1,024. */
const NAMES_MAX = 100;
/** Of JSON in a list of names, at three bytes for a character: half of what a message may have by default. */
const NAMES_CHARACTERS_MAX = 1_300;

interface Entry {
  topic: Topic;
  wanted: boolean;
  /** Of the message that asks for what is wanted now, once there is one: no other answer counts. */
  askId: string | undefined;
  waiting: { resolve: () => void; reject: (error: RingwayError) => void }[];
}

export class Topics {
  readonly #entries = new Map<string, Entry>();
  readonly #changed = new Set<string>();
  /** The topics of each message that are not answered yet, by its id. */
  readonly #asked = new Map<string, Set<string>>();
  readonly #newId: () => string;

  constructor(newId: () => string) {
    this.#newId = newId;
  }

  /** Resolves when the gateway says so, on whichever connection; rejects when it is refused. */
  want(topic: Topic, wanted: boolean): Promise<void> {
    const key = keyOf(topic);
    const entry = this.#entries.get(key) ?? { topic, wanted: false, askId: undefined, waiting: [] };
    if (!wanted && !this.#entries.has(key)) return Promise.resolve();
    if (entry.wanted !== wanted) settle(entry, new RingwayError("dropped", "another call came before the answer"));
    this.#entries.set(key, Object.assign(entry, { topic, wanted, askId: undefined }));
    this.#changed.add(key);
    return new Promise((resolve, reject) => entry.waiting.push({ resolve, reject }));
  }

  get hasNext(): boolean {
    return this.#changed.size > 0;
  }

  /** The next message that changes something: as many names of one kind as go into it. */
  next(): Ask | undefined {
    const first = this.#changed.values().next().value;
    if (first === undefined) return undefined;
    const { topic, wanted: join } = this.#entries.get(first)!;
    const field = listOf(topic);
    const keys = field ? this.#alike(field, join) : [first];
    const id = this.#newId();
    for (const key of keys) {
      this.#changed.delete(key);
      this.#entries.get(key)!.askId = id;
    }
    this.#asked.set(id, new Set(keys));
    const type = join ? "subscribe" : "unsubscribe";
    const names = keys.map((key) => nameOf(this.#entries.get(key)!.topic));
    return { id, message: { ...(field ? { type, [field]: names } : single(type, topic)), id } as Ask["message"] };
  }

  /** Whether this answers one of the messages. */
  take(message: ServerMessage): boolean {
    const id = String(message.id);
    const keys = this.#asked.get(id);
    if (!keys) return false;
    const error = message.type === "error" ? refused(message) : undefined;
    for (const key of keysOf(message) ?? [...keys]) {
      if (keys.delete(key)) this.#answered(key, id, error);
    }
    if (keys.size === 0) this.#asked.delete(id);
    return true;
  }

  /** The connection has gone, and all its subscriptions. */
  lost(): void {
    this.#asked.clear();
    for (const [key, entry] of this.#entries) {
      if (entry.wanted) this.#changed.add(key);
      else this.#forget(key, entry);
    }
  }

  close(error: RingwayError): void {
    for (const entry of this.#entries.values()) settle(entry, error);
    this.#entries.clear();
    this.#changed.clear();
  }

  #alike(field: keyof Names, join: boolean): string[] {
    const keys: string[] = [];
    let characters = 0;
    for (const key of this.#changed) {
      const { topic, wanted } = this.#entries.get(key)!;
      if (listOf(topic) !== field || wanted !== join) continue;
      characters += JSON.stringify(nameOf(topic)).length + 1;
      if (keys.length > 0 && (keys.length === NAMES_MAX || characters > NAMES_CHARACTERS_MAX)) break;
      keys.push(key);
    }
    return keys;
  }

  #answered(key: string, askId: string, error: RingwayError | undefined): void {
    const entry = this.#entries.get(key);
    // The application has said something else since: the answer to that is awaited.
    if (!entry || entry.askId !== askId) return;
    if (!entry.wanted) return this.#forget(key, entry);
    if (error) this.#entries.delete(key);
    settle(entry, error);
  }

  /** Also where the gateway says that it was not subscribed: so it is as it was wanted. */
  #forget(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#changed.delete(key);
    settle(entry, undefined);
  }
}

function settle(entry: Entry, error: RingwayError | undefined): void {
  for (const { resolve, reject } of entry.waiting.splice(0)) error ? reject(error) : resolve();
}

function keyOf(topic: Topic): string {
  return "nearby" in topic ? "nearby" : `${Object.keys(topic)[0]} ${nameOf(topic)}`;
}

function nameOf(topic: Topic): string {
  return String(Object.values(topic)[0]);
}

/** The field of `subscribe` that lists topics of this kind. */
function listOf(topic: Topic): keyof Names | undefined {
  if ("channel" in topic) return "channels";
  return "conversation" in topic ? "conversation_ids" : undefined;
}

/** The message of a topic that is not in a list. */
function single(verb: "subscribe" | "unsubscribe", topic: Topic): { type: string } {
  if ("clan" in topic) return { type: `${verb}_clan_chat`, clanId: topic.clan } as { type: string };
  if ("vendor" in topic) return { type: `${verb}_vendor`, vendorId: topic.vendor } as { type: string };
  if ("nearby" in topic) return { type: `${verb}_nearby`, ...(verb === "subscribe" ? topic.nearby : {}) };
  return { type: `${verb}_notifications` };
}

/** The topics that an answer names; undefined when it is about all that was asked. */
function keysOf(message: ServerMessage): string[] | undefined {
  const { channels, conversation_ids } = (message as { payload?: Partial<Names> }).payload ?? {};
  const names = channels?.map((channel) => keyOf({ channel }));
  return names ?? conversation_ids?.map((conversation) => keyOf({ conversation }));
}
