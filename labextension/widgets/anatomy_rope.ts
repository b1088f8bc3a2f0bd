/**
 * Rotary position embeddings: by which angle each pair of dimensions turns at each position.
 *
 * The map shows cos(position · θ) as colours; dials show the angles at one position, the chart how far it is until a
 * pair has turned once.
 */

import { lineChart } from "./anatomy_chart";
import { figure } from "./anatomy_figures";
import type { Memory, Panel } from "./anatomy_pane";
import { colourInto, DIVERGING } from "./colour_maps";
import { element } from "./element";
import type { AnatomyBody, AnatomyRope } from "./shapes";
import { svg } from "./svg";

type Spot = Pick<Memory, "position" | "pair">;

const WINDOW = 256;
const DIALS = 8;
/** The ends of the colour map are too dark for as much of them as there is here. */
const SWING = 92;
const TURN = 2 * Math.PI;

export const ropePanel: Panel = ({ model, signal, memory: kept }) => {
  const body = model.get("body");
  const { rope, context = 1 } = body;
  if (!rope) return [];
  const pairs = rope.frequencies.length;
  kept.pair = Math.min(kept.pair, pairs - 1);
  kept.position = Math.min(kept.position, context - 1);
  const said = element("p", "llama-nb-an-said");
  said.setAttribute("role", "status");
  const map = angleMap(rope, context, kept);
  const dials = element("div", "llama-nb-an-dials");
  const below = element("div", "");
  const draw = () => {
    said.textContent = sentence(rope, kept);
    map.draw();
    dials.replaceChildren(...dialsOf(rope, kept));
    below.replaceChildren(waves(rope, context, kept.pair));
  };
  const position = slider(
    "position",
    context - 1,
    kept.position,
    (value) => {
      kept.position = value;
      draw();
    },
    signal,
  );
  const pair = slider(
    "pair",
    pairs - 1,
    kept.pair,
    (value) => {
      kept.pair = value;
      draw();
    },
    signal,
  );
  dials.addEventListener(
    "click",
    (event) => {
      const dial = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-pair]") : null;
      if (!dial) return;
      pair.set(Number(dial.dataset.pair));
    },
    { signal },
  );
  draw();
  return [position.root, pair.root, said, dials, map.root, below, scaled(rope, body)];
};

/** What the chosen pair does at the chosen position. */
export function sentence(rope: AnatomyRope, { pair, position }: Spot): string {
  const angle = rope.frequencies[pair] ?? 0;
  const [one, other] = rope.adjacent ? [2 * pair, 2 * pair + 1] : [pair, pair + rope.frequencies.length];
  const at = position * angle;
  return (
    `Pair ${pair} (dimensions ${one} and ${other}) turns by ${figure(angle)} rad a token, once around in ` +
    `${figure(TURN / angle)} tokens. At position ${position.toLocaleString("en")}: ${figure(at)} rad, ${figure(at / TURN)} turns.`
  );
}

function scaled(rope: AnatomyRope, { context = 0 }: AnatomyBody): HTMLElement {
  if (rope.kind === "default")
    return element("p", "llama-nb-muted", `Base ${rope.base.toLocaleString("en")}, not scaled.`);
  const { factor, original_max_position_embeddings: original } = rope.scaling;
  const times = factor ? `, up to ${figure(factor)} times slower` : "";
  const before = original
    ? ` from ${original.toLocaleString("en")} to ${context.toLocaleString("en")} tokens`
    : "";
  return element(
    "p",
    "llama-nb-muted",
    `Base ${rope.base.toLocaleString("en")}, scaled (${rope.kind})${before}: slow pairs turn slower${times}; fast ones, which tell near tokens apart, stay.`,
  );
}

function slider(
  name: string,
  most: number,
  value: number,
  set: (value: number) => void,
  signal: AbortSignal,
) {
  const root = element("label", "llama-nb-an-slider");
  const input = document.createElement("input");
  input.type = "range";
  input.min = "0";
  input.max = String(most);
  input.value = String(value);
  input.dataset.key = name;
  input.setAttribute("aria-label", name);
  const shown = element("output", "", value.toLocaleString("en"));
  root.append(element("span", "", name), input, shown);
  const change = () => {
    shown.textContent = Number(input.value).toLocaleString("en");
    set(Number(input.value));
  };
  input.addEventListener("input", change, { signal });
  const put = (to: number) => {
    input.value = String(to);
    change();
  };
  return { root, set: put };
}

/** The cosines of a window of positions (across) and all pairs (down), the fastest on top. */
function angleMap(rope: AnatomyRope, context: number, kept: Spot) {
  const pairs = rope.frequencies.length;
  const columns = Math.min(WINDOW, context);
  const root = element("div", "llama-nb-an-map");
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = pairs;
  canvas.setAttribute("role", "img");
  const upright = element("span", "llama-nb-an-upright");
  const level = element("span", "llama-nb-an-across");
  const frame = element("div", "llama-nb-an-map-frame");
  const axis = element("div", "llama-nb-an-map-axis");
  const legend = element("div", "llama-nb-an-map-legend");
  legend.append(element("i", "", ""), "cos −1 to 1: pairs from fast (top) to slow");
  frame.append(canvas, upright, level);
  root.append(frame, axis, legend);
  let from = -1;
  const draw = () => {
    const start = Math.min(Math.floor(kept.position / columns) * columns, Math.max(0, context - columns));
    upright.style.left = `${(100 * (kept.position - start + 0.5)) / columns}%`;
    level.style.top = `${(100 * (kept.pair + 0.5)) / pairs}%`;
    if (start === from) return;
    from = start;
    axis.replaceChildren(
      ...[start, start + Math.floor(columns / 2), start + columns - 1].map((at) =>
        element("span", "", at.toLocaleString("en")),
      ),
    );
    canvas.setAttribute(
      "aria-label",
      `Cosines of the angles at positions ${start} to ${start + columns - 1}`,
    );
    const pen = canvas.getContext("2d");
    if (!pen) return;
    const image = pen.createImageData(columns, pairs);
    colourInto(cosines(rope, start, columns), DIVERGING, image);
    pen.putImageData(image, 0, 0);
  };
  return { root, draw };
}

/** cos(position · θ) as bytes around 128; a row a pair. */
export function cosines(rope: AnatomyRope, start: number, columns: number): Uint8Array {
  const values = new Uint8Array(columns * rope.frequencies.length);
  rope.frequencies.forEach((angle, pair) => {
    for (let column = 0; column < columns; column += 1)
      values[pair * columns + column] = Math.round(128 + SWING * Math.cos((start + column) * angle));
  });
  return values;
}

function dialsOf(rope: AnatomyRope, kept: Spot): HTMLElement[] {
  const pairs = rope.frequencies.length;
  const number = Math.min(DIALS, pairs);
  const shown = Array.from({ length: number }, (_, index) =>
    number > 1 ? Math.round((index * (pairs - 1)) / (number - 1)) : 0,
  );
  if (!shown.includes(kept.pair)) {
    const near = shown.reduce((best, pair, index) => {
      return Math.abs(pair - kept.pair) < Math.abs((shown[best] ?? 0) - kept.pair) ? index : best;
    }, 0);
    shown[near] = kept.pair;
  }
  return shown.map((pair) => dial(pair, kept.position * (rope.frequencies[pair] ?? 0), pair === kept.pair));
}

function dial(pair: number, angle: number, chosen: boolean): HTMLElement {
  const root = element("span", "llama-nb-an-dial");
  root.dataset.pair = String(pair);
  root.dataset.chosen = String(chosen);
  const drawing = svg("svg", { viewBox: "-20 -20 40 40", "aria-hidden": "true" });
  const [x, y] = [16 * Math.cos(angle), -16 * Math.sin(angle)];
  drawing.append(
    svg("circle", { r: 17 }),
    svg("line", { x1: 0, y1: 0, x2: 17, y2: 0, class: "llama-nb-an-zero" }),
    svg("line", { x1: 0, y1: 0, x2: x.toFixed(2), y2: y.toFixed(2), class: "llama-nb-an-hand" }),
    svg("circle", { r: 2.5, cx: x.toFixed(2), cy: y.toFixed(2), class: "llama-nb-an-dot" }),
  );
  root.append(drawing, element("span", "", String(pair)));
  root.title = `pair ${pair}: ${figure(angle / TURN)} turns`;
  return root;
}

function waves(rope: AnatomyRope, context: number, at: number): HTMLElement {
  const length = (angles: number[]) => angles.map((angle) => (angle > 0 ? TURN / angle : null));
  const lines = [{ name: "as it is", values: length(rope.frequencies) }];
  const plain = { name: "unscaled", values: length(rope.unscaled), dashed: true };
  return lineChart({
    lines: rope.kind === "default" ? lines : [...lines, plain],
    places: rope.frequencies.map((_, pair) => pair),
    across: "pair",
    up: "tokens until a pair has turned once",
    at,
    level: [context, "the context"],
  });
}
