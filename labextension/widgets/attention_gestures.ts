/** How a map is moved by hand: pointing, dragging, a box, two fingers, the wheel, and keys for all of it. */

import type { MapData, MapSays } from "./attention_map";
import { inside, moved, type Place, showing, zoomed } from "./attention_window";
import { element } from "./element";

const STEP = 1.6;

export interface Gesture {
  at(event: { clientX: number; clientY: number }): { row: number; col: number; on: boolean };
  data(): MapData | null;
  cell(): number;
}

const floored = ({ row, col }: { row: number; col: number }) => ({
  row: Math.floor(row),
  col: Math.floor(col),
});

/** Pointing, dragging, and two fingers. */
export function followPointer(root: HTMLElement, says: MapSays, gesture: Gesture, signal: AbortSignal): void {
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
export function followWheel(root: HTMLElement, says: MapSays, gesture: Gesture, signal: AbortSignal): void {
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
export function followKeys(root: HTMLElement, says: MapSays, gesture: Gesture, signal: AbortSignal): void {
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
export function keyed(event: Pick<KeyboardEvent, "key" | "shiftKey">, data: MapData, says: MapSays): boolean {
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
