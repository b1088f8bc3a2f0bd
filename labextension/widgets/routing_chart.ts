/** Small charts with labelled axes: curves over a few places with one place marked, and bars. Drawn once. */

import { element } from "./element";
import { svg } from "./svg";
import { percent } from "./token_strip";

export interface Curve {
  name: string;
  /** Shares, from 0 to 1, one a place. */
  values: number[];
  look: "solid" | "dashed" | "dotted";
}

export interface Curves {
  title: string;
  /** What the places are: "experts kept in each layer". */
  across: string;
  /** The same in a word, behind a number: "kept". */
  short: string;
  places: number[];
  /** Whether places are spread by their logarithm. */
  log?: boolean;
  /** A place that is marked at first; the first one without it. */
  at?: number;
  curves: Curve[];
}

const WIDTH = 272;
const HEIGHT = 138;
const LEFT = 36;
const RIGHT = 10;
const TOP = 6;
const BOTTOM = 30;
const LEVELS = [0, 0.25, 0.5, 0.75, 1];

/** Curves with a mark that the pointer and the arrow keys move; what stands there is said above the drawing. */
export function curvesChart(options: Curves, signal: AbortSignal): HTMLElement {
  const { title, across, places, curves } = options;
  const root = element("figure", "llama-nb-rp-chart");
  const said = element("div", "llama-nb-rp-said");
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: 0, role: "slider" });
  const label = {
    "aria-label": `${title}, over ${across}`,
    "aria-valuemin": 0,
    "aria-valuemax": places.length - 1,
  };
  for (const [name, value] of Object.entries(label)) drawing.setAttribute(name, String(value));
  const caption = element("figcaption", "", title);
  const place = element("span", "llama-nb-muted");
  caption.append(place);
  root.append(caption, said, drawing);
  const x = across_(options);
  const mark = svg("g", { class: "llama-nb-rp-mark" });
  drawing.append(...axes(options, x), ...curves.flatMap((curve) => drawn(curve, x)), mark);

  let at = Math.max(0, places.indexOf(options.at ?? places[0] ?? 0));
  const go = (to: number) => {
    at = Math.min(places.length - 1, Math.max(0, to));
    mark.replaceChildren(
      svg("line", { x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM }),
      ...curves.map(({ values }) => svg("circle", { cx: x(at), cy: y(values[at] ?? 0), r: 3.2 })),
    );
    place.textContent = `, ${(places[at] ?? 0).toLocaleString("en")} ${options.short}`;
    said.replaceChildren(...readout(curves, at));
    drawing.setAttribute("aria-valuenow", String(at));
    drawing.setAttribute("aria-valuetext", `${place.textContent.slice(2)}: ${said.textContent}`);
  };
  const steps: Record<string, () => number> = {
    ArrowRight: () => at + 1,
    ArrowUp: () => at + 1,
    ArrowLeft: () => at - 1,
    ArrowDown: () => at - 1,
    Home: () => 0,
    End: () => places.length - 1,
  };
  drawing.addEventListener(
    "keydown",
    (event) => {
      const step = steps[event.key];
      if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      go(step());
    },
    { signal },
  );
  drawing.addEventListener(
    "pointermove",
    (event) => {
      const box = drawing.getBoundingClientRect();
      const pointed = ((event.clientX - box.left) / (box.width || 1)) * WIDTH;
      const away = places.map((_, index) => Math.abs(x(index) - pointed));
      go(away.indexOf(Math.min(...away)));
    },
    { signal },
  );
  go(at);
  return root;
}

function across_({ places, log = false }: Curves): (index: number) => number {
  const scaled = places.map((place) => (log ? Math.log(Math.max(1, place)) : place));
  const low = Math.min(...scaled);
  const span = Math.max(...scaled) - low || 1;
  return (index) => LEFT + (WIDTH - LEFT - RIGHT) * (((scaled[index] ?? low) - low) / span);
}

function y(value: number): number {
  return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * Math.min(1, Math.max(0, value));
}

function axes({ places, across }: Curves, x: (index: number) => number): SVGElement[] {
  const found: SVGElement[] = LEVELS.flatMap((level) => [
    svg("line", { class: "llama-nb-rp-rule", x1: LEFT, x2: WIDTH - RIGHT, y1: y(level), y2: y(level) }),
    svg("text", { x: LEFT - 5, y: y(level) + 3, "text-anchor": "end" }, `${100 * level} %`),
  ]);
  let free = -Infinity;
  places.forEach((place, index) => {
    const text = place.toLocaleString("en");
    const half = 3 * text.length + 3;
    if (x(index) - half < free) return;
    free = x(index) + half;
    found.push(svg("text", { x: x(index), y: HEIGHT - BOTTOM + 13, "text-anchor": "middle" }, text));
  });
  const middle = (LEFT + WIDTH - RIGHT) / 2;
  found.push(svg("text", { x: middle, y: HEIGHT - 4, "text-anchor": "middle" }, across));
  return found;
}

function drawn({ values, look }: Curve, x: (index: number) => number): SVGElement[] {
  const d = values
    .map((value, index) => `${index ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`)
    .join("");
  const dots = values.length > 20 || look !== "solid" ? [] : values;
  return [
    svg("path", { d, class: "llama-nb-rp-curve", "data-look": look }),
    ...dots.map((value, index) =>
      svg("circle", { class: "llama-nb-rp-dot", cx: x(index), cy: y(value), r: 2 }),
    ),
  ];
}

function readout(curves: Curve[], at: number): (Node | string)[] {
  return curves.flatMap(({ name, values, look }) => {
    const key = element("span", "llama-nb-rp-key");
    key.dataset.look = look;
    key.append(`${name} `, element("b", "", percent(values[at] ?? 0)));
    return [key, " "];
  });
}

/** Bars of shares beside each other, with a dashed line where all would be even. `ends` name the axis' ends. */
export function barsChart(
  values: number[],
  even: number,
  ends: [string, string],
  name: (index: number) => string,
): SVGSVGElement {
  const [width, height, left, bottom] = [260, 74, 40, 14];
  const top = Math.max(...values, even, 1e-9);
  const up = (value: number) => height - bottom - (height - bottom - 6) * (value / top);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  const said = values.map((value, index) => `${name(index)} ${percent(value)}`).join("; ");
  drawing.setAttribute("aria-label", said);
  const step = (width - left - 4) / Math.max(1, values.length);
  values.forEach((value, index) => {
    const bar = svg("rect", {
      class: "llama-nb-rp-column",
      ...{ x: left + index * step + 1, width: step - 2, y: up(value), height: height - bottom - up(value) },
    });
    bar.append(svg("title", {}, `${name(index)}: ${percent(value)}`));
    drawing.append(bar);
  });
  drawing.append(
    svg("line", { class: "llama-nb-rp-even", x1: left, x2: width - 4, y1: up(even), y2: up(even) }),
    svg("line", { class: "llama-nb-rp-rule", x1: left, x2: width - 4, y1: up(0), y2: up(0) }),
    svg("text", { x: left - 4, y: up(top) + 5, "text-anchor": "end" }, percent(top)),
    svg("text", { x: left - 4, y: up(0) + 3, "text-anchor": "end" }, "0 %"),
    svg("text", { x: left, y: height - 2 }, ends[0]),
    svg("text", { x: width - 4, y: height - 2, "text-anchor": "end" }, ends[1]),
  );
  return drawing;
}
