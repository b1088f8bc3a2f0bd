/**
 * The curves of a training: loss and validation loss large, and beside them what else a step has to say.
 *
 * All charts stand over the same axis of steps, and show the same step when the pointer or the arrow keys choose one.
 */

import { figure, sizes } from "./anatomy_figures";
import { copyButton } from "./copy";
import { button, element } from "./element";
import { inlined, raster, save } from "./picture";
import type { TrainingCurves, TrainingHead } from "./shapes";
import { svg } from "./svg";
import { type Drawing, drawing, type Layer, type Plot, type Point } from "./training_plot";
import { asTable, type Column, nearest, validationAt } from "./training_points";
import { endOf, linear, logarithmic, lossText } from "./training_scale";

export interface CurvesPane {
  root: HTMLElement;
  update(curves: TrainingCurves, head: TrainingHead): void;
}

interface Chart {
  root: HTMLElement;
  drawing: Drawing;
  draw(curves: TrainingCurves, head: TrainingHead, end: number): void;
  point(curves: TrainingCurves, head: TrainingHead, at: number | null): void;
}

const FAR = 10; // points, of PageUp and PageDown
const FALLBACK = { width: 360, height: 190 };

const whole = (value: number) => Math.round(value).toLocaleString("en");
const SMALL: [Column, string, (value: number) => string][] = [
  ["lr", "learning rate", figure],
  ["gradient_norm", "gradient norm", figure],
  ["tokens_per_s", "tokens/s", whole],
  ["memory", "memory", sizes],
];

export function curvesPane(signal: AbortSignal): CurvesPane {
  const root = element("div", "llama-nb-tr-curves");
  let curves: TrainingCurves = {};
  let head: TrainingHead = {};
  let at: number | null = null;
  let log = false;

  const readout = element("div", "llama-nb-tr-readout");
  const logs = button("log", "", () => turn(), signal);
  logs.title = "Draw the loss over a logarithmic axis";
  logs.setAttribute("aria-pressed", "false");
  const png = button("PNG", "llama-nb-copy", () => void take(), signal);
  png.setAttribute("aria-label", "Save the loss as a picture");
  const bar = element("div", "llama-nb-tr-bar");
  const copy = copyButton("Copy all curves, tab-separated", () => asTable(curves));
  bar.append(readout, logs, copy, png);

  const loss = lossChart(() => log);
  const small = SMALL.map(([column, name, written]) => smallChart(column, name, written));
  const charts = [loss, ...small];
  const beside = element("div", "llama-nb-tr-small");
  beside.append(...small.map((chart) => chart.root));
  const row = element("div", "llama-nb-tr-charts");
  row.append(loss.root, beside);
  const none = element("p", "llama-nb-muted llama-nb-tr-none");
  root.append(bar, row, none);

  const point = () => {
    const steps = curves.steps ?? [];
    const last = steps.length - 1;
    const index = Math.min(at ?? last, last);
    for (const chart of charts) chart.point(curves, head, at === null ? null : index);
    readout.replaceChildren(...said(curves, index));
    loss.root.setAttribute("aria-valuemax", String(Math.max(0, last)));
    loss.root.setAttribute("aria-valuenow", String(Math.max(0, index)));
    loss.root.setAttribute("aria-valuetext", index < 0 ? "no step yet" : (readout.textContent ?? ""));
  };
  const draw = () => {
    const steps = curves.steps ?? [];
    const ahead = Math.max(steps.at(-1) ?? 0, curves.validation?.at(-1)?.[0] ?? 0);
    const end = endOf(ahead, head.steps ?? 0);
    for (const chart of charts) chart.draw(curves, head, end);
    none.hidden = steps.length > 0;
    none.textContent = head.state === "failed" ? "" : "The first step has not ended yet.";
    root.dataset.empty = String(steps.length === 0);
    point();
  };
  const turn = () => {
    log = !log;
    logs.setAttribute("aria-pressed", String(log));
    draw();
  };
  const go = (to: number | null) => {
    const last = (curves.steps?.length ?? 0) - 1;
    at = to === null || last < 0 ? null : Math.min(last, Math.max(0, to));
    point();
  };
  const take = async () => {
    const title = [head.name, head.model].filter(Boolean).join(", ");
    save(await raster(picture(loss.drawing.root, `Loss: ${title}`)), `loss-${head.name ?? "training"}.png`);
  };
  listen(loss.root, charts, { at: () => at, curves: () => curves, go }, signal);
  const sized = new ResizeObserver(draw);
  for (const chart of charts) sized.observe(chart.drawing.root.parentElement ?? chart.root);
  signal.addEventListener("abort", () => sized.disconnect());
  return {
    root,
    update(next, who) {
      [curves, head] = [next, who];
      draw();
    },
  };
}

interface Place {
  at(): number | null;
  curves(): TrainingCurves;
  go(to: number | null): void;
}

/** The pointer chooses a step in any of the charts, the arrow keys in the one that has the focus. */
function listen(focused: HTMLElement, charts: Chart[], { at, curves, go }: Place, signal: AbortSignal): void {
  for (const chart of charts) {
    chart.root.addEventListener(
      "pointermove",
      (event) => go(nearest(curves().steps ?? [], chart.drawing.stepAt(event.clientX))),
      { signal },
    );
    chart.root.addEventListener("pointerleave", () => go(null), { signal });
  }
  focused.addEventListener("blur", () => go(null), { signal });
  focused.addEventListener(
    "keydown",
    (event) => {
      const last = (curves().steps?.length ?? 0) - 1;
      const now = at() ?? last;
      const to = {
        ArrowLeft: now - 1,
        ArrowDown: now - 1,
        ArrowRight: now + 1,
        ArrowUp: now + 1,
        PageDown: now - FAR,
        PageUp: now + FAR,
        Home: 0,
        End: last,
        Escape: null,
      }[event.key];
      if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      go(to);
    },
    { signal },
  );
}

/** What stands at a step, behind the marks of the curves: readout and legend at once. */
function said(curves: TrainingCurves, index: number): (Node | string)[] {
  const step = curves.steps?.[index];
  if (step === undefined) return [];
  const key = (of: Layer["name"], name: string, value: number | null | undefined) => {
    const made = element("span", "llama-nb-tr-key", `${name} `);
    made.dataset.of = of;
    made.append(element("b", "", lossText(value)));
    return made;
  };
  const stride = curves.stride ?? 1;
  const place = stride > 1 ? `steps ${Math.max(1, step - stride + 1)}–${step}` : `step ${step}`;
  const found = [
    element("span", "llama-nb-tr-step", place),
    key("train", "train", curves.loss?.[index]),
    key("smoothed", "smoothed", curves.smoothed?.[index]),
  ];
  const validation = validationAt(curves, step);
  if (validation) {
    const made = key("validation", "validation", validation[1]);
    if (validation[0] !== step) made.append(element("span", "llama-nb-muted", ` at ${validation[0]}`));
    found.push(made);
  }
  return found.flatMap((each, at) => (at ? [" ", each] : [each]));
}

const points = (curves: TrainingCurves, column: Column): Point[] =>
  (curves.steps ?? []).map((step, index) => [step, curves[column]?.[index] ?? null]);

const known = (all: Point[]) => all.map(([, value]) => value).filter((value) => value !== null);

const sizeOf = (host: Element) => ({
  width: Math.floor(host.clientWidth) || FALLBACK.width,
  height: Math.floor(host.clientHeight) || FALLBACK.height,
});

function lossChart(log: () => boolean): Chart {
  const root = element("div", "llama-nb-tr-loss");
  root.tabIndex = 0;
  root.setAttribute("role", "slider");
  root.setAttribute("aria-label", "Loss over the steps");
  root.setAttribute("aria-valuemin", "0");
  const made = drawing();
  root.append(made.root);
  return {
    root,
    drawing: made,
    draw(curves, head, end) {
      const layers: Layer[] = [
        { name: "train", points: points(curves, "loss"), as: "dots" },
        { name: "smoothed", points: points(curves, "smoothed"), as: "line" },
        { name: "validation", points: curves.validation ?? [], as: "diamonds" },
      ];
      const values = layers.flatMap((layer) => known(layer.points));
      const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
      const size = sizeOf(root);
      const scale = log() && low > 0 ? logarithmic(low, high) : linear(low, high, size.height > 150 ? 5 : 3);
      const look = { name: figure, title: "loss, nats a token", steps: true };
      const best = bestOf(curves, head);
      made.draw({ ...size, left: 36, end, scale, layers, ...look, ...(best ? { ring: best } : {}) });
    },
    point(curves, _, at) {
      const step = at === null ? null : (curves.steps?.[at] ?? null);
      const validation = step === null ? null : validationAt(curves, step);
      const there = validation && validation[0] === step ? validation[1] : null;
      const values = at === null ? [] : [curves.loss?.[at] ?? null, curves.smoothed?.[at] ?? null, there];
      made.mark(step, values);
    },
  };
}

/** The lowest validation loss, once a later one is higher: from there on the run only learns its rows by heart. */
function bestOf({ validation = [] }: TrainingCurves, { best, best_step: at }: TrainingHead): Plot["ring"] {
  const last = validation.at(-1);
  if (typeof best !== "number" || typeof at !== "number" || !last || last[0] <= at) return undefined;
  return [at, best, `the lowest validation loss, ${lossText(best)} at step ${at}`];
}

function smallChart(column: Column, name: string, written: (value: number) => string): Chart {
  const root = element("figure", "llama-nb-tr-figure");
  const caption = element("figcaption", "llama-nb-muted", `${name} `);
  const value = element("b", "");
  const planned = element("span", "");
  caption.append(value, planned);
  const host = element("div", "");
  const made = drawing();
  made.root.setAttribute("role", "img");
  host.append(made.root);
  root.append(caption, host);
  const plan = (head: TrainingHead) => (column === "memory" ? (head.planned_memory ?? null) : null);
  return {
    root,
    drawing: made,
    draw(curves, head, end) {
      const all = points(curves, column);
      const values = known(all);
      const level = plan(head);
      const top = Math.max(...values, level ?? 0, 0);
      const scale = { ticks: [0, top || 1], at: (of: number) => (of / (top || 1)) * 0.96 };
      const layers: Layer[] = [{ name: "figure", points: all, as: "line" }];
      const plot: Plot = { ...sizeOf(host), left: 46, end, scale, layers, name: written };
      made.draw(level === null ? plot : { ...plot, level });
      const range = values.length ? `${written(Math.min(...values))} to ${written(Math.max(...values))}` : "";
      made.root.setAttribute("aria-label", `${name} over the steps: ${range || "nothing yet"}`);
      planned.textContent = level === null ? "" : ` of ${written(level)} planned`;
    },
    point(curves, _, at) {
      const there = curves[column]?.[at ?? (curves.steps?.length ?? 0) - 1] ?? null;
      value.textContent = there === null ? "–" : written(there);
      made.mark(at === null ? null : (curves.steps?.[at] ?? null), [there]);
    },
  };
}

/** A drawing with a title on the page's ground, to be saved. */
function picture(shown: SVGSVGElement, title: string): SVGSVGElement {
  const [width, height] = [Number(shown.getAttribute("width")), Number(shown.getAttribute("height")) + 24];
  const style = getComputedStyle(shown);
  const made = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
  made.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const ink = style.getPropertyValue("--ln-text") || "#000";
  const inside = svg("g", { transform: "translate(0 24)" });
  inside.append(...inlined(shown));
  made.append(
    svg("rect", { width, height, fill: style.getPropertyValue("--ln-paper") || "#fff" }),
    svg("text", { x: 8, y: 16, fill: ink, "font-family": "sans-serif", "font-size": 12 }, title),
    inside,
  );
  return made;
}
