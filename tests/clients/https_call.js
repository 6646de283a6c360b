// One chat call with Node's own https module: KEY MODEL MODE.
const https = require("node:https");

const [key, model, mode] = process.argv.slice(2);
const stream = mode === "stream" ? { stream: true, stream_options: { include_usage: true } } : {};
const body = JSON.stringify({ model, messages: [{ role: "user", content: "PROMPT-CANARY-51c9" }], ...stream });
const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };

console.log(process.pid);
const request = https.request("https://api.openai.com/v1/chat/completions", { method: "POST", headers }, (response) => {
  if (response.statusCode !== 200) process.exit(1);
  response.resume();
});
request.end(body);
