// One call with the Anthropic SDK: KEY MODEL MODE.
const { Anthropic } = require("@anthropic-ai/sdk");

const [apiKey, model, mode] = process.argv.slice(2);
const message = { model, max_tokens: 64, messages: [{ role: "user", content: "PROMPT-CANARY-51c9" }] };

async function main() {
  const client = new Anthropic({ apiKey });
  if (mode === "plain") {
    await client.messages.create(message);
  } else if (mode === "stream") {
    await client.messages.stream(message).finalMessage();
  } else {
    throw new Error(`unknown mode ${mode}`);
  }
}

console.log(process.pid);
main().then(() => process.exit(0));
