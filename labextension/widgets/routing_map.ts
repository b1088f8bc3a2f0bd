/**
 * The load map: a row a layer, a column an expert, as bright as the expert's share of the tokens; beside each row how
 * uneven it is. A pixel of the canvas is an expert in a layer, whatever its size on the page.
 */

import { css, ink } from "./colour_maps";
import { element } from "./element";
import { type By, cellText, deadIn, layerText, type Scale, scaleOf, valuesOf } from "./routing_load";
import { colourOf, type RoutingPage } from "./routing_page";
import { pointing } from "./routing_point";
import type { RoutingHead, RoutingLoad } from "./shapes";

export interface LoadMap {
  root: HTMLElement;
  canvas: HTMLCanvasElement;
  /** What is said of the cell that is pointed at, or of the looked-at layer. */
  said(): string;
  update(by: By): void;
}

/** Rows are so high, and all of them together at least as high as this where there are many. */
const ROW = 18;
const LOW = 4;
const ROOM = 108;
/** Room for a figure in a cell, and for a line of text beside a row. */
const WORDED = { experts: 12, row: 15 };
const LINE = 11;

export function loadMap(page: RoutingPage, redraw: () => void, signal: AbortSignal): LoadMap {
  const root = element("div", "llama-nb-moe-load");
  const heads = element("div", "llama-nb-moe-heads");
  const layers = element("div", "llama-nb-moe-layers");
  const side = element("div", "llama-nb-moe-side");
  const cells = element("div", "llama-nb-moe-cells");
  const canvas = document.createElement("canvas");
  const words = element("div", "llama-nb-moe-words");
  const row = element("div", "llama-nb-moe-row");
  const mark = element("div", "llama-nb-moe-mark");
  cells.tabIndex = 0;
  cells.setAttribute("role", "application");
  cells.setAttribute("aria-roledescription", "load map");
  for (const one of [heads, layers, words]) one.setAttribute("aria-hidden", "true");
  cells.append(canvas, words, row, mark);
  root.append(element("i", ""), heads, element("i", ""), layers, cells, side);

  let drawn: unknown[] = [];
  const size = () => ({
    layers: page.get("load").shares?.length ?? 0,
    experts: page.get("head").experts ?? 0,
  });
  const pointed = pointing(page, cells, [layers, side], { size, redraw }, signal);

  const marks = (rows: number, experts: number, high: number) => {
    const { look } = page;
    const step = Math.ceil(LINE / high);
    for (const [index, label] of [...(layers.children as Iterable<HTMLElement>)].entries()) {
      label.dataset.on = String(index === look.index);
      const near = index !== look.index && Math.abs(index - look.index) < step;
      label.hidden = near || (index !== look.index && index % step !== 0);
    }
    place(row, look.index, rows, 0, 1);
    row.hidden = look.index < 0;
    const kept = look.pane === "expert" && look.expert !== null && look.index >= 0;
    const marked = pointed.cell() ?? (kept ? { index: look.index, expert: look.expert ?? 0 } : null);
    mark.hidden = marked === null;
    if (marked) place(mark, marked.index, rows, marked.expert, experts);
  };
  const said = () => {
    const [head, load] = [page.get("head"), page.get("load")];
    const cell = pointed.cell();
    if (cell) return cellText(head, load, cell.index, cell.expert);
    return layerText(head, load, pointed.row() ?? page.look.index);
  };
  return {
    root,
    canvas,
    said,
    update(by) {
      const [head, load] = [page.get("head"), page.get("load")];
      const { layers: rows, experts } = size();
      const scale = scaleOf(load, by);
      const high = Math.min(ROW * rows, Math.max(LOW * rows, ROOM));
      root.style.setProperty("--ln-high", `${high}px`);
      root.dataset.large = String(experts <= WORDED.experts * 2 && high / Math.max(1, rows) >= 9);
      root.style.setProperty("--ln-rows", String(Math.max(1, rows)));
      root.style.setProperty("--ln-columns", String(Math.max(1, experts)));
      const key = [load, by, String(head.layers), experts];
      if (key.some((part, number) => part !== drawn[number])) {
        drawPixels(canvas, load, scale, rows, experts);
        drawHeads(heads, experts);
        const worded = experts <= WORDED.experts && high / rows >= WORDED.row;
        words.replaceChildren(...(worded ? figures(load, scale) : []));
        side.replaceChildren(...besides(head, load, high / rows));
        layers.replaceChildren(...layerNames(head));
      }
      drawn = key;
      marks(rows, experts, high / Math.max(1, rows));
      const keys = "Arrows move, Enter opens the expert.";
      cells.setAttribute(
        "aria-label",
        pointed.cell() ? said() : `Share of each expert in each layer. ${keys}`,
      );
    },
  };
}

function place(mark: HTMLElement, index: number, rows: number, expert: number, experts: number): void {
  const share = (part: number, all: number) => `${(100 * part) / Math.max(1, all)}%`;
  Object.assign(mark.style, {
    top: share(index, rows),
    height: share(1, rows),
    left: share(expert, experts),
    width: share(1, experts),
  });
}

function drawPixels(
  canvas: HTMLCanvasElement,
  load: RoutingLoad,
  scale: Scale,
  rows: number,
  experts: number,
): void {
  canvas.width = Math.max(1, experts);
  canvas.height = Math.max(1, rows);
  const context = canvas.getContext("2d");
  if (!context) return;
  for (const [index, row] of valuesOf(load, scale.by).entries())
    for (const [expert, value] of row.entries()) {
      context.fillStyle = css(scale.map, scale.byte(value) / 255);
      context.fillRect(expert, index, 1, 1);
    }
}

/** The experts' numbers, above their colours. */
function drawHeads(into: HTMLElement, experts: number): void {
  const step = [1, 2, 4, 8, 16, 32, 64].find((each) => experts / each <= 16) ?? 128;
  const numbers: HTMLElement[] = [];
  for (let expert = 0; expert < experts; expert += step) {
    const made = element("span", "", `${expert === 0 ? "E" : ""}${expert}`);
    made.style.left = `${(100 * (expert + 0.5)) / experts}%`;
    numbers.push(made);
  }
  const stops = Array.from({ length: experts }, (_, expert) => {
    const ends = [expert, expert + 1].map((edge) => `${(100 * edge) / experts}%`);
    return `${colourOf(expert, experts)} ${ends.join(" ")}`;
  });
  const colours = element("i", "llama-nb-moe-colours");
  colours.style.background = `linear-gradient(to right, ${stops.join(",")})`;
  into.replaceChildren(...numbers, colours);
}

/** The value of each cell, in percent. */
function figures(load: RoutingLoad, scale: Scale): HTMLElement[] {
  return valuesOf(load, scale.by).flatMap((row, index) =>
    row.map((value, expert) => {
      const share = Math.round(1000 * Math.abs(value)) / 10;
      const sign = scale.by === "difference" && share > 0 ? (value < 0 ? "−" : "+") : "";
      const never = load.shares?.[index]?.[expert] === 0;
      const made = element("span", "", never ? "×" : `${sign}${share < 10 ? share : Math.round(share)}`);
      made.style.color = ink(scale.map, scale.byte(value) / 255);
      return made;
    }),
  );
}

function layerNames({ layers = [] }: RoutingHead): HTMLElement[] {
  return layers.map((layer, index) => {
    const made = element("span", "", `L${layer}`);
    made.style.top = `${(100 * (index + 0.5)) / layers.length}%`;
    return made;
  });
}

/** How uneven each layer is, and what its experts tell of the domain. */
function besides(head: RoutingHead, load: RoutingLoad, high: number): HTMLElement[] {
  const layers = head.layers ?? [];
  const bits = layers.map((layer) => load.information?.find((one) => one.layer === layer)?.bits);
  const made = [column("CV", "coefficient of variation of the shares: 0 is even", load.cv ?? [], high, 0.5)];
  if ((load.information?.length ?? 0) > 0)
    made.push(column("bits", "mutual information of expert and domain", bits as number[], high, 0.2));
  if ((load.dead?.length ?? 0) > 0) {
    const counts = layers.map((layer) => deadIn(load, layer));
    made.push(column("unused", "experts that no token goes to", counts, high, head.experts ?? 1));
  }
  return made;
}

function column(label: string, meaning: string, values: number[], high: number, least: number): HTMLElement {
  const made = element("div", "llama-nb-moe-column");
  const title = element("span", "llama-nb-moe-columnhead", label);
  title.title = meaning;
  made.append(title);
  if (high < LINE) made.style.setProperty("--ln-long", "50px");
  const full = Math.max(least, ...values.filter(Number.isFinite));
  for (const value of values) {
    const bar = element("span", "llama-nb-moe-bar1");
    const fill = element("i", "");
    fill.style.setProperty("--ln-part", ((value || 0) / full).toFixed(3));
    bar.append(fill);
    const shown = Number.isInteger(value) ? String(value) : (value?.toFixed(2) ?? "");
    if (high >= LINE) bar.append(element("b", "", shown));
    made.append(bar);
  }
  return made;
}
