// The page of a sign-in window. Its address says what to show, as `?show=`: `add/PROVIDER`,
// `again/ACCOUNT`, `flow/ID`, `browser/ID`, `paste/ID`, or `trouble/ID/WHAT/HOST`.

import * as api from "./api.js";
import { fill, h, told } from "./dom.js";
import { signInView } from "./signin.js";

const main = document.getElementById("main");

function wantedOf(show) {
  const [what, first = "", ...rest] = show.split("/");
  switch (what) {
    case "add": return { provider: first };
    case "again": return { provider: first, account: [first, ...rest].join("/") };
    case "browser": return { flow: first, place: "browser" };
    case "paste": return { flow: first, paste: true };
    case "trouble": return { flow: first, trouble: { what: rest[0] || "", host: rest[1] || "" } };
    default: return { flow: first };
  }
}

function say(text) {
  fill(main, h("p", { class: "note bad", role: "alert" }, text),
    h("p", {}, "Close this window, and choose the account in Dragoman's menu again."));
}

async function start() {
  const wanted = wantedOf(new URLSearchParams(location.search).get("show") || "");
  api.onEnd(() => say("This window has been open too long."));
  try {
    await api.redeem();
    const known = await api.get("/admin/accounts");
    const flow = wanted.flow ? await api.get(`/admin/accounts/flows/${wanted.flow}`) : null;
    const provider = known.providers.find((one) => one.id === (flow ? flow.provider : wanted.provider));
    if (!provider) throw new Error("This service is not known here.");
    const again = wanted.account ? ` as ${wanted.account.split("/")[1]}` : "";
    const title = `Sign in to ${provider.title}${again}`;
    document.getElementById("title").textContent = title;
    document.title = `${title} · Dragoman`;
    await signInView(main, known, wanted, { done() {}, close() { window.close(); }, alone: true }).start();
  } catch (error) {
    say(told(error));
  }
}

start();
