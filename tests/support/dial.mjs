// A client that comes through a proxy with TLS: dial.mjs URL TOKEN SOURCE-ADDRESS CA-FILE. Prints the status of the
// upgrade, then "ping" for every ping and each message, and at the end the close code. Subscribes to conv:c1.
import { readFileSync } from "node:fs";
import { WebSocket } from "ws";

const [url, token, localAddress, ca] = process.argv.slice(2);
const headers = { "X-Forwarded-For": "198.51.100.7", Forwarded: "for=198.51.100.7" };
const socket = new WebSocket(url, ["ringway.v1", `bearer.${token}`], { localAddress, headers, ca: readFileSync(ca) });

socket.on("upgrade", (answer) => console.log(answer.statusCode));
socket.on("unexpected-response", (request, answer) => {
  console.log(answer.statusCode);
  request.destroy();
});
socket.on("open", () => socket.send('{"type":"subscribe","channels":["conv:c1"]}'));
socket.on("ping", () => console.log("ping"));
socket.on("message", (data) => console.log(String(data)));
socket.on("close", (code) => console.log(`closed ${code}`));
socket.on("error", (error) => console.log(`error ${error.message}`));
