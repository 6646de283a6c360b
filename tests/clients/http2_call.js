// One chat call over HTTP/2 with undici: KEY MODEL MODE.
const undici = require("undici");

const [key, model, mode] = process.argv.slice(2);
const dispatcher = new undici.Agent({ allowH2: true });
const stream = mode === "stream" ? { stream: true, stream_options: { include_usage: true } } : {};

async function main() {
  const response = await undici.fetch("https://api.openai.com/v1/chat/completions", {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ model, messages: [{ role: "user", content: "PROMPT-CANARY-51c9" }], ...stream }),
    dispatcher,
  });
  if (!response.ok) throw new Error(`status ${response.status}`);
  await response.text();
}

console.log(process.pid);
main().then(() => process.exit(0));
