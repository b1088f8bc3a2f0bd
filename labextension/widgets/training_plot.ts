/** One drawing of curves over steps: axes, dots, lines, a level, and a mark at the step that is looked at. */

import { svg } from "./svg";
import { type Scale, stepTicks } from "./training_scale";

/** A step and its value. */
export type Point = [number, number | null];

export interface Layer {
  name: "train" | "smoothed" | "validation" | "figure";
  points: Point[];
  /** Dots stand alone; diamonds have a line through them. */
  as: "dots" | "line" | "diamonds";
}

export interface Plot {
  /** Pixels. */
  width: number;
  height: number;
  left: number;
  /** Where the axis of steps ends; it begins at 0. */
  end: number;
  scale: Scale;
  layers: Layer[];
  name(value: number): string;
  /** What the values are, said in the drawing. */
  title?: string;
  /** Whether steps are named below. */
  steps?: boolean;
  /** A value that is drawn across. */
  level?: number;
  /** A point that has a ring around it, with what it is. */
  ring?: [number, number, string];
}

export interface Drawing {
  root: SVGSVGElement;
  draw(plot: Plot): void;
  /** Mark a step, with a ring around each value there; null marks none. */
  mark(step: number | null, values: (number | null)[]): void;
  /** The step under a place of the page. */
  stepAt(clientX: number): number;
}

const TOP = 6;
const RIGHT = 9;
const DIAMOND = 3.6;
const RING = 7;

/** The height of what stands below the plot. */
const below = (plot: Plot) => (plot.steps ? 17 : 4);

export function drawing(): Drawing {
  const root = svg("svg", {});
  const [still, moving] = [svg("g", {}), svg("g", { class: "llama-nb-tr-mark" })];
  root.append(still, moving);
  let now: Plot | null = null;
  const x = (step: number) => {
    const { width, left, end } = now ?? { width: 1, left: 0, end: 1 };
    return left + ((width - left - RIGHT) * Math.min(step, end)) / end;
  };
  const y = (value: number) => {
    if (!now) return 0;
    const bottom = now.height - below(now);
    return bottom - (bottom - TOP) * Math.min(1.02, Math.max(-0.02, now.scale.at(value)));
  };
  return {
    root,
    draw(plot) {
      now = plot;
      const { width, height } = plot;
      root.setAttribute("viewBox", `0 0 ${width} ${height}`);
      root.setAttribute("width", String(width));
      root.setAttribute("height", String(height));
      const lines = plot.layers.flatMap((layer) => drawn(layer, x, y));
      still.replaceChildren(...axes(plot, x, y), ...lines, ...ringOf(plot, x, y));
    },
    mark(step, values) {
      if (!now || step === null) {
        moving.replaceChildren();
        return;
      }
      const across = x(step);
      moving.replaceChildren(
        svg("line", { x1: across, x2: across, y1: TOP, y2: now.height - below(now) }),
        ...values.flatMap((value) =>
          value === null ? [] : [svg("circle", { cx: across, cy: y(value), r: 3 })],
        ),
      );
    },
    stepAt(clientX) {
      const { left, width } = root.getBoundingClientRect();
      if (!now || !width) return 0;
      const inside = ((clientX - left) * now.width) / width - now.left;
      return (inside / (now.width - now.left - RIGHT)) * now.end;
    },
  };
}

type Place = (value: number) => number;

function axes(plot: Plot, x: Place, y: Place): SVGElement[] {
  const { width, left, scale, name, title } = plot;
  const across = { x1: left, x2: width - RIGHT };
  // On the right: a loss begins at the top on the left.
  const unit = { class: "llama-nb-tr-unit", "text-anchor": "end" };
  return [
    ...scale.ticks.flatMap((tick) => [
      svg("line", { ...across, y1: y(tick), y2: y(tick), class: "llama-nb-tr-rule" }),
      svg("text", { x: left - 5, y: y(tick) + 3.4, "text-anchor": "end" }, name(tick)),
    ]),
    ...(plot.steps ? stepNames(plot, x) : []),
    ...(title ? [svg("text", { ...unit, x: width - RIGHT - 3, y: TOP + 11 }, title)] : []),
    ...(plot.level === undefined
      ? []
      : [svg("line", { ...across, y1: y(plot.level), y2: y(plot.level), class: "llama-nb-tr-level" })]),
  ];
}

function ringOf({ ring }: Plot, x: Place, y: Place): SVGElement[] {
  if (!ring) return [];
  const [step, value, meaning] = ring;
  const made = svg("circle", { cx: x(step), cy: y(value), r: RING, class: "llama-nb-tr-ring" });
  made.append(svg("title", {}, meaning));
  return [made];
}

/** Numbers of steps; the first says what they are, and the last ends with the drawing. */
function stepNames({ width, height, left, end }: Plot, x: Place): SVGElement[] {
  return stepTicks(end, width - left).map((tick) => {
    const place = { x: x(tick), y: height - 3, "text-anchor": "middle" };
    if (tick === 0) return svg("text", { ...place, "text-anchor": "start" }, "step 0");
    if (place.x > width - RIGHT - 14) Object.assign(place, { x: width - 1, "text-anchor": "end" });
    return svg("text", place, tick.toLocaleString("en"));
  });
}

/** One path for all dots of a layer, and one for its line: hundreds of points cost two elements. */
function drawn({ name, points, as }: Layer, x: Place, y: Place): SVGElement[] {
  const places = points.map(([step, value]) => (value === null ? null : ([x(step), y(value)] as const)));
  const there = places.filter((place) => place !== null);
  const dots = there.map(as === "diamonds" ? diamond : ([across, up]) => `M${at(across)} ${at(up)}h0`);
  const made = (part: string, d: string) => svg("path", { class: `llama-nb-tr-${part}`, "data-of": name, d });
  if (as === "dots") return [made("dot", dots.join(""))];
  if (as === "diamonds") return [made("line", lineOf(there)), made("diamond", dots.join(""))];
  // A line of one point would not be seen.
  return [made("line", lineOf(places)), ...(there.length === 1 ? [made("dot", dots.join(""))] : [])];
}

/** A line that breaks where there is no place. */
function lineOf(places: (readonly [number, number] | null)[]): string {
  return places
    .map((place, index) => place && `${places[index - 1] ? "L" : "M"}${at(place[0])} ${at(place[1])}`)
    .join("");
}

const at = (pixels: number) => pixels.toFixed(1);

function diamond([x, y]: readonly [number, number]): string {
  return `M${at(x - DIAMOND)} ${at(y)}l${DIAMOND} ${-DIAMOND}l${DIAMOND} ${DIAMOND}l${-DIAMOND} ${DIAMOND}Z`;
}
