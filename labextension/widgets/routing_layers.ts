/** The line above the tokens: the layer, play through the layers, what shades a token, and which tokens these are. */

import { button, element } from "./element";
import { type Steps, WINDOW } from "./routing_steps";
import type { RoutingShade } from "./shapes";

export interface Layers {
  root: HTMLElement;
  /** The tokens that the page does not have, and how to get them. */
  pages: HTMLElement;
  update(): void;
  /** Play, or stop playing. */
  play(): void;
}

const STEP_MS = 900;
const SHADES: [RoutingShade, string][] = [
  ["margin", "Strong colour: the chosen expert is far ahead of the next"],
  ["entropy", "Strong colour: the scores favour few experts (low entropy)"],
  ["weight", "Strong colour: the expert's answer counts much (routing weight)"],
];

export function layers(page: Steps, signal: AbortSignal): Layers {
  const root = element("div", "llama-nb-moe-layerbar");
  const slider = element("input", "llama-nb-moe-slider") as HTMLInputElement;
  Object.assign(slider, { type: "range", min: "0", step: "1" });
  slider.setAttribute("aria-label", "Layer");
  const name = element("output", "llama-nb-moe-layer");
  let playing = 0;
  const halt = () => {
    window.clearInterval(playing);
    playing = 0;
    page.draw();
  };
  const numbers = () => page.get("head").layers ?? [];
  const step = () => {
    const next = (page.look.index + 1) % Math.max(1, numbers().length);
    page.toLayer(numbers()[next] ?? -1);
  };
  const play = () => {
    if (playing) return halt();
    playing = window.setInterval(() => (page.look.pane === "tokens" ? step() : halt()), STEP_MS);
    step();
    page.draw();
  };
  signal.addEventListener("abort", () => window.clearInterval(playing));
  const player = button("", "llama-nb-moe-play", play, signal);
  slider.addEventListener(
    "input",
    () => {
      if (playing) halt();
      page.toLayer(numbers()[Number(slider.value)] ?? -1);
    },
    { signal },
  );
  slider.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== " ") return;
      play();
      event.preventDefault();
    },
    { signal },
  );
  const shades = element("span", "llama-nb-moe-shades");
  shades.setAttribute("role", "group");
  shades.setAttribute("aria-label", "Shade by");
  shades.append(element("span", "llama-nb-muted", "shade"));
  const choices = SHADES.map(([by, meaning]) => {
    const made = button(by, "", () => page.shade(by), signal);
    made.title = meaning;
    shades.append(made);
    return made;
  });
  root.append(player, slider, name, shades);
  const { root: pages, update: turnPages } = windows(page, signal);
  return {
    ...{ root, pages, play },
    update() {
      const count = numbers().length;
      slider.max = String(Math.max(0, count - 1));
      slider.value = String(page.look.index);
      slider.disabled = player.disabled = count < 2;
      slider.setAttribute("aria-valuetext", `layer ${page.look.layer}`);
      name.textContent = page.look.layer < 0 ? "" : `L${page.look.layer}`;
      player.textContent = playing ? "❚❚" : "▶";
      player.setAttribute("aria-label", playing ? "Stop" : "Play through the layers");
      for (const choice of choices)
        choice.setAttribute("aria-pressed", String(choice.textContent === page.look.shade));
      turnPages();
    },
  };
}

/** Ways to the tokens that are not in the page. */
function windows(page: Steps, signal: AbortSignal) {
  const root = element("div", "llama-nb-moe-pages");
  const before = button("‹", "", () => page.toWindow(page.routes.start - WINDOW), signal);
  const after = button("›", "", () => page.toWindow(page.routes.stop), signal);
  before.setAttribute("aria-label", "Earlier tokens");
  after.setAttribute("aria-label", "Later tokens");
  const which = element("span", "llama-nb-muted");
  const to = element("input", "") as HTMLInputElement;
  Object.assign(to, { type: "number", min: "0", placeholder: "token" });
  to.setAttribute("aria-label", "Go to the token with this number");
  const go = () => {
    if (to.value !== "" && Number.isFinite(to.valueAsNumber)) page.toToken(to.valueAsNumber);
  };
  to.addEventListener("change", go, { signal });
  to.addEventListener("keydown", (event) => event.key === "Enter" && go(), { signal });
  root.append(before, which, after, to);
  const update = () => {
    const { tokens = 0 } = page.get("head");
    const { start, stop } = page.routes;
    root.hidden = start === 0 && stop >= tokens;
    before.disabled = start === 0;
    after.disabled = stop >= tokens;
    to.max = String(tokens - 1);
    const [first, last, all] = [start, stop - 1, tokens].map((count) => count.toLocaleString("en"));
    which.textContent = `tokens ${first} to ${last} of ${all}`;
  };
  return { root, update };
}
