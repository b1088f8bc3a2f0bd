/** The gate of SwiGLU: the curve of silu, over what the gates of one layer really were on a text. */

import { share } from "./anatomy_figures";
import type { Panel } from "./anatomy_pane";
import { copyButton } from "./copy";
import { element } from "./element";
import type { AnatomyDetail } from "./shapes";
import { svg } from "./svg";

type Gates = NonNullable<AnatomyDetail["gates"]>;

const WIDTH = 320;
const HEIGHT = 150;
const LEFT = 26;
const BOTTOM = 26;
const [LOW, HIGH] = [-6, 6];
const [DOWN, UP] = [-0.6, 6];

export function silu(z: number): number {
  return z / (1 + Math.exp(-z));
}

export const gatePanel: Panel = ({ model }, _block, place) => {
  const detail = model.get("detail");
  const gates = detail.layer === place.layer ? detail.gates : null;
  const about =
    "silu lets large gates through as they are and shuts negative ones: their channel adds almost nothing.";
  const shown = [element("p", "", about), chart(gates ?? null)];
  if (!gates) {
    const missing = model.get("measured").tokens
      ? "The gates of this layer's experts are not measured."
      : "Have the model read a text to see what its gates are.";
    return [...shown, element("p", "llama-nb-muted", missing)];
  }
  const root = element("p", "llama-nb-an-said", said(gates));
  root.setAttribute("role", "status");
  const text = () => gates.counts.map((count, index) => `${edge(gates, index)}\t${count}`).join("\n");
  return [...shown, root, copyButton("Copy the histogram", () => `from\tcount\n${text()}`, "Copy data")];
};

function edge({ low, high, counts }: Gates, index: number): number {
  return low + ((high - low) * index) / counts.length;
}

/** How many of a layer's gates are open and shut. */
export function said(gates: Gates): string {
  const total = gates.below + gates.above + sum(gates.counts);
  const negative = gates.below + sum(gates.counts.filter((_, index) => edge(gates, index) < 0));
  const open = gates.above + sum(gates.counts.filter((_, index) => edge(gates, index) >= 1));
  const outside = gates.below + gates.above;
  const beyond = outside ? ` ${outside.toLocaleString("en")} are beyond the chart.` : "";
  return `Of ${total.toLocaleString("en")} gates ${share(negative / total)} are negative, ${share(open / total)} above 1.${beyond}`;
}

function sum(counts: number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

function chart(gates: Gates | null): HTMLElement {
  const root = element("div", "llama-nb-an-chart");
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  drawing.setAttribute("aria-label", gates ? `silu and its gates: ${said(gates)}` : "silu");
  const x = (z: number) => LEFT + ((WIDTH - LEFT - 6) * (z - LOW)) / (HIGH - LOW);
  const y = (value: number) => 6 + ((HEIGHT - 6 - BOTTOM) * (UP - value)) / (UP - DOWN);
  if (gates) drawing.append(histogram(gates, x, HEIGHT - BOTTOM));
  for (const value of [0, 2, 4, 6])
    drawing.append(
      svg("line", { x1: LEFT, x2: WIDTH - 6, y1: y(value), y2: y(value), class: "llama-nb-an-grid" }),
      svg("text", { x: LEFT - 4, y: y(value) + 3, "text-anchor": "end" }, String(value)),
    );
  drawing.append(svg("line", { x1: x(0), x2: x(0), y1: 6, y2: HEIGHT - BOTTOM, class: "llama-nb-an-grid" }));
  for (const value of [-6, -4, -2, 0, 2, 4, 6])
    drawing.append(
      svg(
        "text",
        { x: x(value), y: HEIGHT - BOTTOM + 12, "text-anchor": "middle" },
        String(value).replace("-", "−"),
      ),
    );
  const curve = Array.from({ length: 121 }, (_, index) => LOW + index / 10);
  const points = curve.map((z) => `${x(z).toFixed(1)} ${y(silu(z)).toFixed(1)}`);
  drawing.append(
    svg("path", { d: `M${points.join("L")}`, class: "llama-nb-an-line" }),
    svg("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 2, "text-anchor": "middle" }, "gate g"),
  );
  const caption = element("div", "llama-nb-an-caption", "");
  caption.append(element("span", "llama-nb-an-key", "silu(g)"));
  if (gates) caption.append(element("span", "llama-nb-an-key llama-nb-an-key-bars", "how many gates"));
  root.append(caption, drawing);
  return root;
}

function histogram(gates: Gates, x: (z: number) => number, floor: number): SVGElement {
  const most = Math.max(...gates.counts, 1);
  const steps = gates.counts.map((count, index) => {
    const height = floor - ((floor - 10) * count) / most;
    return `L${x(edge(gates, index)).toFixed(1)} ${height.toFixed(1)}L${x(edge(gates, index + 1)).toFixed(1)} ${height.toFixed(1)}`;
  });
  const d = `M${x(gates.low).toFixed(1)} ${floor}${steps.join("")}L${x(gates.high).toFixed(1)} ${floor}Z`;
  return svg("path", { d, class: "llama-nb-an-histogram" });
}
