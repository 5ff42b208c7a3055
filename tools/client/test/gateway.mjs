// A gateway for a test: the real binary on ports of its own, and tokens for it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ringway } from "../dist/index.js";

const { GATEWAY_BINARY, GATEWAY_WEBSOCKET } = process.env;
/** Free ones, of which nobody else was told. */
const PORTS = process.env.GATEWAY_PORTS.split(",");
const SECRET = "the secret of the client's tests: long enough for HS256, and published";
const DEADLINE_MS = 20_000;
const PAUSE_MS = 10;

/** The WebSocket under test: of the package `ws`, or the runtime's own. */
export const WebSocket = GATEWAY_WEBSOCKET === "ws" ? (await import("ws")).WebSocket : globalThis.WebSocket;

/** Returns the first value that `look` finds. */
export async function eventually(what, look) {
  for (const end = Date.now() + DEADLINE_MS; Date.now() < end; ) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  assert.fail(`not within ${DEADLINE_MS} ms: ${what}`);
}

export function mint(user, { seconds = 3600, ...claims } = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, exp, ...claims })}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

/** Settings are `section.key` and TOML. The gateway and its clients end with the test `t`. */
export async function startGateway(t, settings = {}) {
  const folder = await mkdtemp(join(tmpdir(), "ringway-client-"));
  t.after(() => rm(folder, { recursive: true }));
  const [port, adminPort] = [PORTS.pop(), PORTS.pop()];
  const config = join(folder, "ringway.toml");
  await writeFile(config, toml({
    "server.listen": `"127.0.0.1:${port}"`,
    "admin.listen": `"127.0.0.1:${adminPort}"`,
    "server.shards": "2",
    "server.drain": `"200ms"`,
    "auth.secret": JSON.stringify(SECRET),
    ...settings,
  }));
  const gateway = new Gateway(t, config, `ws://127.0.0.1:${port}/ws`, `http://127.0.0.1:${adminPort}`);
  t.after(() => gateway.kill());
  await gateway.start();
  return gateway;
}

class Gateway {
  #t;
  #config;
  #process;

  constructor(t, config, url, admin) {
    [this.#t, this.#config, this.url, this.admin] = [t, config, url, admin];
  }

  async start() {
    const options = { env: {}, stdio: ["ignore", "ignore", "inherit"] };
    this.#process = spawn(GATEWAY_BINARY, ["--config", this.#config], options);
    await eventually("the gateway is ready", async () => (await this.ask("/readyz").catch(() => null))?.ready);
  }

  async kill(signal = "SIGKILL") {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, "exit");
    this.#process.kill(signal);
    await ended;
  }

  async ask(path, options) {
    return (await fetch(this.admin + path, options)).json();
  }

  post(path, message = {}) {
    return this.ask(path, { method: "POST", body: JSON.stringify(message) });
  }

  /** Publishes once somebody is there to have it. */
  async publish(channel, message) {
    const path = `/broadcast/channel/${encodeURIComponent(channel)}`;
    await eventually(`${channel} has a listener`, async () => (await this.post(path, message)).delivered > 0);
  }

  /** A client that comes back quickly. What it is told is in `states`, `dropped` and `heard`. */
  client(options = {}) {
    const told = { states: [], dropped: [], heard: [] };
    const client = new Ringway({
      url: this.url,
      token: () => mint("ana"),
      WebSocket,
      delays: { firstMs: 20, mostMs: 100, laterMs: 50 },
      onState: (state) => told.states.push(state),
      onDropped: (message, reason) => told.dropped.push({ message, reason }),
      ...options,
    });
    client.on("*", (message) => told.heard.push(message));
    this.#t.after(() => client.close());
    return Object.assign(client, told, {
      isOpen: () => eventually("it is open", () => client.state.name === "open"),
      isClosed: () => eventually("it is closed", () => client.state.name === "closed" && client.state),
      hears: (type) => eventually(`a ${type} comes`, () => told.heard.find((message) => message.type === type)),
    });
  }
}

/** Lines of a file, from keys with their sections. */
function toml(settings) {
  return Object.entries(settings).map(([key, value]) => `${key} = ${value}\n`).join("");
}
