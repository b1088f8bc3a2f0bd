/** Flows from layer to layer as ribbons between boxes: drawn, pointed at, and walked through with arrow keys. */

import { element } from "./element";
import { type FlowNode, type Flows, layFlows, type Ribbon, sight } from "./routing_flows";
import type { Cell } from "./routing_matrix";
import { colourOf } from "./routing_page";
import type { RoutingPaths } from "./shapes";
import { svg } from "./svg";

export interface AlluvialData {
  layers: number[];
  flows: NonNullable<RoutingPaths["flows"]>;
  /** The layer index that is looked at; the pair that begins there is marked. */
  index: number;
  experts: number;
}

/** What is pointed at: a box or a ribbon. */
export type Pointed = FlowNode | Ribbon | null;

export interface Alluvial {
  root: HTMLElement;
  update(data: AlluvialData): void;
  /** The first layer index that is drawn; columns of nodes count from there. */
  first(): number;
  flows(): Flows;
}

const TOP = 18;
const BOX = 22;
const COLUMN = 92; // pixels that a column needs
const SIDES = 6;
const NUMBERED = 9; // pixels of height that a number needs in a box
const BESIDE = 7.5; // and beside one

export function isRibbon(pointed: FlowNode | Ribbon): pointed is Ribbon {
  return "from" in pointed;
}

export function alluvial(
  point: (pointed: Pointed) => void,
  pick: (column: number, expert: number) => void,
  look: (index: number) => void,
  signal: AbortSignal,
): Alluvial {
  const root = element("div", "llama-nb-rp-flows");
  root.tabIndex = 0;
  root.setAttribute("role", "application");
  root.setAttribute("aria-roledescription", "flow diagram");
  root.setAttribute("aria-label", "Flows between experts. Arrow keys move, Enter opens an expert's page.");
  const drawing = svg("svg", { "aria-hidden": "true" });
  root.append(drawing);
  let data: AlluvialData | null = null;
  let flows: Flows = { columns: [], ribbons: [], drawn: 0 };
  let first = 0;
  let at: [number, number] | null = null; // column and place in it
  let boxes: [FlowNode, SVGElement][] = [];
  let bands: [Ribbon, SVGElement][] = [];

  const redraw = () => {
    if (!data) return;
    const { width: wide, height: high } = root.getBoundingClientRect();
    const [width, height] = [Math.max(160, wide || 330), Math.max(110, high || 220)];
    const [from, end] = sight(data.layers.length, data.index, Math.max(2, Math.floor(width / COLUMN) + 1));
    first = from;
    flows = layFlows(data.flows, first, end, height - TOP - 4);
    drawing.setAttribute("width", String(width));
    drawing.setAttribute("height", String(height));
    const step = (width - BOX - 2 * SIDES) / Math.max(1, end - first - 1);
    const x = (column: number) => SIDES + column * step;
    bands = flows.ribbons.map((ribbon) => [ribbon, band(ribbon, x, data as AlluvialData)]);
    boxes = flows.columns.flatMap((nodes) =>
      nodes.map((node, place): [FlowNode, SVGElement] => {
        const left = x(node.column);
        const made = box(node, left, data as AlluvialData);
        made.append(...label(node, nodes[place + 1], left, node.column === end - first - 1));
        return [node, made];
      }),
    );
    const heads = data.layers
      .slice(first, end)
      .map((layer, column) => head(layer, x(column), first + column));
    drawing.replaceChildren(...heads, ...bands.map(([, made]) => made), ...boxes.map(([, made]) => made));
    light(at ? nodeAt(at) : null);
  };
  const head = (layer: number, left: number, index: number) => {
    const made = svg("text", {
      class: "llama-nb-rp-head",
      x: left + BOX / 2,
      y: 11,
      "text-anchor": "middle",
    });
    made.textContent = `L${layer}`;
    made.dataset.layer = String(index);
    if (index === data?.index || index === (data?.index ?? 0) + 1) made.dataset.on = "true";
    return made;
  };
  const nodeAt = ([column, place]: [number, number]) => flows.columns[column]?.[place] ?? null;
  /** Show what is pointed at, and leave the rest faint. */
  const light = (pointed: Pointed) => {
    root.dataset.lit = String(pointed !== null);
    for (const [ribbon, made] of bands) {
      const on = pointed && (isRibbon(pointed) ? ribbon === pointed : touches(ribbon, pointed));
      made.dataset.on = String(Boolean(on));
    }
    for (const [node, made] of boxes) made.dataset.on = String(node === pointed);
  };
  const tell = (pointed: Pointed) => {
    light(pointed);
    point(pointed);
  };
  const resized = new ResizeObserver(redraw);
  resized.observe(root);
  signal.addEventListener("abort", () => resized.disconnect());

  const under = ({ target }: Event): Pointed => {
    const of = (list: [FlowNode | Ribbon, SVGElement][]) =>
      list.find(([, made]) => target instanceof Node && made.contains(target))?.[0] ?? null;
    return of(boxes) ?? of(bands);
  };
  root.addEventListener("pointermove", (event) => tell(under(event)), { signal });
  root.addEventListener("pointerleave", () => tell(null), { signal });
  root.addEventListener(
    "click",
    (event) => {
      const found = under(event);
      const named = event.target instanceof SVGElement ? event.target.dataset.layer : undefined;
      if (named !== undefined) look(Number(named));
      else if (found && isRibbon(found)) look(first + found.from.column);
      else if (found && found.expert !== null) pick(found.column, found.expert);
    },
    { signal },
  );
  root.addEventListener("blur", () => tell(null), { signal });
  root.addEventListener(
    "keydown",
    (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const node = at ? nodeAt(at) : null;
      const to = walk(event.key, at, flows);
      if (to) {
        at = to;
        tell(nodeAt(to));
      } else if (event.key === "Enter" && node && node.expert !== null) pick(node.column, node.expert);
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
    { signal },
  );
  return {
    root,
    first: () => first,
    flows: () => flows,
    update(next) {
      if (data && next.index !== data.index) at = null;
      data = next;
      redraw();
    },
  };
}

function touches(ribbon: Ribbon, node: FlowNode): boolean {
  return ribbon.from === node || ribbon.to === node;
}

/** Where an arrow key goes: up and down a column; to the box in the next column that most of the tokens go to. */
function walk(
  key: string,
  at: [number, number] | null,
  { columns, ribbons }: Flows,
): [number, number] | null {
  const [column, place] = at ?? [0, -1];
  const nodes = columns[column] ?? [];
  const clamped = (to: number): [number, number] => [column, Math.min(nodes.length - 1, Math.max(0, to))];
  if (key === "ArrowDown") return clamped(place + 1);
  if (key === "ArrowUp") return clamped(place - 1);
  if (key === "Home") return clamped(0);
  if (key === "End") return clamped(nodes.length - 1);
  const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
  const beside = columns[column + (step ?? 0)];
  if (!step || !beside?.length) return null;
  const node = nodes[Math.max(0, place)];
  // Ribbons come by falling share.
  const thickest = ribbons.find((one) => (step > 0 ? one.from : one.to) === node);
  const next = thickest ? beside.indexOf(step > 0 ? thickest.to : thickest.from) : 0;
  return [column + step, Math.max(0, next)];
}

function band(ribbon: Ribbon, x: (column: number) => number, { experts }: AlluvialData): SVGElement {
  const { from, to, start, end, height } = ribbon;
  const [left, right] = [x(from.column) + BOX, x(to.column)];
  const middle = (left + right) / 2;
  const [a, b] = [TOP + start, TOP + end];
  const curve = (first: number, last: number, one: number, other: number) =>
    `${first} ${one.toFixed(1)}C${middle} ${one.toFixed(1)} ${middle} ${other.toFixed(1)} ${last} ${other.toFixed(1)}`;
  const d = `M${curve(left, right, a, b)}L${curve(right, left, b + height, a + height)}Z`;
  const made = svg("path", { class: "llama-nb-rp-ribbon", d });
  made.style.fill = colour(from, experts);
  return made;
}

function box(node: FlowNode, left: number, { experts }: AlluvialData): SVGElement {
  const made = svg("g", { class: "llama-nb-rp-node" });
  const height = Math.max(1.5, node.height);
  const shape = svg("rect", { x: left, y: TOP + node.y, width: BOX, height, rx: 2 });
  shape.style.fill = colour(node, experts);
  made.dataset.ink = inkOn(node, experts);
  made.append(shape);
  return made;
}

/** A box's number: in it, beside it where it is low, or none where there is no room. */
function label(node: FlowNode, below: FlowNode | undefined, left: number, last: boolean): SVGElement[] {
  const inside = node.height >= NUMBERED;
  const middle = node.y + node.height / 2;
  if (!inside && below && below.y + below.height / 2 - middle < BESIDE) return [];
  const x = inside ? left + BOX / 2 : last ? left - 3 : left + BOX + 3;
  const anchor = inside ? "middle" : last ? "end" : "start";
  const text = node.expert === null ? `+${node.members}` : String(node.expert);
  const made = svg("text", { x, y: TOP + middle + 3.5, "text-anchor": anchor }, text);
  made.dataset.beside = String(!inside);
  return [made];
}

function colour({ expert }: FlowNode, experts: number): string {
  return expert === null ? "var(--ln-slate)" : colourOf(expert, experts);
}

/** What can be read on a box: of `colourOf`'s, the deep blue and every third hue are dark. */
function inkOn({ expert }: FlowNode, experts: number): string {
  if (expert === null) return "paper";
  return (experts <= 8 ? expert === 4 : expert % 3 === 1) ? "white" : "black";
}

/** The cell of the matrix that a ribbon stands for. */
export function cellOf(pointed: Pointed, column: number): Cell | null {
  if (!pointed || !isRibbon(pointed) || pointed.from.column !== column) return null;
  const { from, to } = pointed;
  return from.expert === null || to.expert === null ? null : { row: from.expert, column: to.expert };
}
