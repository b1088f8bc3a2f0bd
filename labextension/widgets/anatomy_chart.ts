/** A small line chart with labelled axes: what a figure is like along the depth, or along the pairs of RoPE. */

import { figure, formula } from "./anatomy_figures";
import { element } from "./element";
import { svg } from "./svg";

export interface Line {
  name: string;
  values: (number | null)[];
  dashed?: boolean;
}

export interface ChartOptions {
  lines: Line[];
  /** What stands under each place; one a value. */
  places: number[];
  across: string;
  up: string;
  /** What of, as formulas call it. */
  symbol?: string;
  /** The place that is marked. */
  at?: number;
  /** A value that is drawn across, with its name. */
  level?: [number, string];
  format?: (value: number) => string;
}

const WIDTH = 320;
const HEIGHT = 106;
const LEFT = 44;
const TOP = 8;
const BOTTOM = 26;
const RIGHT = 8;
/** From this ratio of the largest to the smallest on, steps are powers of ten. */
const WIDE = 40;

interface Scale {
  ticks: number[];
  at(value: number): number;
}

/** Where a value stands between the bottom (0) and the top (1), and which values have a mark. */
export function scaleOf(values: number[]): Scale {
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (low > 0 && high / low > WIDE) {
    const from = Math.floor(Math.log10(low));
    const span = Math.max(1, Math.ceil(Math.log10(high)) - from);
    const step = Math.ceil(span / 4);
    const ticks = Array.from(
      { length: Math.floor(span / step) + 1 },
      (_, index) => 10 ** (from + index * step),
    );
    return { ticks, at: (value) => (value > 0 ? (Math.log10(value) - from) / span : 0) };
  }
  const bottom = Math.min(0, low);
  const top = high > bottom ? high : bottom + 1;
  const rough = (top - bottom) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((round) => round * power >= rough * 0.9) ?? 10);
  const ticks = [];
  for (let tick = Math.ceil(bottom / step) * step; tick <= top * 1.0001; tick += step)
    ticks.push(Number(tick.toPrecision(6)));
  return { ticks, at: (value) => (value - bottom) / (top - bottom) };
}

export function lineChart(options: ChartOptions): HTMLElement {
  const { lines, places, across, up, symbol, at, level, format = figure } = options;
  const known = lines.flatMap(({ values }) => values.filter((value) => value !== null));
  const root = element("div", "llama-nb-an-chart");
  if (!known.length) return root;
  const scale = scaleOf(level ? [...known, level[0]] : known);
  const x = (index: number) =>
    LEFT + (WIDTH - LEFT - RIGHT) * (places.length > 1 ? index / (places.length - 1) : 0.5);
  const y = (value: number) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * scale.at(value);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  drawing.setAttribute("aria-label", described(options, format));
  for (const tick of scale.ticks) {
    if (scale.at(tick) > 1.001) continue;
    drawing.append(
      svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick), class: "llama-nb-an-grid" }),
      svg("text", { x: LEFT - 4, y: y(tick) + 3, "text-anchor": "end" }, format(tick)),
    );
  }
  drawing.append(
    ...under(places, x),
    svg("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 2, "text-anchor": "middle" }, across),
  );
  if (level) {
    const height = y(level[0]);
    drawing.append(
      svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: height, y2: height, class: "llama-nb-an-level" }),
      svg("text", { x: LEFT + 3, y: height - 3 }, level[1]),
    );
  }
  const marked = at === undefined ? -1 : places.indexOf(at);
  if (marked >= 0)
    drawing.append(
      svg("line", { x1: x(marked), x2: x(marked), y1: TOP, y2: HEIGHT - BOTTOM, class: "llama-nb-an-at" }),
    );
  for (const line of lines) drawing.append(...drawnLine(line, x, y));
  const caption = element("div", "llama-nb-an-caption");
  caption.append(...(symbol ? [formula(symbol), up] : [up]));
  for (const line of lines.length > 1 ? lines : []) {
    const key = element("span", "llama-nb-an-key", line.name);
    key.dataset.dashed = String(Boolean(line.dashed));
    caption.append(key);
  }
  root.append(caption, drawing);
  return root;
}

function drawnLine(
  { values, dashed }: Line,
  x: (index: number) => number,
  y: (value: number) => number,
): Element[] {
  let path = "";
  let open = false;
  values.forEach((value, index) => {
    if (value !== null) path += `${open ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    open = value !== null;
  });
  const look = dashed ? "llama-nb-an-line llama-nb-an-dashed" : "llama-nb-an-line";
  const dots = values.length <= 40 ? values : [];
  return [
    svg("path", { d: path, class: look }),
    ...dots.flatMap((value, index) => {
      if (value === null) return [];
      return [
        svg("circle", {
          cx: x(index),
          cy: y(value),
          r: 2,
          class: dashed ? "llama-nb-an-dot-dashed" : "llama-nb-an-dot",
        }),
      ];
    }),
  ];
}

/** Names of some of the places, so that they do not touch. */
function under(places: number[], x: (index: number) => number): Element[] {
  const every = Math.max(1, Math.ceil(places.length / 9));
  return places.flatMap((place, index) =>
    index % every
      ? []
      : [svg("text", { x: x(index), y: HEIGHT - BOTTOM + 12, "text-anchor": "middle" }, String(place))],
  );
}

function described(
  { lines, places, across, up, at, symbol = "" }: ChartOptions,
  format: (value: number) => string,
): string {
  const told = [0, at === undefined ? 0 : places.indexOf(at), places.length - 1].filter(
    (index) => index >= 0,
  );
  const said = lines.map(({ name, values }) => {
    const ends = [...new Set(told)].map((index) => {
      const value = values[index];
      return `${across} ${places[index]}: ${value == null ? "–" : format(value)}`;
    });
    return `${name} ${ends.join(", ")}`;
  });
  return `${symbol} ${up}. ${said.join("; ")}`;
}
