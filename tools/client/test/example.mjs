// Runs the example of the README against a gateway: `node example.mjs FILE`. Ends when it has said what it should.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { WebSocket, eventually, mint, startGateway } from "./gateway.mjs";

// What the README says to pass where the runtime has none of its own.
globalThis.WebSocket ??= WebSocket;

const file = process.argv[2];

test("the example connects, talks and listens", async (t) => {
  const gateway = await startGateway(t);
  const tokens = createServer((_, response) => response.end(mint("ana"))).listen(0, "127.0.0.1");
  await once(tokens, "listening");
  t.after(() => tokens.closeAllConnections());
  t.after(() => tokens.close());
  const text = await readFile(file, "utf8");
  const [before, theirs] = ["ws://127.0.0.1:4000/ws", "http://127.0.0.1:3000"];
  assert.ok(text.includes(before) && text.includes(theirs));
  const here = text.replace(before, gateway.url).replace(theirs, `http://127.0.0.1:${tokens.address().port}`);
  // So that it can be ended.
  await writeFile(file, `${here}\nexport { ringway };\n`);
  const said = [];
  t.mock.method(console, "log", (line) => said.push(line));
  const { ringway } = await import(pathToFileURL(file));
  t.after(() => ringway.close());
  await gateway.publish("conv:c1", { type: "message.new", payload: { message: { content: "Good morning" } } });
  await gateway.post("/broadcast/user/ana", { type: "notification", id: "n1", title: "Hi" });
  for (const line of ["open", "ana: Hello!", "Good morning", "Hi"]) {
    await eventually(`it says ${line}`, () => said.includes(line));
  }
  assert.ok(said.some((line) => line.startsWith("sent as ")), `${said}`);
});
