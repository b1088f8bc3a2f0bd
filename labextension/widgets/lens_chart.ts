/**
 * A position's way through the layers: how likely its tokens become, and how far each layer is from the last.
 *
 * Two drawings over one axis of layers: they have different units, and lines over two scales would cross for nothing.
 */

import { element } from "./element";
import type { LensColumn } from "./lens_cells";
import { svg } from "./svg";
import { nats, visible } from "./token_strip";

export interface Chart {
  root: HTMLElement;
  update(layers: string[], column: LensColumn, row: number): void;
}

const SIZE = { width: 300, height: 132 };
const LEFT = 34;
const RIGHT = 8;
const UPPER = { top: 8, bottom: 66 };
const LOWER = { top: 78, bottom: 114 };
const LONGEST = 14; // characters of a token in the legend
type Band = typeof UPPER;
type Point = [number, number];

export function lensChart(pick: (row: number) => void, signal: AbortSignal): Chart {
  const root = element("div", "llama-nb-lens-chart");
  const keys = element("div", "llama-nb-lens-keys");
  const drawing = svg("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img" });
  root.append(keys, drawing);
  let rows = 0;
  drawing.addEventListener(
    "click",
    (event) => {
      const box = drawing.getBoundingClientRect();
      const x = ((event.clientX - box.left) / (box.width || 1)) * SIZE.width;
      const share = (x - LEFT) / (SIZE.width - LEFT - RIGHT);
      if (rows > 1) pick(Math.min(rows - 1, Math.max(0, Math.round(share * (rows - 1)))));
    },
    { signal },
  );
  return {
    root,
    update(layers, column, row) {
      rows = layers.length;
      keys.replaceChildren(...keysOf(column));
      drawing.setAttribute("aria-label", summary(layers, column));
      drawing.replaceChildren(...draw(layers, column, row));
    },
  };
}

/** The end of the axis of divergences: the first round value that holds the largest. */
export function klEnd(largest: number): number {
  if (!(largest > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(largest));
  return power * ([1, 2, 5, 10].find((step) => largest <= step * power * 1.0001) ?? 10);
}

function draw(layers: string[], column: LensColumn, row: number): SVGElement[] {
  const x = (depth: number) => LEFT + (depth / Math.max(1, layers.length - 1)) * (SIZE.width - LEFT - RIGHT);
  const y = (value: number, end: number, band: Band) =>
    band.bottom - (Math.min(value, end) / end) * (band.bottom - band.top);
  // What enters the first layer is mostly the token itself, ten times as far away: it may stand beyond the axis.
  const end = klEnd(Math.max(...column.cells.slice(1).map((cell) => cell.kl)));
  const points = (values: number[], high: number, band: Band): Point[] =>
    values.map((value, depth) => [x(depth), y(value, high, band)]);
  const final = points(
    column.cells.map((cell) => cell.final),
    1,
    UPPER,
  );
  const kl = points(
    column.cells.map((cell) => cell.kl),
    end,
    LOWER,
  );
  const made: SVGElement[] = [
    svg("line", { class: "llama-nb-lens-here", x1: x(row), x2: x(row), y1: UPPER.top, y2: LOWER.bottom }),
    ...axis(UPPER, ["0", "1"], "p"),
    ...axis(LOWER, ["0", String(Number(end.toPrecision(2)))], "KL"),
    ...names(layers, x, row),
  ];
  if (separate(column)) {
    const next = points(
      column.cells.map((cell) => cell.next),
      1,
      UPPER,
    );
    made.push(path(next, "next"), ...dots(next, "next", row));
  }
  made.push(path(final, "final"), ...dots(final, "final", row));
  made.push(path(kl, "kl"), ...dots(kl, "kl", row));
  column.cells.forEach((cell, depth) => {
    if (cell.kl > end) made.push(beyond(x(depth), LOWER.top, cell.kl));
  });
  return made;
}

/** Whether the text goes on with another token than the model says. */
function separate(column: LensColumn): boolean {
  return column.ahead !== null && column.cells[column.cells.length - 1]?.nextRank !== 1;
}

function axis(band: Band, [low, high]: [string, string], name: string): SVGElement[] {
  const common = { x1: LEFT, x2: SIZE.width - RIGHT, class: "llama-nb-lens-rule" };
  const text = { x: LEFT - 6, "text-anchor": "end", class: "llama-nb-lens-tick" };
  return [
    svg("line", { ...common, y1: band.bottom, y2: band.bottom }),
    svg("line", { ...common, y1: band.top, y2: band.top }),
    svg("text", { ...text, y: band.bottom + 3 }, low),
    svg("text", { ...text, y: band.top + 4 }, high),
    svg("text", { ...text, y: (band.top + band.bottom) / 2 + 3.5, class: "llama-nb-lens-axis" }, name),
  ];
}

function names(layers: string[], x: (depth: number) => number, row: number): SVGElement[] {
  const last = layers.length - 1;
  return named(last, row).map((depth) => {
    const [anchor, shift] = depth === 0 ? ["start", -6] : depth === last ? ["end", 6] : ["middle", 0];
    const className = depth === row ? "llama-nb-lens-tick llama-nb-lens-now" : "llama-nb-lens-tick";
    const at = { x: x(depth) + Number(shift), y: SIZE.height - 5, "text-anchor": String(anchor) };
    return svg("text", { ...at, class: className }, depth === 0 ? "embed" : layers[depth]);
  });
}

/** The depths that are named on the axis: the one that is looked at, the ends, and every few between them. */
export function named(last: number, row: number): number[] {
  const step = Math.max(1, Math.ceil((last + 1) / 8));
  const regular = Array.from({ length: last + 1 }, (_, depth) => depth).filter(
    (depth) =>
      depth === 0 || depth === last || ((depth - 1) % step === 0 && depth >= step && last - depth >= step),
  );
  const free = regular.filter((depth) => Math.abs(depth - row) >= step);
  return [...free, row].sort((one, other) => one - other);
}

function path(points: Point[], kind: string): SVGElement {
  const known = points.filter(([, y]) => Number.isFinite(y));
  const d = known.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  return svg("path", { d, class: `llama-nb-lens-path llama-nb-lens-${kind}` });
}

function dots(points: Point[], kind: string, row: number): SVGElement[] {
  return points.flatMap(([x, y], depth): SVGElement[] => {
    if (!Number.isFinite(y) || (points.length > 24 && depth !== row)) return [];
    const r = depth === row ? 3.6 : 2;
    const className = `llama-nb-lens-dot llama-nb-lens-${kind}`;
    if (kind !== "next") return [svg("circle", { cx: x, cy: y, r, class: className })];
    return [svg("rect", { x: x - r, y: y - r, width: 2 * r, height: 2 * r, class: className })];
  });
}

/** An arrow where a value is beyond the end of its axis. */
function beyond(x: number, y: number, value: number): SVGElement {
  const made = svg("path", { d: `M${x - 4} ${y + 4}L${x} ${y - 4}L${x + 4} ${y + 4}Z` });
  made.setAttribute("class", "llama-nb-lens-beyond");
  made.append(svg("title", {}, `${nats(value)} nats, beyond the axis`));
  return made;
}

function keysOf(column: LensColumn): Node[] {
  const key = (kind: string, text: string, title: string) => {
    const made = element("span", "llama-nb-lens-key");
    made.dataset.kind = kind;
    made.title = title;
    made.append(element("i", ""), element("span", "", text));
    return made;
  };
  const found = [key("final", short(column.final.text), "the token that the last layer says")];
  if (column.ahead && separate(column))
    found.push(key("next", short(column.ahead.text), "the token that comes next in the text"));
  found.push(key("kl", "KL to the end", "how far the last layer is from each one, in nats"));
  return found;
}

function short(text: string): string {
  const shown = visible(text);
  return shown.length > LONGEST ? `${shown.slice(0, LONGEST - 1)}…` : shown;
}

function summary(layers: string[], column: LensColumn): string {
  const settled = layers[column.settled] ?? "";
  return `Probability of ${visible(column.final.text)} and divergence by layer; it is the likeliest from ${settled} on`;
}
