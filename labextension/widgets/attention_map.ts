/**
 * A map of a head: every row a token that reads, every column a token that is read, with zoom and cross-hair.
 *
 * Draws what the tiles hold and says what is pointed at; which tile is needed is decided by who owns the place.
 */

import { drawAxes, type Marks, type Plot, plotOf } from "./attention_axes";
import type { Tile } from "./attention_tiles";
import { inside, moved, type Place, showing, zoomed } from "./attention_window";
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

const STEP = 1.6;

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

interface Gesture {
  at(event: { clientX: number; clientY: number }): { row: number; col: number; on: boolean };
  data(): MapData | null;
  cell(): number;
}

const floored = ({ row, col }: { row: number; col: number }) => ({
  row: Math.floor(row),
  col: Math.floor(col),
});

/** Pointing, dragging, and two fingers. */
function followPointer(root: HTMLElement, says: MapSays, gesture: Gesture, signal: AbortSignal): void {
  const down = new Map<number, { clientX: number; clientY: number }>();
  const box = boxZoom(root, gesture);
  let dragged = 0;
  root.addEventListener(
    "pointerdown",
    (event) => {
      if (event.button !== 0 || event.target instanceof HTMLButtonElement) return;
      if (down.size === 0) dragged = 0;
      box.begin(event, down.size === 0);
      down.set(event.pointerId, event);
      root.setPointerCapture?.(event.pointerId);
    },
    { signal },
  );
  root.addEventListener(
    "pointermove",
    (event) => {
      const data = gesture.data();
      if (!data) return;
      const before = down.get(event.pointerId);
      if (!before) {
        const point = gesture.at(event);
        says.point(point.on ? floored(point) : null);
        return;
      }
      dragged += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
      if (dragged < 4) return;
      if (box.follow(event)) return;
      root.dataset.dragged = "true";
      says.place(dragging(data, gesture, down, event));
      down.set(event.pointerId, { clientX: event.clientX, clientY: event.clientY });
    },
    { signal },
  );
  const up = (event: PointerEvent) => {
    if (!down.delete(event.pointerId)) return;
    delete root.dataset.dragged;
    const boxed = box.end(event);
    if (boxed && dragged >= 4) says.place(boxed);
    const point = gesture.at(event);
    if (event.type === "pointerup" && dragged < 4 && point.on) {
      says.point(floored(point));
      says.pick(floored(point));
    }
  };
  for (const end of ["pointerup", "pointercancel"] as const) root.addEventListener(end, up, { signal });
  root.addEventListener("pointerleave", () => down.size === 0 && says.point(null), { signal });
  root.addEventListener(
    "dblclick",
    (event) => {
      const data = gesture.data();
      const point = gesture.at(event);
      if (data && point.on) says.place(zoomed(data.place, 2 * STEP, point.row, point.col, data.tokens));
    },
    { signal },
  );
}

/** Where all is seen there is nothing to drag: a mouse draws a box there, which then fills the map. */
function boxZoom(root: HTMLElement, { at, data }: Gesture) {
  let from: { clientX: number; clientY: number } | null = null;
  const shown = element("div", "llama-nb-att-box");
  shown.hidden = true;
  root.append(shown);
  return {
    begin(event: PointerEvent, alone: boolean) {
      const now = data();
      const out = now !== null && (now.place.span >= now.tokens || event.shiftKey);
      from = alone && out && event.pointerType === "mouse" && at(event).on ? event : null;
    },
    follow(event: PointerEvent): boolean {
      if (!from) return false;
      const { left, top } = root.getBoundingClientRect();
      shown.hidden = false;
      Object.assign(shown.style, {
        left: `${Math.min(from.clientX, event.clientX) - left}px`,
        top: `${Math.min(from.clientY, event.clientY) - top}px`,
        width: `${Math.abs(event.clientX - from.clientX)}px`,
        height: `${Math.abs(event.clientY - from.clientY)}px`,
      });
      return true;
    },
    end(event: PointerEvent): Place | null {
      shown.hidden = true;
      if (!from) return null;
      const [one, other] = [at(from), at(event)];
      from = null;
      const [row, col] = [Math.min(one.row, other.row), Math.min(one.col, other.col)];
      const span = Math.max(Math.abs(one.row - other.row), Math.abs(one.col - other.col));
      return inside({ row, col, span }, data()?.tokens ?? 1);
    },
  };
}

/** Where one finger moves the map to, or two fingers pinch it. */
function dragging(
  { place, tokens }: MapData,
  gesture: Gesture,
  down: Map<number, { clientX: number; clientY: number }>,
  event: PointerEvent,
): Place {
  const before = down.get(event.pointerId) ?? event;
  const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
  if (!other) {
    const rows = (before.clientY - event.clientY) / gesture.cell();
    return moved(place, rows, (before.clientX - event.clientX) / gesture.cell(), tokens);
  }
  const apart = (one: { clientX: number; clientY: number }) =>
    Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
  const fixed = gesture.at(other);
  return zoomed(place, apart(event) / apart(before), fixed.row, fixed.col, tokens);
}

/** The wheel zooms once the map has the focus (or with Ctrl, as a pinch on a touchpad says it); else the page scrolls. */
function followWheel(root: HTMLElement, says: MapSays, gesture: Gesture, signal: AbortSignal): void {
  root.addEventListener(
    "wheel",
    (event) => {
      const data = gesture.data();
      const point = gesture.at(event);
      if (!data || !point.on) return;
      const mine = event.ctrlKey || event.metaKey || document.activeElement === root;
      if (!mine) {
        says.hint("Click the map first, then the wheel zooms");
        return;
      }
      const factor = 2 ** (-Math.max(-120, Math.min(120, event.deltaY)) / (event.ctrlKey ? 60 : 150));
      if (factor < 1 && data.place.span >= data.tokens) return;
      event.preventDefault();
      says.place(zoomed(data.place, factor, point.row, point.col, data.tokens));
    },
    { signal, passive: false },
  );
}

/** Arrows move the cross-hair, + and - zoom around it, 0 shows all, Enter keeps the row. */
function followKeys(root: HTMLElement, says: MapSays, gesture: Gesture, signal: AbortSignal): void {
  root.addEventListener(
    "keydown",
    (event) => {
      const data = gesture.data();
      if (!data || event.ctrlKey || event.metaKey || event.target !== root) return;
      if (keyed(event, data, says)) {
        event.preventDefault();
        event.stopPropagation();
      }
    },
    { signal },
  );
}

const MOVES: Record<string, [number, number]> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

const ZOOMS: Record<string, number> = { "+": STEP, "=": STEP, "-": 1 / STEP, _: 1 / STEP };

/** Do what a key says; false for a key that means nothing here. */
function keyed(event: Pick<KeyboardEvent, "key" | "shiftKey">, data: MapData, says: MapSays): boolean {
  const { place, cell, tokens } = data;
  const from = cell ?? middle(data);
  const move = MOVES[event.key];
  const zoom = ZOOMS[event.key];
  if (move) {
    const far = Math.max(1, Math.round(place.span / (event.shiftKey ? 8 : 100)));
    const next = (at: number, step: number) => Math.max(0, Math.min(tokens - 1, at + step * far));
    const to = cell ? { row: next(from.row, move[0]), col: next(from.col, move[1]) } : from;
    says.place(showing(place, to.row, to.col, tokens));
    says.point(to);
  } else if (zoom) says.place(zoomed(place, zoom, from.row + 0.5, from.col + 0.5, tokens));
  else if (event.key === "0") says.place({ row: 0, col: 0, span: tokens });
  else if (event.key === "Enter" || event.key === " ") says.pick(from);
  else if (event.key !== "Escape") return false;
  else if (!says.cancel()) says.point(null);
  return true;
}

/** Where the cross-hair begins: on the row whose links are shown, or in the middle. */
function middle({ place, line }: MapData): { row: number; col: number } {
  const seen = (at: number, from: number) => at >= from && at < from + place.span;
  const row =
    line?.by === "row" && seen(line.at, place.row) ? line.at : Math.floor(place.row + place.span / 2);
  return { row, col: Math.min(row, Math.floor(place.col + place.span / 3)) };
}
