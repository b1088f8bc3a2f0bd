/** What one token's layer decided: the scores of all experts, how sure it was, and the token's way through all layers. */

import { button, element } from "./element";
import type { Asked } from "./routing_asked";
import { colourOf } from "./routing_page";
import type { Steps } from "./routing_steps";
import { expertsText } from "./routing_tokens";
import type { RoutingScores } from "./shapes";
import { write } from "./token_strip";

export interface Detail {
  root: HTMLElement;
  update(): void;
}

/** So many experts have a line each; more of them are a picture, and the best are listed. */
const LINES = 16;
const BEST = 5;
const [WIDTH, HEIGHT] = [192, 44];

export function detail(page: Steps, asked: Asked, signal: AbortSignal): Detail {
  const root = element("div", "llama-nb-moe-detail");
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", "The token's experts");
  const title = element("div", "llama-nb-moe-token");
  const figures = element("div", "llama-nb-muted llama-nb-moe-figures");
  const canvas = document.createElement("canvas");
  const bars = element("div", "llama-nb-moe-scores");
  bars.setAttribute("role", "list");
  const way = element("div", "llama-nb-moe-way");
  way.setAttribute("role", "group");
  way.setAttribute("aria-label", "Its way through the layers");
  const hint = element("p", "llama-nb-muted", "No tokens yet.");
  root.append(title, figures, canvas, bars, way, hint);
  let drawn = "";
  let steps: HTMLButtonElement[] = [];

  const path = (position: number) => {
    const { layers = [], experts = 1 } = page.get("head");
    if (steps.length !== layers.length) {
      steps = layers.map((layer) => {
        const made = button("", "llama-nb-moe-step", () => page.toLayer(layer), signal);
        made.append(element("i", ""), element("b", ""));
        return made;
      });
      way.replaceChildren(...steps);
    }
    for (const [index, step] of steps.entries()) {
      const named = expertsText(page.routes, position, index);
      const [over, number] = step.children as unknown as [HTMLElement, HTMLElement];
      over.textContent = `L${layers[index]}`;
      number.textContent = named;
      const expert = page.routes.chosen(position, index);
      step.style.setProperty("--ln-expert", colourOf(expert, experts));
      step.setAttribute("aria-pressed", String(index === page.look.index));
      step.setAttribute("aria-label", `L${layers[index]}: expert ${named}`);
    }
  };
  const heading = (position: number) => {
    const { look, routes, texts } = page;
    const word = element("span", "llama-nb-chip");
    write(word, texts.text(position) ?? "…");
    word.classList.toggle("llama-nb-pill", texts.special(position));
    title.replaceChildren(word, element("span", "llama-nb-muted", `token ${position.toLocaleString("en")}`));
    const figure = (shade: "margin" | "entropy") =>
      `${shade} ${routes.value(shade, position, look.index).toFixed(2)}`;
    figures.textContent = `${figure("margin")} · ${figure("entropy")} nats`;
  };
  const draw = (position: number) => {
    const { look, routes, texts } = page;
    const { experts = 1, scores_kept: kept = true } = page.get("head");
    const found = kept ? asked.scores(look.layer, position) : undefined;
    const key = `${position} ${look.layer} ${routes.version} ${found !== undefined} ${texts.text(position)}`;
    if (key === drawn) return;
    drawn = key;
    heading(position);
    const many = experts > LINES;
    canvas.hidden = !(many && found);
    if (found && many) drawBars(canvas, found);
    bars.setAttribute("aria-busy", String(kept && !found));
    bars.replaceChildren(...lines(page, position, found, many));
    path(position);
  };
  return {
    root,
    update() {
      const position = page.look.hovered ?? page.look.token ?? resting(page);
      const here = page.routes.chosen(position, page.look.index) >= 0;
      for (const part of [title, figures, bars, way]) part.hidden = !here;
      if (!here) canvas.hidden = true;
      hint.hidden = here;
      if (here) draw(position);
      else drawn = "";
    },
  };
}

/** Without a choice: the newest token while the model writes, then the first that it wrote, else the first. */
function resting(page: Steps): number {
  const { growing, prompt = 0 } = page.get("head");
  const { start, stop } = page.routes;
  if (growing) return stop - 1;
  return start <= prompt && prompt < stop ? prompt : start;
}

/** A line an expert: all of them, or the best of many. Until scores have come, the chosen ones. */
function lines(
  page: Steps,
  position: number,
  found: RoutingScores | undefined,
  many: boolean,
): HTMLElement[] {
  const { experts = 1, gate } = page.get("head");
  const { routes, look } = page;
  const weights = new Map(found?.chosen ?? []);
  for (let rank = 0; rank < routes.k; rank += 1) {
    const expert = routes.chosen(position, look.index, rank);
    if (!weights.has(expert))
      weights.set(expert, rank ? Number.NaN : routes.value("weight", position, look.index));
  }
  const scores = found?.scores ?? [];
  let shown = [...(found && !many ? scores.keys() : weights.keys())];
  if (found && many) {
    const best = [...scores.keys()].sort((one, other) => (scores[other] ?? 0) - (scores[one] ?? 0));
    shown = best.filter((expert, rank) => rank < BEST || weights.has(expert));
  }
  const full = gate === "sigmoid" ? 1 : Math.max(...scores, 1e-9);
  return shown.map((expert) => {
    const score = scores[expert];
    const weight = weights.get(expert);
    const chosen = weight !== undefined;
    const made = element("div", "llama-nb-moe-score");
    made.setAttribute("role", "listitem");
    made.dataset.expert = String(expert);
    made.dataset.chosen = String(chosen);
    made.style.setProperty("--ln-expert", colourOf(expert, experts));
    const bar = element("i", "");
    bar.style.setProperty("--ln-part", `${(100 * (score ?? 0)) / full}%`);
    const value = score === undefined ? "" : score.toFixed(3);
    made.append(
      element("span", "", `E${expert}`),
      bar,
      element("b", "", value),
      element("span", "", chosen ? "●" : ""),
    );
    if (chosen && Number.isFinite(weight)) made.title = `chosen, routing weight ${weight?.toFixed(3)}`;
    const said = `expert ${expert}${value ? `: ${value}` : ""}${chosen ? ", chosen" : ""}`;
    made.setAttribute("aria-label", said);
    return made;
  });
}

/** The scores of many experts as one picture; the chosen ones in the accent's colour. */
function drawBars(canvas: HTMLCanvasElement, { scores, chosen }: RoutingScores): void {
  const scale = globalThis.devicePixelRatio || 1;
  canvas.width = WIDTH * scale;
  canvas.height = HEIGHT * scale;
  const context = canvas.getContext("2d");
  if (!context) return;
  const style = getComputedStyle(canvas);
  const of = new Set(chosen.map(([expert]) => expert));
  const full = Math.max(...scores, 1e-9);
  const wide = canvas.width / scores.length;
  for (const [expert, score] of scores.entries()) {
    context.fillStyle = style.getPropertyValue(of.has(expert) ? "--ln-accent" : "--ln-slate") || "#64748b";
    const high = Math.max(scale, (canvas.height * score) / full);
    context.fillRect(expert * wide, canvas.height - high, Math.max(1, wide * 0.8), high);
  }
}
