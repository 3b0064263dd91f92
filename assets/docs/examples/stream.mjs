// Shows a model's answer while it is written, with what Node 18 and later have: no packages.
const address = process.env.DRAGOMAN_URL ?? "http://localhost:8317";
const model = process.env.DRAGOMAN_MODEL ?? "demo-chat";
const key = process.env.DRAGOMAN_KEY ?? "none"; // not looked at for your own programs here

// Yields the data of each event; an event ends with an empty line.
async function* events(body) {
  let held = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    held += text;
    const pieces = held.split(/\r?\n\r?\n/);
    held = pieces.pop();
    for (const piece of pieces) {
      const lines = piece.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}

const reply = await fetch(`${address}/v1/chat/completions`, {
  method: "POST",
  headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
  body: JSON.stringify({
    model,
    stream: true,
    messages: [{ role: "user", content: "Say hello." }],
  }),
});
if (!reply.ok) throw new Error((await reply.json()).error.message);
for await (const data of events(reply.body)) {
  if (data === "[DONE]") break;
  const chunk = JSON.parse(data);
  if (chunk.error) throw new Error(chunk.error.message); // the service failed in the middle
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
process.stdout.write("\n");
