/** RMSNorm on one token: its vector before, the learned weight, the vector behind. */

import { row, table } from "./anatomy_block";
import { figure } from "./anatomy_figures";
import type { Panel } from "./anatomy_pane";
import { element, option } from "./element";
import type { AnatomyDetail, AnatomyMeasured } from "./shapes";
import { svg } from "./svg";
import { visible } from "./token_strip";

const HEIGHT = 34;

export const normPanel: Panel = ({ model, go, signal }, block, place) => {
  const measured = model.get("measured");
  const detail = model.get("detail");
  if (!measured.tokens)
    return [element("p", "", "Have the model read a text to see what this norm makes of a token.")];
  const name = block?.name.split(".").at(-1);
  const current = detail.norm === name && detail.token === place.token;
  if (!current || (block?.group !== null && detail.layer !== place.layer) || !detail.before)
    return [choose(measured, place.token, go, signal), element("p", "llama-nb-muted", "…")];
  const said = `√mean(x²) of this token is ${figure(detail.rms)}: each number is divided by it, then stretched by its weight.`;
  return [choose(measured, place.token, go, signal), element("p", "", said), strips(detail), largest(detail)];
};

function choose(
  measured: AnatomyMeasured,
  token: number,
  go: (change: { token: number }) => void,
  signal: AbortSignal,
): HTMLElement {
  const label = element("label", "llama-nb-an-slider");
  const select = element("select", "") as HTMLSelectElement;
  select.setAttribute("aria-label", "Token");
  select.dataset.key = "token";
  select.append(
    ...(measured.positions ?? []).map(([at, text]) => option(`${at}: ${visible(text)}`, String(at))),
  );
  select.value = String(token);
  select.addEventListener("change", () => go({ token: Number(select.value) }), { signal });
  label.append(element("span", "", "token"), select);
  return label;
}

function strips(detail: AnatomyDetail): HTMLElement {
  const root = element("div", "llama-nb-an-strips");
  const parts: [string, (number | null)[]][] = [
    ["x", detail.before ?? []],
    ["w", detail.weight ?? []],
    ["x̂", detail.behind ?? []],
  ];
  for (const [name, values] of parts) {
    const most = Math.max(...values.map((value) => Math.abs(value ?? 0)), 1e-12);
    root.append(
      element("span", "", name),
      bars(name, values, most),
      element("span", "llama-nb-muted", `±${figure(most)}`),
    );
  }
  const channels = detail.channels ?? [];
  const all = (channels.at(-1) ?? 0) >= channels.length;
  const what = all
    ? "channels; a bar is the largest of its neighbours"
    : "channels, each scaled to its largest";
  root.append(element("span", ""), element("span", "llama-nb-muted", what));
  return root;
}

/** A bar a channel, up or down from the middle. */
function bars(name: string, values: (number | null)[], most: number): Element {
  const middle = HEIGHT / 2;
  const path = values.map((value, index) => {
    const end = middle - ((value ?? 0) / most) * middle;
    return `M${index + 0.5} ${middle}V${end.toFixed(2)}`;
  });
  const drawing = svg("svg", {
    viewBox: `0 0 ${values.length} ${HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
  });
  drawing.setAttribute("aria-label", `${name}: up to ${figure(most)}`);
  drawing.append(
    svg("line", { x1: 0, x2: values.length, y1: middle, y2: middle, class: "llama-nb-an-grid" }),
    svg("path", { d: path.join(""), class: "llama-nb-an-bars" }),
  );
  return drawing;
}

function largest(detail: AnatomyDetail): HTMLElement {
  const made = table(["largest channels", "x", "w", "x̂"]);
  for (const [channel, ...figures] of detail.largest ?? []) {
    const first = element("th", "", String(channel));
    first.setAttribute("scope", "row");
    made.body.append(row(first, ...figures.map(figure)));
  }
  return made.root;
}
