// Promise: what is said is sent, or its loss is told; what is asked is answered, or why not; what comes is handed over
// once.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually, mint, startGateway } from "./gateway.mjs";

const failure = (promise) => promise.then(() => assert.fail("it has not failed"), ({ code }) => code);

describe("talking", { concurrency: 4 }, () => {
  test("a request has its own answer", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    const answers = await Promise.all([1, 2, 3].map(() => client.request({ type: "ping" })));
    assert.equal(new Set(answers.map(({ id }) => id)).size, 3);
    assert.deepEqual(answers.map(({ type }) => type), ["pong", "pong", "pong"]);
  });

  test("a request that is refused says so with the gateway's code", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    assert.equal(await failure(client.request({ type: "no such type" })), "unknown_type");
    assert.equal(await failure(client.request({ type: "subscribe" })), "missing_field");
  });

  test("a request without an answer ends", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    await client.isOpen();
    assert.equal(await failure(client.request({ type: "heartbeat_ack" }, 50)), "timeout");
  });

  test("what was sent to a gateway that is killed is lost and told, and what was not is sent to the next", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    await client.isOpen();
    const unanswered = client.request({ type: "heartbeat_ack" }, 60_000);
    await client.request({ type: "ping" });
    await gateway.kill();
    assert.equal(await failure(unanswered), "lost");
    const kept = client.request({ type: "ping" }, 60_000);
    await gateway.start();
    assert.equal((await kept).type, "pong");
  });

  test("what finds no room, and what waits for too long, is told", async (t) => {
    const gateway = await startGateway(t);
    await gateway.kill();
    const client = gateway.client({ queue: { messages: 2, ms: 200 } });
    for (const id of ["a", "b", "c"]) client.send({ type: "ping", id });
    assert.deepEqual(client.dropped, [{ message: { type: "ping", id: "a" }, reason: "full" }]);
    await eventually("the others are old", () => client.dropped.length === 3);
    const told = client.dropped.map(({ message, reason }) => `${message.id} ${reason}`);
    assert.deepEqual(told, ["a full", "b old", "c old"]);
    assert.equal(await failure(client.request({ type: "ping" }, 10)), "timeout");
    assert.equal(await failure(client.request({ type: "ping" })), "dropped");
  });

  test("nobody is closed for speaking too fast", async (t) => {
    const gateway = await startGateway(t, { "limits.messages": "40", "limits.messages_window": `"1s"` });
    const client = gateway.client({ pace: { messages: 15, windowMs: 1_100 } });
    const answers = await Promise.all(Array.from({ length: 60 }, () => client.request({ type: "ping" })));
    assert.equal(answers.length, 60);
    assert.deepEqual(client.states.map(({ name }) => name), ["open"]);
  });

  test("a message that the gateway would close for is not taken", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    assert.throws(() => client.send({ type: "chat", content: "é".repeat(4_096), clanId: "7" }), RangeError);
    assert.throws(() => client.request({ type: "chat", content: "x".repeat(8_192), clanId: "7" }), RangeError);
    await client.isOpen();
  });

  test("what is refused is told, what is left is left, and neither is asked for again", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client({ token: () => mint("ana", { channels: ["news", "conv:*"] }) });
    const wanted = [{ channel: "news" }, { channel: "secret" }, { conversation: "c1" }, { conversation: "c2" }];
    const settled = await Promise.allSettled(wanted.map((topic) => client.subscribe(topic)));
    const outcomes = settled.map(({ status, reason }) => reason?.code ?? status);
    assert.deepEqual(outcomes, ["fulfilled", "not_allowed", "fulfilled", "fulfilled"]);
    await client.unsubscribe({ conversation: "c1" });
    await client.unsubscribe({ conversation: "never" });
    assert.deepEqual(await channelsOf(gateway), ["conv:c2", "news", "user:ana"]);
    await gateway.kill();
    await gateway.start();
    await eventually("the rest is back", async () => String(await channelsOf(gateway)) === "conv:c2,news,user:ana");
  });

  test("a hundred long names fit into messages that the gateway takes", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    const names = Array.from({ length: 100 }, (_, n) => `${n}-${"é".repeat(100)}`);
    await Promise.all(names.map((channel) => client.subscribe({ channel })));
    assert.equal((await channelsOf(gateway)).length, 101);
    assert.deepEqual(client.states.map(({ name }) => name), ["open"]);
  });

  test("who changes his mind has what he wanted last", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    const first = failure(client.subscribe({ channel: "news" }));
    client.unsubscribe({ channel: "news" });
    await client.subscribe({ channel: "news" });
    assert.equal(await first, "dropped");
    assert.deepEqual(await channelsOf(gateway), ["news", "user:ana"]);
  });

  test("a heartbeat is answered", async (t) => {
    const gateway = await startGateway(t, { "heartbeat.interval": `"300ms"`, "heartbeat.idle_timeout": `"3s"` });
    const client = gateway.client({ userType: "driver", deviceId: "d1", platform: "ios" });
    const heartbeats = () => client.heard.filter(({ type }) => type === "heartbeat");
    await eventually("it has lived for longer than silence may last", () => heartbeats().length > 11);
    assert.deepEqual(client.states.map(({ name }) => name), ["open"]);
    const { connections } = await gateway.ask("/connections");
    const { user_type, device_id, platform } = connections[0];
    assert.deepEqual([user_type, device_id, platform], ["driver", "d1", "ios"]);
  });

  test("a notification is handed over once, and again to who could not take it", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    const taken = [];
    client.on("notification", async ({ id, title }) => {
      taken.push([id, title]);
    });
    await client.isOpen();
    for (const id of ["n1", "n1", 1, "1", undefined, undefined]) {
      await gateway.post("/broadcast/user/ana", { type: "notification", id, title: "Hi" });
    }
    await eventually("all have come", () => client.heard.length >= 5 && taken.length >= 5);
    const ids = taken.map(([id]) => id);
    assert.deepEqual(ids, ["n1", 1, "1", undefined, undefined]);
  });

  test("a notification is acknowledged once it is taken, and comes again to who could not take it", async (t) => {
    const gateway = await startGateway(t, { "notifications.first_repeat": `"200ms"` });
    const client = gateway.client();
    await client.isOpen();
    const uncaught = [];
    const listeners = process.rawListeners("uncaughtException");
    process.removeAllListeners("uncaughtException").on("uncaughtException", ({ message }) => uncaught.push(message));
    t.after(() => {
      process.removeAllListeners("uncaughtException");
      for (const listener of listeners) process.on("uncaughtException", listener);
    });
    let times = 0;
    client.on("notification", () => {
      times += 1;
      if (times < 3) throw new Error(`not the time ${times}`);
    });
    await gateway.post("/broadcast/user/ana", { type: "notification", id: "n1" });
    const isConfirmed = async () => (await gateway.ask("/notifications/n1")).confirmed === 1;
    await eventually("it is acknowledged", isConfirmed);
    assert.equal(times, 3);
    assert.deepEqual(uncaught, ["not the time 1", "not the time 2"]);
  });

  test("a repeat of a notification that is still being taken is not acknowledged before", async (t) => {
    const gateway = await startGateway(t, { "notifications.first_repeat": `"100ms"` });
    const client = gateway.client();
    const calls = [];
    client.on("notification", () => new Promise((resolve) => calls.push(resolve)));
    await client.isOpen();
    await gateway.post("/broadcast/user/ana", { type: "notification", id: "n1" });
    const state = () => gateway.ask("/notifications/n1");
    await eventually("it is repeated", async () => (await state()).notifications[0].attempts > 2);
    for (const resolve of calls) resolve();
    await eventually("it is acknowledged", async () => (await state()).confirmed === 1);
    assert.equal(calls.length, 1);
  });

  test("an id that has ended and is used again is handed over and acknowledged again", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    const titles = [];
    client.on("notification", ({ title }) => titles.push(title));
    await client.isOpen();
    for (const title of ["first", "second"]) {
      await gateway.post("/broadcast/user/ana", { type: "notification", id: "n1", title });
      const hasEnded = async () => (await gateway.ask("/notifications/n1")).pending === 0;
      await eventually("it has ended", hasEnded);
    }
    assert.deepEqual(titles, ["first", "second"]);
  });

  test("of two ids the one in the payload is acknowledged, which the gateway goes by", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    await client.isOpen();
    await gateway.post("/broadcast/user/ana", { type: "notification", id: "outer", payload: { id: "inner" } });
    const isConfirmed = async () => (await gateway.ask("/notifications/inner")).confirmed === 1;
    await eventually("it is acknowledged", isConfirmed);
  });

  test("every kind of topic is confirmed, and asked for again", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    const nearby = { latitude: 48.2, longitude: 16.37, radius: 500 };
    const topics = [{ clan: "k1" }, { vendor: "v1" }, { notifications: true }, { nearby }, { conversation: "c1" }];
    await Promise.all(topics.map((topic) => client.subscribe(topic)));
    await gateway.kill();
    await gateway.start();
    await eventually("all are back", async () => {
      const channels = String(await channelsOf(gateway));
      return ["clan:k1", "vendor:v1", "notifications", "conv:c1"].every((channel) => channels.includes(channel));
    });
    const vendor = gateway.client({ token: () => mint("v2", { role: "vendor" }) });
    const here = { type: "location_update", latitude: 48.2001, longitude: 16.37 };
    const isSeen = () => (vendor.send(here), client.heard.some(({ type }) => type === "vendor_location"));
    await eventually("a vendor nearby is seen", isSeen);
    for (const topic of topics) await client.unsubscribe(topic);
    assert.deepEqual(await channelsOf(gateway), ["user:ana"]);
  });

  test("what is no message is handed over as it came", async (t) => {
    const gateway = await startGateway(t);
    const texts = [];
    const client = gateway.client({ onText: (text) => texts.push(text) });
    await client.isOpen();
    for (const body of ["not JSON", "7", "null", `{"no":"type"}`, "[]"]) {
      await gateway.ask("/broadcast/all", { method: "POST", body });
    }
    await eventually("all have come", () => texts.length === 5);
    assert.deepEqual(texts, ["not JSON", "7", "null", `{"no":"type"}`, "[]"]);
  });

  test("who listens no more hears no more", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    let pongs = 0;
    const off = client.on("pong", () => pongs++);
    await client.request({ type: "ping" });
    off();
    await client.request({ type: "ping" });
    assert.equal(pongs, 1);
  });
});

// Not beside the others, which look at the same clock.
test("a clock that is set back stops nothing", async (t) => {
  const gateway = await startGateway(t);
  const client = gateway.client({ pace: { messages: 2, windowMs: 50 }, queue: { ms: 1_000 } });
  await client.isOpen();
  const now = Date.now;
  const setBack = () => t.mock.method(Date, "now", () => now() - 3_600_000);
  await Promise.all([1, 2].map(() => client.request({ type: "ping" })));
  setBack();
  assert.equal((await client.request({ type: "ping" })).type, "pong");
  t.mock.restoreAll();
  await gateway.kill();
  await eventually("it is away", () => client.state.name !== "open");
  client.send({ type: "ping" });
  setBack();
  await eventually("it is old", () => client.dropped.length === 1);
});

async function channelsOf(gateway) {
  const { connections } = await gateway.ask("/connections?user=ana");
  return connections[0]?.channels.sort() ?? [];
}
