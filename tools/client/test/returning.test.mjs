// Promise: a client comes back when that makes sense, with a fresh token when it needs one, and stays away otherwise.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { WebSocket, eventually, mint, startGateway } from "./gateway.mjs";

const codes = (client) => client.states.filter(({ code }) => code !== undefined).map(({ name, code }) => [name, code]);

describe("coming back", { concurrency: 4 }, () => {
  test("a gateway that is killed and started again has its clients and their subscriptions back", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    await Promise.all([client.subscribe({ channel: "news" }), client.subscribe({ conversation: "c1" })]);
    for (const round of [1, 2]) {
      const ofRound = () => client.heard.filter(({ payload }) => payload?.round === round);
      for (const channel of ["news", "conv:c1"]) {
        await gateway.publish(channel, { type: "message.new", payload: { channel, round } });
      }
      await eventually("both have come", () => ofRound().length >= 2);
      await gateway.kill();
      await eventually("it waits", () => client.state.name !== "open");
      await gateway.start();
      await client.isOpen();
    }
    const opened = client.states.filter(({ name }) => name === "open").map(({ again }) => again);
    assert.deepEqual(opened, [false, true, true]);
    assert.equal(client.states.find(({ name }) => name === "waiting").code, 1006);
  });

  test("who is sent away by a drain comes back to the next node", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    await client.isOpen();
    await gateway.kill("SIGTERM");
    await eventually("it is told", () => codes(client).some(([, code]) => code === 1001));
    await gateway.start();
    await eventually("it is back", () => client.states.filter(({ name }) => name === "open").length === 2);
  });

  test("a token that expires is renewed in place", async (t) => {
    const gateway = await startGateway(t, { "auth.expiry_warning": `"5s"` });
    let tokens = 0;
    const client = gateway.client({ token: () => (tokens++, mint("ana", { seconds: 6 })) });
    const renewed = () => client.heard.filter(({ type }) => type === "auth.success");
    await eventually("it has renewed twice", () => renewed().length >= 2);
    assert.deepEqual(client.states.map(({ name }) => name), ["open"]);
    assert.equal(client.states[0].session.sessionId, (await client.hears("connected")).payload.session_id);
    assert.ok(tokens >= 3);
  });

  test("a token that has expired is replaced on the way back", async (t) => {
    const gateway = await startGateway(t);
    let tokens = 0;
    const token = () => {
      tokens += 1;
      // The renewal fails: only the way back can help.
      if (tokens === 2) throw new Error("the backend is away");
      return mint("ana", { seconds: tokens === 1 ? 4 : 3600 });
    };
    const client = gateway.client({ token });
    await eventually("it is back", () => client.states.filter(({ name }) => name === "open").length === 2);
    assert.deepEqual(codes(client), [["waiting", 4502]]);
  });

  test("a token that stays refused ends it, and says why", async (t) => {
    const gateway = await startGateway(t);
    const stale = gateway.client({ token: mint("ana", { seconds: -600 }) });
    const dynamic = gateway.client({ token: () => mint("ana", { seconds: -600 }) });
    for (const client of [stale, dynamic]) {
      const { code } = await client.isClosed();
      assert.equal(code, 4501);
      assert.equal((await client.hears("error")).payload.code, "expired");
    }
  });

  test("who is revoked comes back with a newer token, and with no other", async (t) => {
    const gateway = await startGateway(t);
    const issuedAt = () => Math.floor(Date.now() / 1000) + 2;
    const renewing = gateway.client({ token: () => mint("bob", { iat: issuedAt() }) });
    const staying = gateway.client({ token: mint("bob", { iat: issuedAt() - 60 }) });
    await Promise.all([renewing.isOpen(), staying.isOpen()]);
    await gateway.post(`/revoke/user/bob?until=${Math.floor(Date.now() / 1000) + 3600}`);
    assert.deepEqual((await staying.isClosed()).code, 4501);
    await eventually("it is back", () => renewing.states.filter(({ name }) => name === "open").length === 2);
  });

  test("who is disconnected by the operator stays away", async (t) => {
    const gateway = await startGateway(t);
    const client = gateway.client();
    await client.isOpen();
    await gateway.post("/disconnect/user/ana");
    assert.equal((await client.isClosed()).code, 4004);
    client.send({ type: "ping" });
    assert.deepEqual(client.dropped, [{ message: { type: "ping" }, reason: "closed" }]);
    await assert.rejects(client.subscribe({ channel: "news" }), { code: "closed" });
  });

  test("who says too much comes back later", async (t) => {
    const gateway = await startGateway(t, { "limits.messages": "10" });
    const client = gateway.client({ pace: { messages: 1_000 } });
    await client.isOpen();
    for (let n = 0; n < 11; n++) client.send({ type: "ping" });
    await eventually("it is back", () => client.states.filter(({ name }) => name === "open").length === 2);
    const waiting = client.states.find(({ name }) => name === "waiting");
    assert.equal(waiting.code, 4003);
    assert.ok(waiting.ms >= 50, `${waiting.ms}`);
  });

  test("a full gateway is tried again", async (t) => {
    const gateway = await startGateway(t, { "server.max_connections": "1" });
    const first = gateway.client();
    await first.isOpen();
    const second = gateway.client();
    await eventually("it has failed twice", () => second.states.filter(({ name }) => name === "waiting").length >= 2);
    first.close();
    await second.isOpen();
  });

  test("a user with too many connections is let in when one has gone", async (t) => {
    const gateway = await startGateway(t, { "limits.connections_per_user": "1" });
    const first = gateway.client();
    await first.isOpen();
    // Too long for a header: shown in a message, and refused there.
    const second = gateway.client({ token: () => mint("ana", { padding: "x".repeat(5_000) }) });
    const waiting = await eventually("it waits", () => second.states.find(({ name }) => name === "waiting"));
    assert.equal(waiting.code, 1013);
    assert.ok(waiting.ms >= 50, `${waiting.ms}`);
    first.close();
    await second.isOpen();
  });

  test("who could not show a token in time tries again once", async (t) => {
    const gateway = await startGateway(t, { "auth.deadline": `"200ms"` });
    class Mute extends WebSocket {
      send() {}
    }
    const client = gateway.client({ WebSocket: Mute, token: () => "é not for a header" });
    assert.equal((await client.isClosed()).code, 4500);
    assert.deepEqual(codes(client), [["waiting", 4500], ["closed", 4500]]);
  });

  test("a connection that has gone silent is given up", async (t) => {
    const gateway = await startGateway(t);
    let isDead = false;
    class Mortal extends WebSocket {
      send(data) {
        if (!isDead) super.send(data);
      }
    }
    const client = gateway.client({ WebSocket: Mortal, liveness: { pingMs: 100, silenceMs: 100 } });
    await client.hears("pong");
    assert.ok(client.latencyMs > 0);
    isDead = true;
    const waiting = await eventually("it is given up", () => client.states.find(({ name }) => name === "waiting"));
    assert.equal(waiting.reason, "no sign of life");
    isDead = false;
    await client.isOpen();
  });

  test("a backend that has no token is asked again", async (t) => {
    const gateway = await startGateway(t);
    let asked = 0;
    const token = () => (++asked < 3 ? Promise.reject(new Error("away")) : mint("ana"));
    const client = gateway.client({ token });
    await client.isOpen();
    assert.equal(asked, 3);
  });
});
