/** Pointing at the load map, by mouse and by keys: at an expert in a layer, or at a layer beside the map. */

import type { RoutingPage } from "./routing_page";

export interface Cell {
  index: number;
  expert: number;
}

export interface Pointing {
  cell(): Cell | null;
  /** The index of the layer that is pointed at beside the map. */
  row(): number | null;
}

export interface Grid {
  size(): { layers: number; experts: number };
  redraw(): void;
}

const inside = (value: number, count: number) => Math.max(0, Math.min(count - 1, value));

export function pointing(
  page: RoutingPage,
  cells: HTMLElement,
  edges: HTMLElement[],
  { size, redraw }: Grid,
  signal: AbortSignal,
): Pointing {
  let at: Cell | null = null;
  let beside: number | null = null;
  const point = (cell: Cell | null) => {
    if (cell?.index === at?.index && cell?.expert === at?.expert) return;
    at = cell;
    redraw();
  };
  const pointRow = (index: number | null) => {
    if (index === beside) return;
    beside = index;
    redraw();
  };
  const placed = (event: MouseEvent): Cell => {
    const box = cells.getBoundingClientRect();
    const { layers, experts } = size();
    const part = (from: number, length: number, count: number) =>
      inside(Math.floor((from * count) / Math.max(1, length)), count);
    return {
      index: part(event.clientY - box.top, box.height, layers),
      expert: part(event.clientX - box.left, box.width, experts),
    };
  };
  /** Where keys begin: at the expert that is looked at. */
  const first = () => ({ index: Math.max(0, page.look.index), expert: page.look.expert ?? 0 });
  const layerOf = (index: number) => page.get("head").layers?.[index] ?? -1;
  const open = ({ index, expert }: Cell) => page.toExpert(layerOf(index), expert);
  const hear = (target: HTMLElement, event: string, act: (event: never) => void) =>
    target.addEventListener(event, act as EventListener, { signal });

  hear(cells, "pointermove", (event: PointerEvent) => point(placed(event)));
  hear(cells, "pointerleave", () => point(null));
  hear(cells, "click", (event: MouseEvent) => open(placed(event)));
  hear(cells, "focus", () => cells.matches(":focus-visible") && point(first()));
  hear(cells, "blur", () => point(null));
  hear(cells, "keydown", (event: KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const now = at ?? first();
    const next = moved(event.key, now, size());
    if (next) point(next);
    else if (event.key === "Enter" || event.key === " ") open(now);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  for (const edge of edges) {
    hear(edge, "click", (event: MouseEvent) => page.toLayer(layerOf(placed(event).index)));
    hear(edge, "pointermove", (event: PointerEvent) => pointRow(placed(event).index));
    hear(edge, "pointerleave", () => pointRow(null));
  }
  return { cell: () => at, row: () => beside };
}

function moved(key: string, { index, expert }: Cell, size: ReturnType<Grid["size"]>): Cell | null {
  const to: Record<string, [number, number]> = {
    ArrowRight: [index, expert + 1],
    ArrowLeft: [index, expert - 1],
    ArrowDown: [index + 1, expert],
    ArrowUp: [index - 1, expert],
    PageDown: [size.layers, expert],
    PageUp: [0, expert],
    Home: [index, 0],
    End: [index, size.experts],
  };
  const found = to[key];
  return found ? { index: inside(found[0], size.layers), expert: inside(found[1], size.experts) } : null;
}
