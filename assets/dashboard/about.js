// What this program is, below the page: version, kind of build and commit, and where newer ones appear.

import { fill, h } from "./dom.js";

const KINDS = {
  source: "from source", wheel: "wheel", deb: "Debian package", image: "container image",
  windows: "Windows installer", macos: "macOS app", frozen: "frozen program",
};

/** Keep the line about the program up to date; nothing is asked for before a click. */
export function showAbout(app, place) {
  app.on("status", () => {
    const build = app.status && app.status.build;
    if (!build) return;
    fill(place, h("span", {}, `Dragoman ${build.version}`), h("span", {}, KINDS[build.kind] || build.kind),
      build.commit && h("span", {}, "commit ", h("code", {}, build.commit)),
      h("a", { href: app.status.releases, target: "_blank", rel: "noopener noreferrer" }, "Check for updates"));
  });
}
