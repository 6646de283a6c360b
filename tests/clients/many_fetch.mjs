// Many connections at once from one process, by the runtime's own fetch (Bun, Deno): STACK ROUNDS, one key a line on
// standard input.
//
// In Deno every key has a connection of its own; Bun opens one for each request under way, and keys take turns on them.
// The model name is many-ROUND-INDEX, so each request can be told from all others.
import { readFileSync } from "node:fs";

const args = globalThis.Deno ? Deno.args : process.argv.slice(2);
const rounds = Number(args[1]);
const keys = readFileSync(0, "utf8").split("\n").filter(Boolean);
const clients = keys.map(() => globalThis.Deno?.createHttpClient({}));

async function call(key, index, turn) {
  const content = "PROMPT-CANARY-51c9 " + "x".repeat((index * 37) % 3000);
  const body = { model: `many-${turn}-${index}`, messages: [{ role: "user", content }] };
  if (index % 2 === 0) Object.assign(body, { stream: true, stream_options: { include_usage: true } });
  const response = await fetch("https://api.openai.com/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
    body: JSON.stringify(body),
    client: clients[index],
  });
  if (!response.ok) throw new Error(`status ${response.status}`);
  await response.text();
}

console.log(globalThis.Deno ? Deno.pid : process.pid);
for (let turn = 0; turn < rounds; turn++) {
  await Promise.all(keys.map((key, index) => call(key, index, turn)));
}
clients.forEach((client) => client?.close());
