// One question to a model, asked from the page over the very route that agents use.

import * as api from "./api.js";

/** Ask, and give each piece of the answer to `take` as it comes.
 * Resolves to what is known in the end: `route` (as people read it), `first_ms` (null when nothing
 * came) and `took_ms`. Rejects with what went wrong, an `AbortError` after `signal` was used. */
export async function ask(model, prompt, signal, take) {
  const begun = performance.now();
  const since = () => Math.round(performance.now() - begun);
  const found = { route: "", first_ms: null, took_ms: 0 };
  const reply = await api.send("POST", "/v1/chat/completions",
    { model, stream: true, messages: [{ role: "user", content: prompt }] }, { signal });
  found.route = (reply.headers.get("x-dragoman-route") || "").replaceAll("; ", " · ").replaceAll("=", " ");
  for await (const line of api.lines(reply)) {
    const piece = pieceOf(line.trim());
    if (!piece) continue;
    if (found.first_ms === null) found.first_ms = since();
    take(piece);
  }
  found.took_ms = since();
  return found;
}

/** Return the text that a line of the stream adds; what has none adds nothing. */
function pieceOf(line) {
  if (!line.startsWith("data: {")) return "";
  const chunk = JSON.parse(line.slice(6));
  if (chunk.error) throw new Error(chunk.error.message);
  return (chunk.choices || []).map((choice) => {
    const call = (choice.delta.tool_calls || [])[0];
    return choice.delta.content || (call && call.function && call.function.name ? `[calls ${call.function.name}]` : "");
  }).join("");
}
