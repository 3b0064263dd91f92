// Asks a model with what Node 18 and later have: no packages.
const address = process.env.DRAGOMAN_URL ?? "http://localhost:8317";
const model = process.env.DRAGOMAN_MODEL ?? "demo-chat";
const key = process.env.DRAGOMAN_KEY ?? "none"; // not looked at for your own programs here

const reply = await fetch(`${address}/v1/chat/completions`, {
  method: "POST",
  headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
  body: JSON.stringify({ model, messages: [{ role: "user", content: "Say hello." }] }),
});
const answer = await reply.json();
if (!reply.ok) throw new Error(answer.error.message);
console.log(answer.choices[0].message.content);
console.log("served by", reply.headers.get("x-dragoman-route"));
