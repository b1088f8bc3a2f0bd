/**
 * A square of experts: which go on to which, or which are chosen together, as a heat map with axes.
 *
 * One canvas whatever the number of experts; what is pointed at, by mouse or arrow keys, is told to who asked for it.
 */

import { CIVIDIS, css } from "./colour_maps";
import { element } from "./element";
import { svg } from "./svg";
import { percent } from "./token_strip";

export interface MatrixData {
  values: number[][];
  /** What rows and columns are: "from, in L1". */
  rows: string;
  columns: string;
  /** Whether the diagonal stands for an expert with itself, which says nothing. */
  diagonal: boolean;
  label: string;
}

export type Cell = { row: number; column: number };

export interface Matrix {
  root: HTMLElement;
  update(data: MatrixData | null): void;
  /** Mark a cell from outside; null marks none. */
  mark(cell: Cell | null): void;
}

const LEFT = 34;
const TOP = 4;
const BELOW = 30;
const SCALE = 26; // of the legend at the right
const PAGE = 8; // cells of a Page key

/** `point` hears of the cell under the pointer or the keys; `pick` of one that was clicked or entered. */
export function matrix(
  point: (cell: Cell | null) => void,
  pick: (cell: Cell) => void,
  signal: AbortSignal,
): Matrix {
  const root = element("div", "llama-nb-rp-matrix");
  root.tabIndex = 0;
  root.setAttribute("role", "application");
  root.setAttribute("aria-roledescription", "heat map");
  const canvas = document.createElement("canvas");
  const over = svg("svg", { "aria-hidden": "true" });
  root.append(canvas, over);
  let data: MatrixData | null = null;
  let cell: Cell | null = null;
  let side = 0;

  const size = () => data?.values.length ?? 0;
  const redraw = () => {
    const { width, height } = root.getBoundingClientRect();
    side = Math.max(60, Math.floor(Math.min((width || 220) - LEFT - SCALE, (height || 210) - TOP - BELOW)));
    over.setAttribute("width", String(LEFT + side + SCALE));
    over.setAttribute("height", String(TOP + side + BELOW));
    if (data) {
      paint(canvas, data, side);
      over.replaceChildren(...axes(data, side), ...crossed(cell, size(), side));
    }
  };
  const resized = new ResizeObserver(redraw);
  resized.observe(root);
  signal.addEventListener("abort", () => resized.disconnect());

  const go = (to: Cell | null) => {
    cell = to;
    redraw();
    point(to);
  };
  const under = (event: PointerEvent | MouseEvent): Cell | null => {
    const box = canvas.getBoundingClientRect();
    const at = (from: number, start: number) => Math.floor(((from - start) / (box.width || side)) * size());
    const found = { row: at(event.clientY, box.top), column: at(event.clientX, box.left) };
    const inside = [found.row, found.column].every((value) => value >= 0 && value < size());
    return inside ? found : null;
  };
  root.addEventListener("pointermove", (event) => go(under(event)), { signal });
  root.addEventListener("pointerleave", () => go(null), { signal });
  root.addEventListener(
    "click",
    (event) => {
      const found = under(event);
      if (found) pick(found);
    },
    { signal },
  );
  root.addEventListener(
    "keydown",
    (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || size() === 0) return;
      if (event.key === "Enter" && cell) pick(cell);
      else {
        const to = moved(event.key, cell, size());
        if (!to) return;
        go(to);
      }
      event.preventDefault();
      event.stopPropagation();
    },
    { signal },
  );
  return {
    root,
    update(next) {
      data = next;
      root.hidden = !next;
      if (next) root.setAttribute("aria-label", next.label);
      if (cell && Math.max(cell.row, cell.column) >= size()) cell = null;
      redraw();
    },
    mark(next) {
      cell = next;
      redraw();
    },
  };
}

function moved(key: string, cell: Cell | null, size: number): Cell | null {
  const { row, column } = cell ?? { row: 0, column: 0 };
  const moves: Record<string, [number, number]> = {
    ArrowRight: [row, column + 1],
    ArrowLeft: [row, column - 1],
    ArrowDown: [row + 1, column],
    ArrowUp: [row - 1, column],
    PageDown: [row + PAGE, column],
    PageUp: [row - PAGE, column],
    Home: [row, 0],
    End: [row, size - 1],
  };
  const to = moves[key];
  if (!to) return null;
  const [down, right] = (cell ? to : [0, 0]).map((value) => Math.min(size - 1, Math.max(0, value))) as [
    number,
    number,
  ];
  return { row: down, column: right };
}

/** The largest value that is compared: the diagonal of pairs is not. */
export function peak({ values, diagonal }: Pick<MatrixData, "values" | "diagonal">): number {
  let most = 0;
  values.forEach((row, at) => {
    row.forEach((value, column) => {
      if (diagonal || at !== column) most = Math.max(most, value);
    });
  });
  return most || 1;
}

function paint(canvas: HTMLCanvasElement, data: MatrixData, side: number): void {
  const count = data.values.length;
  const scale = globalThis.devicePixelRatio || 1;
  const pixels = Math.round(side * scale);
  if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
  Object.assign(canvas.style, {
    left: `${LEFT}px`,
    top: `${TOP}px`,
    width: `${side}px`,
    height: `${side}px`,
  });
  const context = canvas.getContext("2d");
  if (!context || !count) return;
  context.clearRect(0, 0, pixels, pixels);
  const most = peak(data);
  // Edges on whole pixels, so that neighbours neither overlap nor leave a seam.
  const edge = (index: number) => Math.round((index * pixels) / count);
  const seam = pixels / count > 9 * scale ? scale : 0;
  data.values.forEach((row, at) => {
    row.forEach((value, column) => {
      if (!data.diagonal && at === column) return;
      context.fillStyle = css(CIVIDIS, value / most);
      const [x, y] = [edge(column), edge(at)];
      context.fillRect(x, y, edge(column + 1) - x - seam, edge(at + 1) - y - seam);
    });
  });
}

function axes(data: MatrixData, side: number): SVGElement[] {
  const count = data.values.length;
  const cell = side / Math.max(1, count);
  const room = count > 100 ? 24 : 16;
  const step = [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64].find((one) => one * cell >= room) ?? 100;
  const found: SVGElement[] = [
    svg("rect", {
      class: "llama-nb-rp-frame",
      x: LEFT - 0.5,
      y: TOP - 0.5,
      width: side + 1,
      height: side + 1,
    }),
  ];
  for (let expert = 0; expert < count; expert += step) {
    const middle = (expert + 0.5) * cell;
    found.push(
      svg("text", { x: LEFT - 5, y: TOP + middle + 3.5, "text-anchor": "end" }, String(expert)),
      svg("text", { x: LEFT + middle, y: TOP + side + 12, "text-anchor": "middle" }, String(expert)),
    );
  }
  const turn = `translate(9 ${TOP + side / 2}) rotate(-90)`;
  found.push(
    svg("text", { class: "llama-nb-rp-axis", transform: turn, "text-anchor": "middle" }, data.rows),
    svg(
      "text",
      { class: "llama-nb-rp-axis", x: LEFT + side / 2, y: TOP + side + 25, "text-anchor": "middle" },
      data.columns,
    ),
  );
  return [...found, ...legend(peak(data), side)];
}

/** A bar of the colours at the right, from none to the largest value. */
function legend(most: number, side: number): SVGElement[] {
  const steps = 24;
  const [left, tall] = [LEFT + side + 8, side / steps];
  const bars = Array.from({ length: steps }, (_, index) =>
    svg("rect", {
      ...{ x: left, width: 7, y: TOP + index * tall, height: tall + 0.6 },
      fill: css(CIVIDIS, 1 - index / (steps - 1)),
    }),
  );
  const texts: [string, number][] = [
    [percent(most), TOP + 2],
    ["0", TOP + side - 2],
  ];
  return [
    ...bars,
    ...texts.map(([text, at], index) => {
      const turn = {
        transform: `translate(${left + 10} ${at}) rotate(90)`,
        "text-anchor": index ? "end" : "start",
      };
      return svg("text", turn, text);
    }),
  ];
}

function crossed(cell: Cell | null, count: number, side: number): SVGElement[] {
  if (!cell || !count) return [];
  const size = side / count;
  const box = (x: number, y: number, width: number, height: number, of: string) =>
    svg("rect", { class: `llama-nb-rp-${of}`, x, y, width, height });
  return [
    box(LEFT, TOP + cell.row * size, side, size, "band"),
    box(LEFT + cell.column * size, TOP, size, side, "band"),
    box(LEFT + cell.column * size, TOP + cell.row * size, size, size, "cell"),
  ];
}
