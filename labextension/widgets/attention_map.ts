/**
 * A map of a head: every row a token that reads, every column a token that is read, with zoom and cross-hair.
 *
 * Draws what the tiles hold and says what is pointed at; which tile is needed is decided by who owns the place.
 */

import { drawAxes, type Marks, type Plot, plotOf } from "./attention_axes";
import { followKeys, followPointer, followWheel, keyed } from "./attention_gestures";
import type { Tile } from "./attention_tiles";
import type { Place } from "./attention_window";
import { element } from "./element";
import { svg } from "./svg";

export interface MapData extends Marks {
  place: Place;
  /** What is known of the place, the coarsest first. */
  tiles: Tile[];
  /** A small picture of the whole map, drawn where there is nothing better. */
  preview: HTMLCanvasElement | null;
  busy: boolean;
  /** Which head this is, where two are shown. */
  caption: string;
}

export interface MapSays {
  place(place: Place): void;
  point(cell: { row: number; col: number } | null): void;
  pick(cell: { row: number; col: number }): void;
  cancel(): boolean;
  hint(text: string): void;
}

export interface AttentionMap {
  root: HTMLElement;
  canvas: HTMLCanvasElement;
  axes: SVGSVGElement;
  update(data: MapData): void;
  /** Do what a key does. */
  key(key: string): void;
}

export function attentionMap(label: string, says: MapSays, signal: AbortSignal): AttentionMap {
  const root = element("div", "llama-nb-att-map");
  root.tabIndex = 0;
  root.setAttribute("role", "application");
  root.setAttribute("aria-roledescription", "attention map");
  root.setAttribute("aria-label", label);
  const canvas = document.createElement("canvas");
  const axes = svg("svg", { "aria-hidden": "true" });
  const caption = element("span", "llama-nb-att-caption");
  root.append(canvas, axes, caption);
  let data: MapData | null = null;
  let plot: Plot = { left: 0, top: 0, side: 1, cell: 1, worded: false };

  const redraw = () => {
    if (!data) return;
    const { width, height } = root.getBoundingClientRect();
    plot = plotOf(width || 300, height || 260, data.place);
    axes.setAttribute("width", String(width));
    axes.setAttribute("height", String(height));
    drawPixels(canvas, plot, data);
    drawAxes(axes, plot, data.place, data);
  };
  const resized = new ResizeObserver(redraw);
  resized.observe(root);
  signal.addEventListener("abort", () => resized.disconnect());

  const at = (event: { clientX: number; clientY: number }) => {
    const box = root.getBoundingClientRect();
    const place = data?.place ?? { row: 0, col: 0, span: 1 };
    const col = place.col + (event.clientX - box.left - plot.left) / plot.cell;
    const row = place.row + (event.clientY - box.top - plot.top) / plot.cell;
    const holds = row >= place.row && row < place.row + place.span;
    const on = holds && col >= place.col && col < place.col + place.span;
    return { row, col, on };
  };
  // The next key or wheel may come before the next frame.
  const told: MapSays = {
    ...says,
    place(place) {
      if (data) data = { ...data, place };
      says.place(place);
    },
    point(cell) {
      if (data) data = { ...data, cell };
      says.point(cell);
    },
  };
  const gesture = { at, data: () => data, cell: () => plot.cell };
  followPointer(root, told, gesture, signal);
  followWheel(root, told, gesture, signal);
  followKeys(root, told, gesture, signal);
  return {
    root,
    canvas,
    axes,
    key: (key) => {
      if (data) keyed({ key, shiftKey: false }, data, told);
    },
    update(next) {
      data = next;
      caption.textContent = next.caption;
      root.setAttribute("aria-busy", String(next.busy));
      redraw();
    },
  };
}

function drawPixels(canvas: HTMLCanvasElement, plot: Plot, { place, tiles, preview, tokens }: MapData): void {
  const scale = globalThis.devicePixelRatio || 1;
  const pixels = Math.round(plot.side * scale);
  if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
  Object.assign(canvas.style, {
    left: `${plot.left}px`,
    top: `${plot.top}px`,
    width: `${plot.side}px`,
    height: `${plot.side}px`,
  });
  const context = canvas.getContext("2d");
  if (!context) return;
  context.clearRect(0, 0, pixels, pixels);
  if (preview && tiles.length === 0) {
    context.imageSmoothingEnabled = true;
    const whole = { rows: [0, tokens], cols: [0, tokens], picture: preview };
    drawPart(context, whole as Tile, { height: preview.height, width: preview.width }, place, pixels);
  }
  context.imageSmoothingEnabled = false;
  for (const tile of tiles) drawPart(context, tile, tile, place, pixels);
}

/** Draw the part of a picture that lies in the place. */
function drawPart(
  context: CanvasRenderingContext2D,
  { rows, cols, picture }: Pick<Tile, "rows" | "cols" | "picture">,
  { height, width }: { height: number; width: number },
  place: Place,
  pixels: number,
): void {
  const top = Math.max(rows[0], place.row);
  const left = Math.max(cols[0], place.col);
  const bottom = Math.min(rows[1], place.row + place.span);
  const right = Math.min(cols[1], place.col + place.span);
  if (bottom <= top || right <= left) return;
  const perRow = height / (rows[1] - rows[0]);
  const perCol = width / (cols[1] - cols[0]);
  const cell = pixels / place.span;
  const [toX, toY] = [(left - place.col) * cell, (top - place.row) * cell];
  context.clearRect(toX, toY, (right - left) * cell, (bottom - top) * cell);
  context.drawImage(
    picture,
    ...([(left - cols[0]) * perCol, (top - rows[0]) * perRow] as const),
    ...([(right - left) * perCol, (bottom - top) * perRow] as const),
    ...([toX, toY, (right - left) * cell, (bottom - top) * cell] as const),
  );
}
