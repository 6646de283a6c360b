// One call with the openai SDK: KEY MODEL MODE.
const { OpenAI } = require("openai");

const [apiKey, model, mode] = process.argv.slice(2);
const messages = [{ role: "user", content: "PROMPT-CANARY-51c9" }];

async function main() {
  const client = new OpenAI({ apiKey });
  if (mode === "plain") {
    await client.chat.completions.create({ model, messages });
  } else if (mode === "stream") {
    const options = { stream: true, stream_options: { include_usage: true } };
    for await (const _ of await client.chat.completions.create({ model, messages, ...options }));
  } else if (mode === "responses") {
    await client.responses.create({ model, input: "PROMPT-CANARY-51c9" });
  } else {
    throw new Error(`unknown mode ${mode}`);
  }
}

console.log(process.pid);
main().then(() => process.exit(0));
