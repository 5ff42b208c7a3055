// Promise: the parts keep their bounds, at times that the test chooses.

import assert from "node:assert/strict";
import { test } from "node:test";
import { delayMs, returnAfter } from "../dist/closing.js";
import { Outbox } from "../dist/outbox.js";
import { Pace } from "../dist/pace.js";
import { Seen } from "../dist/seen.js";
import { Topics } from "../dist/topics.js";

test("delays grow, are random, and end growing", () => {
  const delays = { firstMs: 500, mostMs: 30_000, laterMs: 5_000 };
  const longest = [0, 1, 5, 6, 60, 2_000].map((attempt) => delayMs("soon", attempt, delays, 1));
  assert.deepEqual(longest, [500, 1_000, 16_000, 30_000, 30_000, 30_000]);
  assert.equal(delayMs("soon", 3, delays, 0), 0);
  assert.equal(delayMs("later", 0, delays, 0), 5_000);
  assert.equal(delayMs("later", 9, delays, 1), 35_000);
  const many = Array.from({ length: 1_000 }, () => delayMs("token", 1, delays));
  assert.ok(Math.max(...many) > 800 && Math.min(...many) < 200);
});

test("a code that nobody has heard of is one to come back after", () => {
  assert.deepEqual([1005, 1006, 1012, 1015, 3000, 4999].map(returnAfter), Array(6).fill("soon"));
});

test("no window has more messages than it may have", () => {
  const pace = new Pace({ messages: 3, windowMs: 100 });
  const sent = [];
  for (let now = 0; now < 1_000; now += 7) {
    if (pace.waitMs(now) > 0) continue;
    pace.count(now);
    sent.push(now);
    assert.ok(sent.filter((at) => at > now - 100).length <= 3, `${sent}`);
  }
  assert.ok(sent.length >= 27, `${sent}`);
});

test("what must go at once counts, too", () => {
  const pace = new Pace({ messages: 3, windowMs: 100 });
  for (const now of [0, 10, 20, 30, 40]) pace.count(now);
  assert.equal(pace.waitMs(50), 70);
});

test("what leaves the outbox is taken or told", () => {
  const told = [];
  const outbox = new Outbox({ messages: 2, ms: 100 });
  const put = (type, since) => {
    const dropped = (reason) => told.push([type, reason]);
    outbox.put({ message: { type }, text: type, since, sent: () => {}, dropped });
  };
  put("a", 0), put("b", 0), put("c", 90);
  assert.equal(outbox.take(101).text, "c");
  assert.equal(outbox.take(101), undefined);
  put("d", 102);
  outbox.close();
  assert.deepEqual(told, [["a", "full"], ["b", "old"], ["d", "closed"]]);
});

const taken = async () => true;
const unexpected = () => assert.fail("it is handed over again");

/** Whether it would be handed over. */
const isNew = (seen, id, text = "") => {
  let called = false;
  seen.once(id, text, async () => (called = true));
  return called;
};

test("a thousand ids are remembered, and no more", async () => {
  const seen = new Seen();
  for (let id = 0; id < 5_000; id++) assert.ok(await seen.once(`${id}`, "", taken));
  assert.ok(!isNew(seen, "4000") && !isNew(seen, "4999"));
  assert.ok(isNew(seen, "3999"));
});

test("long texts are remembered within a bound", () => {
  const seen = new Seen();
  const long = "x".repeat(300_000);
  for (let id = 0; id < 10; id++) assert.ok(isNew(seen, `${id}`, long));
  assert.ok(!isNew(seen, "9", long) && !isNew(seen, "4", long));
  assert.ok(isNew(seen, "3", long));
  assert.ok(isNew(seen, "longer", "x".repeat(3_000_000)));
  assert.ok(isNew(seen, "9", long));
});

test("a repeat is acknowledged when the first has been taken, and not before", async () => {
  for (const outcome of [true, false]) {
    const seen = new Seen();
    let settle;
    const first = seen.once("n1", "text", () => new Promise((resolve) => (settle = resolve)));
    let isAnswered = false;
    const repeat = seen.once("n1", "text", unexpected).finally(() => (isAnswered = true));
    await new Promise(setImmediate);
    assert.ok(!isAnswered);
    settle(outcome);
    assert.deepEqual(await Promise.all([first, repeat]), [outcome, outcome]);
    assert.equal(isNew(seen, "n1", "text"), !outcome);
  }
});

test("an id that is used again is another notification, and is acknowledged for its latest text", async () => {
  const seen = new Seen();
  assert.ok(await seen.once("n1", "first", taken));
  assert.ok(await seen.once("n1", "second", taken));
  assert.ok(await seen.once("n1", "second", unexpected));
  let settle;
  const older = seen.once("n1", "third", () => new Promise((resolve) => (settle = resolve)));
  const newer = seen.once("n1", "fourth", async () => false);
  assert.equal(await newer, false);
  settle(true);
  assert.equal(await older, false);
  assert.ok(isNew(seen, "n1", "fourth"));
});

test("every kind of topic has its messages", async () => {
  let ids = 0;
  const topics = new Topics(() => `${++ids}`);
  const circle = { latitude: 1, longitude: 2, radius: 3 };
  const kinds = [{ clan: "7" }, { vendor: "v" }, { notifications: true }, { nearby: circle }];
  for (const [topic, ...types] of [[{ channel: "a" }, "subscribe"], [{ conversation: "c" }, "subscribe"]]) {
    topics.want(topic, true);
    assert.deepEqual(topics.next().message.type, types[0]);
  }
  for (const topic of kinds) topics.want(topic, true).catch(() => {});
  const messages = kinds.map(() => topics.next().message);
  assert.deepEqual(messages, [
    { type: "subscribe_clan_chat", clanId: "7", id: "3" },
    { type: "subscribe_vendor", vendorId: "v", id: "4" },
    { type: "subscribe_notifications", id: "5" },
    { type: "subscribe_nearby", ...circle, id: "6" },
  ]);
  const moved = topics.want({ nearby: { ...circle, radius: 4 } }, true);
  assert.equal(topics.next().message.radius, 4);
  assert.ok(topics.take({ type: "nearby", id: "7" }));
  await moved;
  topics.lost();
  const again = [];
  while (topics.hasNext) again.push(topics.next().message.type);
  const ofKinds = ["clan_chat", "nearby", "notifications", "vendor"].map((kind) => `subscribe_${kind}`);
  assert.deepEqual(again.sort(), ["subscribe", "subscribe", ...ofKinds]);
  for (const topic of kinds) topics.want(topic, false);
  const left = kinds.map(() => topics.next().message.type);
  assert.deepEqual(left.sort(), ofKinds.map((type) => `un${type}`));
});

test("the answer to an earlier message settles no later call", async () => {
  let ids = 0;
  const topics = new Topics(() => `${++ids}`);
  const circle = (radius) => ({ nearby: { latitude: 1, longitude: 2, radius } });
  const refusal = { type: "error", payload: { code: "invalid_field", message: "radius" } };
  const settled = [];
  const want = (radius) => {
    topics.want(circle(radius), true).then(() => settled.push(radius), ({ code }) => settled.push(code));
    return topics.next().message.id;
  };
  const [first, second] = [want(0), want(2)];
  topics.take({ ...refusal, id: first });
  await new Promise(setImmediate);
  assert.deepEqual(settled, []);
  topics.take({ type: "subscription_confirmed", id: second });
  await new Promise(setImmediate);
  assert.deepEqual(settled, [0, 2]);
  topics.lost();
  assert.equal(topics.next().message.radius, 2);
});
