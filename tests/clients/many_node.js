// Many connections at once from one process: STACK ROUNDS, one key a line on standard input.
//
// Stack "own": every key has a connection of its own, open from the first round to the last.
// Stack "pool": node's own fetch and its shared pool, so one connection carries several keys in turn.
// Stack "h2": all keys on one HTTP/2 connection, each request a stream of its own.
// The model name is many-ROUND-INDEX, so each request can be told from all others.
const { OpenAI } = require("openai");
const undici = require("undici");

const [stack, rounds] = [process.argv[2], Number(process.argv[3])];
const keys = require("fs").readFileSync(0, "utf8").split("\n").filter(Boolean);

// Looks like the SDK's client; the SDK has no HTTP/2 of its own.
function http2Client(apiKey) {
  const create = (request) => new Promise((resolve, reject) => {
    const stream = shared.request({
      ":method": "POST",
      ":path": "/v1/chat/completions",
      authorization: `Bearer ${apiKey}`,
      "content-type": "application/json",
      "user-agent": "node-http2",
    });
    stream.on("response", (headers) => headers[":status"] === 200 || reject(new Error(headers[":status"])));
    stream.on("error", reject).on("end", () => resolve([])).resume();
    stream.end(JSON.stringify(request));
  });
  return { chat: { completions: { create } } };
}

const shared = stack === "h2" ? require("http2").connect("https://api.openai.com") : undefined;

function client(apiKey) {
  if (stack === "h2") return http2Client(apiKey);
  if (stack === "pool") return new OpenAI({ apiKey, maxRetries: 0 });
  const dispatcher = new undici.Agent({ connections: 1, keepAliveTimeout: 60000 });
  return new OpenAI({ apiKey, maxRetries: 0, fetch: undici.fetch, fetchOptions: { dispatcher } });
}

async function call(client, index, turn) {
  const content = "PROMPT-CANARY-51c9 " + "x".repeat((index * 37) % 3000);
  const request = { model: `many-${turn}-${index}`, messages: [{ role: "user", content }] };
  if (index % 2) return client.chat.completions.create(request);
  const options = { stream: true, stream_options: { include_usage: true } };
  for await (const _ of await client.chat.completions.create({ ...request, ...options }));
}

async function main() {
  const clients = keys.map(client);
  for (let turn = 0; turn < rounds; turn++) {
    await Promise.all(clients.map((one, index) => call(one, index, turn)));
  }
}

console.log(process.pid);
main().then(() => process.exit(0));
