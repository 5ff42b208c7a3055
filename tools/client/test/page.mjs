// Serves a page that uses the library as a browser does: `node page.mjs`. Prints where.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const PAGE = `<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<p id="states"></p>
<p id="heard"></p>
<p id="answer"></p>
<script type="module">
  import { Ringway } from "/dist/index.js";
  const { gateway, token } = Object.fromEntries(new URLSearchParams(location.search));
  const add = (id, text) => { document.getElementById(id).append(text + " "); };
  const ringway = new Ringway({
    url: gateway,
    token: () => token,
    delays: { firstMs: 20, mostMs: 100 },
    onState: ({ name, code = "" }) => add("states", name + code),
  });
  ringway.on("message.new", ({ payload }) => add("heard", payload.content));
  ringway.subscribe({ conversation: "c1" });
  ringway.request({ type: "ping" }).then(({ type }) => add("answer", type));
  window.ringway = ringway;
</script>
`;

const server = createServer(async (request, response) => {
  const [, folder, name] = request.url.split("/");
  const isFile = folder === "dist" && /^\w+\.js$/.test(name);
  const body = isFile ? await readFile(new URL(`../dist/${name}`, import.meta.url)) : PAGE;
  response.writeHead(200, { "content-type": isFile ? "text/javascript" : "text/html" }).end(body);
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
