// Writes what TypeScript must accept if the types are those of the routes: `node types.mjs ROUTES.json FILE`.
//
// The first is what `ringway routes --json` prints: all routes, and what backends publish.

import { readFile, writeFile } from "node:fs/promises";

const [table, file] = process.argv.slice(2);
const { routes, events } = JSON.parse(await readFile(table, "utf8"));

const union = (names) => names.map((name) => JSON.stringify(name)).join(" | ") || "never";
const templates = ({ reply, message, start, stop }) => [reply, message, start, stop].filter(Boolean).map(JSON.parse);

function ofRoute(route) {
  const type = JSON.stringify(route.type);
  const named = [route.when, route.field, ...Object.keys(route.fields ?? {}), ...Object.keys(route.optional ?? {})];
  const fields = union([...new Set(named.filter(Boolean))]);
  const lines = [`has<Having<ClientMessages[${type}], ${fields}>>();`];
  if (route.example) lines.push(`client<${type}>(${route.example});`);
  if (route.reply) lines.push(`has<Same<Answers[${type}], ${JSON.stringify(JSON.parse(route.reply).type)}>>();`);
  return [...lines, ...templates(route).flatMap(ofTemplate)];
}

/** A message with places for values: its fields, and those of its payload. */
function ofTemplate({ type, payload, ...fields }) {
  const message = `ServerMessages[${JSON.stringify(type)}]`;
  const lines = [`has<Having<${message}, ${union([...Object.keys(fields), ...(payload ? ["payload"] : [])])}>>();`];
  if (payload) lines.push(`has<Having<Exclude<${message}["payload"], undefined>, ${union(Object.keys(payload))}>>();`);
  return lines;
}

const lines = [
  `import type { Answers, ClientMessage, ClientMessages, ServerMessage, ServerMessages } from "ringway-client";`,
  ``,
  `/** The members of a union that have all these fields. */`,
  `type Having<M, K> = M extends unknown ? ([K] extends [keyof M] ? M : never) : never;`,
  `type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;`,
  `declare function has<T>(..._: [T] extends [never] ? ["missing"] : []): void;`,
  `declare function client<T extends keyof ClientMessages>(message: ClientMessage<T>): void;`,
  `declare function server<T extends keyof ServerMessages>(message: ServerMessage<T>): void;`,
  ``,
  ...routes.flatMap(ofRoute),
  ...events.map(({ type, example }) => `server<${JSON.stringify(type)}>(${example});`),
  ``,
  `// There is a route for whatever can be sent, and an answer for whatever can be asked.`,
  `has<Same<keyof ClientMessages, ${union([...new Set(routes.map(({ type }) => type))])}>>();`,
  `has<Same<keyof Answers, ${union([...new Set(routes.filter(({ reply }) => reply).map(({ type }) => type))])}>>();`,
];
await writeFile(file, lines.join("\n") + "\n");
console.log(`${routes.length} routes, ${events.length} events`);
