// Three turns on one WebSocket with undici, which is what Node has inside: KEY MODEL MODE.
const { WebSocket } = require("undici");

const [key, model] = process.argv.slice(2);
const headers = { authorization: `Bearer ${key}` };
const socket = new WebSocket("wss://api.openai.com/v1/responses", { headers });
let turn = 0;
const ask = () =>
  socket.send(JSON.stringify({ type: "response.create", model: `${model}-${turn}`, input: "PROMPT-CANARY-51c9" }));

console.log(process.pid);
socket.onopen = ask;
socket.onerror = () => process.exit(1);
socket.onmessage = (event) => {
  if (JSON.parse(event.data).type !== "response.completed") return;
  turn += 1;
  if (turn < 3) ask();
  else socket.close();
};
