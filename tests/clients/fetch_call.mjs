// One call with the runtime's own fetch (Bun, Deno, Node): KEY MODEL MODE.
const args = globalThis.Deno ? Deno.args : process.argv.slice(2);
const pid = globalThis.Deno ? Deno.pid : process.pid;
const [key, model, mode] = args;
const body = { model, messages: [{ role: "user", content: "PROMPT-CANARY-51c9" }] };
if (mode === "stream") Object.assign(body, { stream: true, stream_options: { include_usage: true } });

console.log(pid);
const response = await fetch("https://api.openai.com/v1/chat/completions", {
  method: "POST",
  headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
  body: JSON.stringify(body),
});
if (!response.ok) throw new Error(`status ${response.status}`);
await response.text();
