/**
 * Which layer is looked at, and the way to heads that do something: a score for all of them, the best ones first.
 *
 * The small grid has a row a layer and a column a head, the more the brighter.
 */

import { name } from "./attention_look";
import type { Host } from "./attention_more";
import { CIVIDIS, css } from "./colour_maps";
import { button, element, option } from "./element";
import type { AttentionHead, AttentionScore } from "./shapes";

export interface Find {
  root: HTMLElement;
  /** The score that orders the heads; null for their numbers. */
  score(): AttentionScore | null;
  update(head: AttentionHead, layer: number, number: number): void;
}

const NONE = "";

export function find(says: Pick<Host, "go" | "ask" | "draw">, signal: AbortSignal): Find {
  const root = element("div", "llama-nb-att-find");
  const layers = document.createElement("select");
  layers.setAttribute("aria-label", "Layer");
  let now: { head: AttentionHead; layer: number; number: number } = { head: {}, layer: 0, number: 0 };
  const turn = (by: number) => {
    const all = now.head.layers ?? [];
    const next = all[all.indexOf(now.layer) + by];
    if (next !== undefined) says.go(next, now.number);
  };
  const earlier = button("‹", "llama-nb-att-step", () => turn(-1), signal);
  earlier.setAttribute("aria-label", "Earlier layer");
  const later = button("›", "llama-nb-att-step", () => turn(1), signal);
  later.setAttribute("aria-label", "Later layer");
  layers.addEventListener("change", () => says.go(Number(layers.value), now.number), { signal });
  const stepper = element("div", "llama-nb-att-stepper");
  stepper.append(earlier, layers, later);

  const sort = document.createElement("select");
  sort.setAttribute("aria-label", "Find heads by");
  const grid = document.createElement("canvas");
  grid.className = "llama-nb-att-grid";
  const rank = rankLine(
    () => now,
    () => chosen(),
    says,
    signal,
  );
  const chosen = () => now.head.scores?.find((score) => score.name === sort.value) ?? null;
  sort.addEventListener(
    "change",
    () => {
      if (sort.value !== NONE && now.head.scored === "none") says.ask({ kind: "scores" });
      draw();
      says.draw();
      const best = chosen() ? ranking(now.head, chosen() as AttentionScore)[0] : undefined;
      if (best) says.go(best.layer, best.head);
    },
    { signal },
  );
  const cellAt = (event: MouseEvent) => {
    const box = grid.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * (now.head.layers?.length ?? 1));
    const head = Math.floor(((event.clientX - box.left) / box.width) * (now.head.heads ?? 1));
    return { layer: now.head.layers?.[row], head };
  };
  grid.addEventListener(
    "click",
    (event) => {
      const { layer, head } = cellAt(event);
      if (layer !== undefined) says.go(layer, head);
    },
    { signal },
  );
  grid.addEventListener(
    "pointermove",
    (event) => {
      const { layer, head } = cellAt(event);
      const value = layer === undefined ? null : scoreAt(now.head, chosen(), layer, head);
      grid.title = layer === undefined ? "" : `${name(layer, head)}: ${value ?? "none"}`;
    },
    { signal },
  );
  root.append(stepper, sort, grid, rank.root);

  let offered = "";
  const draw = () => {
    const score = chosen();
    sort.title = score?.meaning ?? "Heads in the order of their numbers";
    grid.hidden = !score;
    if (score) drawGrid(grid, now.head, score, now.layer, now.number);
    rank.update();
  };
  return {
    root,
    score: chosen,
    update(head, layer, number) {
      now = { head, layer, number };
      const key = JSON.stringify([head.layers, head.kinds, head.scored, head.scores?.map((one) => one.name)]);
      if (key !== offered) offer(head, layers, sort);
      offered = key;
      layers.value = String(layer);
      const all = head.layers ?? [];
      earlier.disabled = layer === all[0];
      later.disabled = layer === all[all.length - 1];
      layers.title = `${all.length} layers; this one attends ${head.kinds?.[all.indexOf(layer)] ?? "full"}`;
      draw();
    },
  };
}

/** How this head stands in the chosen score, with the way to the next better and worse one. */
function rankLine(
  now: () => { head: AttentionHead; layer: number; number: number },
  chosen: () => AttentionScore | null,
  says: Pick<Host, "go" | "ask" | "draw">,
  signal: AbortSignal,
): { root: HTMLElement; update(): void } {
  const root = element("div", "llama-nb-att-rank");
  const said = element("span", "");
  const go = (by: number) => {
    const score = chosen();
    if (!score) return;
    const all = ranking(now().head, score);
    const at = all.findIndex(({ layer, head }) => layer === now().layer && head === now().number);
    const next = all[at + by];
    if (next) says.go(next.layer, next.head);
  };
  const better = button("‹", "llama-nb-att-step", () => go(-1), signal);
  better.setAttribute("aria-label", "Head with the next higher score");
  const worse = button("›", "llama-nb-att-step", () => go(1), signal);
  worse.setAttribute("aria-label", "Head with the next lower score");
  root.append(better, said, worse);
  return {
    root,
    update() {
      const score = chosen();
      root.hidden = !score;
      if (!score) return;
      const all = ranking(now().head, score);
      const at = all.findIndex(({ layer, head }) => layer === now().layer && head === now().number);
      const value = all[at]?.value;
      said.textContent = at < 0 ? "no score" : `${value} · ${at + 1} of ${all.length}`;
      said.title = `${name(now().layer, now().number)} is number ${at + 1} of ${all.length}. ${score.meaning}`;
      better.disabled = at <= 0;
      worse.disabled = at < 0 || at === all.length - 1;
    },
  };
}

function scoreAt(head: AttentionHead, score: AttentionScore | null, layer: number, number: number) {
  return score?.values[(head.layers ?? []).indexOf(layer)]?.[number] ?? null;
}

/** All heads that have a score, the highest first. */
export function ranking(head: AttentionHead, score: AttentionScore) {
  const found = (head.layers ?? []).flatMap((layer, row) =>
    (score.values[row] ?? []).flatMap((value, number) =>
      value === null ? [] : [{ layer, head: number, value }],
    ),
  );
  return found.sort((a, b) => b.value - a.value);
}

function offer(head: AttentionHead, layers: HTMLSelectElement, sort: HTMLSelectElement): void {
  const kinds = head.kinds ?? [];
  const kept = sort.value;
  layers.replaceChildren(
    ...(head.layers ?? []).map((layer, at) => {
      const kind = kinds[at] && kinds[at] !== "full" ? ` · ${kinds[at]}` : "";
      return option(`Layer ${layer}${kind}`, String(layer));
    }),
  );
  const waiting = head.scored === "running" ? "Scoring heads …" : "Find heads …";
  const first = head.scores?.length ? "Heads in order" : waiting;
  sort.replaceChildren(
    option(first, NONE),
    ...(head.scores ?? []).map((score) => option(`By ${score.label}`, score.name)),
  );
  sort.value = head.scores?.some((score) => score.name === kept) ? kept : NONE;
  sort.disabled = head.scored === "running";
  if (head.scored === "none" && !head.scores?.length) sort.append(option("Score all heads", "scores"));
}

/** Draw with as many pixels as make cells square on a common screen. */
function drawGrid(
  grid: HTMLCanvasElement,
  head: AttentionHead,
  score: AttentionScore,
  layer: number,
  number: number,
): void {
  const layers = head.layers ?? [];
  const cell = Math.max(6, Math.floor(256 / Math.max(head.heads ?? 1, 2 * layers.length)));
  grid.width = cell * (head.heads ?? 1);
  grid.height = cell * layers.length;
  const context = grid.getContext("2d");
  if (!context) return;
  const all = score.values.flat().filter((value) => value !== null);
  const low = Math.min(...all);
  const range = Math.max(...all) - low || 1;
  for (const [row, values] of score.values.entries())
    for (const [column, value] of values.entries()) {
      if (value === null) continue;
      context.fillStyle = css(CIVIDIS, (value - low) / range);
      context.fillRect(column * cell, row * cell, cell - 1, cell - 1);
    }
  context.lineWidth = 3;
  context.strokeStyle = getComputedStyle(grid).getPropertyValue("--ln-accent") || "#c65d2e";
  context.strokeRect(number * cell + 1, layers.indexOf(layer) * cell + 1, cell - 3, cell - 3);
}
