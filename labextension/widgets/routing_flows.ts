/** Where the ribbons between layers lie: flows of tokens into boxes of a drawing. Arithmetic only. */

import type { RoutingPaths } from "./shapes";

type Flow = NonNullable<RoutingPaths["flows"]>[number];

/** An expert in a column; `expert` is null for the small ones that are drawn as one. */
export interface FlowNode {
  column: number;
  expert: number | null;
  share: number;
  /** How many experts it stands for. */
  members: number;
  y: number;
  height: number;
}

export interface Ribbon {
  from: FlowNode;
  to: FlowNode;
  share: number;
  /** Where it leaves and where it arrives, and how thick it is. */
  start: number;
  end: number;
  height: number;
}

export interface Flows {
  /** Of each column, from above. */
  columns: FlowNode[][];
  /** By falling share, so that the thin ones, drawn last, are not covered. */
  ribbons: Ribbon[];
  /** The share of the flows between these columns that is drawn. */
  drawn: number;
}

const MOST_NODES = 16;
const FEWEST_NODES = 8;
const NODE = 12; // pixels of height that a box and its number need
/** Elements of a drawing: so many ribbons beside the nodes' boxes, numbers and titles. */
const MOST_RIBBONS = 240;
const GAP = 4;

/** Lay out the flows between the layer indices `first` and `end` (exclusive) in a box of that height. */
export function layFlows(flows: Flow[], first: number, end: number, height: number): Flows {
  const near = flows.filter(([index]) => index >= first && index < end - 1);
  const room = Math.max(FEWEST_NODES, Math.min(MOST_NODES, Math.floor(height / NODE)));
  const columns = Array.from({ length: end - first }, (_, column) =>
    columnOf(near, first + column, column, room),
  );
  const most = Math.max(1, ...columns.map((nodes) => nodes.length));
  const fullest = Math.max(1e-9, ...columns.map((nodes) => sum(nodes.map((node) => node.share))));
  const scale = (height - GAP * (most - 1)) / fullest;
  for (const nodes of columns) place(nodes, scale, height);
  const ribbons = ribbonsOf(near, columns, first, scale);
  const pairs = Math.max(1, end - first - 1);
  return { columns, ribbons, drawn: Math.min(1, sum(ribbons.map((ribbon) => ribbon.share)) / pairs) };
}

/** The experts of a column by number; where there are many, the small ones as one at the end. */
function columnOf(flows: Flow[], index: number, column: number, room: number): FlowNode[] {
  const out = new Map<number, number>();
  const into = new Map<number, number>();
  const add = (to: Map<number, number>, expert: number, share: number) =>
    to.set(expert, (to.get(expert) ?? 0) + share);
  for (const [at, from, to, share] of flows) {
    if (at === index) add(out, from, share);
    if (at === index - 1) add(into, to, share);
  }
  const found = [...new Set([...out.keys(), ...into.keys()])].map((expert): FlowNode => {
    const share = Math.max(out.get(expert) ?? 0, into.get(expert) ?? 0);
    return { column, expert, share, members: 1, y: 0, height: 0 };
  });
  found.sort((one, other) => other.share - one.share);
  const small = found.length > room ? found.splice(room - 1) : [];
  found.sort((one, other) => (one.expert ?? 0) - (other.expert ?? 0));
  if (small.length > 0) {
    const share = sum(small.map((node) => node.share));
    found.push({ column, expert: null, share, members: small.length, y: 0, height: 0 });
  }
  return found;
}

/** Boxes from above, with what is left over between them. */
function place(nodes: FlowNode[], scale: number, height: number): void {
  const spare = height - scale * sum(nodes.map((node) => node.share));
  const gap = Math.min(3 * GAP, spare / Math.max(1, nodes.length - 1));
  let y = (spare - gap * (nodes.length - 1)) / 2;
  for (const node of nodes) {
    node.y = y;
    node.height = scale * node.share;
    y += node.height + gap;
  }
}

function ribbonsOf(flows: Flow[], columns: FlowNode[][], first: number, scale: number): Ribbon[] {
  const found = new Map<string, Ribbon>();
  for (const [index, from, to, share] of flows) {
    const [left, right] = [nodeOf(columns[index - first], from), nodeOf(columns[index - first + 1], to)];
    if (!left || !right) continue;
    const key = [index, left.expert, right.expert].join();
    const ribbon = found.get(key) ?? { from: left, to: right, share: 0, start: 0, end: 0, height: 0 };
    ribbon.share += share;
    found.set(key, ribbon);
  }
  const kept = [...found.values()].sort((one, other) => other.share - one.share).slice(0, MOST_RIBBONS);
  const order = (node: FlowNode) => node.column * 1e6 + node.y;
  const used = new Map<string, number>();
  const take = (side: string, node: FlowNode, height: number) => {
    const key = `${side} ${node.column} ${node.expert}`;
    const at = used.get(key) ?? 0;
    used.set(key, at + height);
    return node.y + at;
  };
  for (const ribbon of kept) ribbon.height = scale * ribbon.share;
  const sorted = (by: (ribbon: Ribbon) => number) => [...kept].sort((one, other) => by(one) - by(other));
  for (const ribbon of sorted(({ to }) => order(to))) ribbon.start = take("out", ribbon.from, ribbon.height);
  for (const ribbon of sorted(({ from }) => order(from))) ribbon.end = take("in", ribbon.to, ribbon.height);
  return kept;
}

function nodeOf(column: FlowNode[] | undefined, expert: number): FlowNode | undefined {
  return column?.find((node) => node.expert === expert) ?? column?.find((node) => node.expert === null);
}

/** The columns that are drawn: at most `most` of `layers`, around the pair that begins at `index`. */
export function sight(layers: number, index: number, most: number): [number, number] {
  const shown = Math.min(layers, most);
  const first = Math.max(0, Math.min(index - Math.floor((shown - 2) / 2), layers - shown));
  return [first, first + shown];
}

function sum(values: number[]): number {
  return values.reduce((all, value) => all + value, 0);
}
