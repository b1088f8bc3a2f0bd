/**
 * The grid of a lens: a row a layer, a column a position, and below what really comes next in the text.
 *
 * Only the columns in sight are in the page, so a grid of 512 positions and 80 layers scrolls like one of ten. The
 * grid has the focus and names its active cell (aria-activedescendant), since cells come and go.
 */

import { CIVIDIS, css, ink } from "./colour_maps";
import { element } from "./element";
import { ground, type LensCells, type LensColumn, type LensName } from "./lens_cells";
import type { LensGround, LensHead } from "./shapes";
import { percent, visible } from "./token_strip";

export interface At {
  row: number;
  column: number;
}
export interface Grid {
  root: HTMLElement;
  update(head: LensHead, cells: LensCells, at: At, by: LensGround): void;
  /** Pixels of height that the grid does not fill. */
  spare(): number;
  /** Bring the active cell into sight; at first into the middle. */
  reveal(middle?: boolean): void;
  /** Keep the active cell in sight where it was before the grid got another size; who scrolled away stays there. */
  resized(): void;
}
export interface GridActs {
  pick(at: At): void;
  /** Where the mouse points; null when it has left. */
  point(at: At | null): void;
  /** The columns in sight, when they change. */
  seen(first: number, end: number): void;
}

const WIDTH = 62; // pixels of a column, as in lens.css
const LABELS = 78; // of the layers' names
const PAGE = 8; // rows of a Page key
const BESIDE = 3; // columns that are drawn beyond the edge
let grids = 0;

export function lensGrid(acts: GridActs, signal: AbortSignal): Grid {
  grids += 1;
  const name = `llama-nb-lens-${grids}`;
  const root = element("div", "llama-nb-lens-scroll");
  root.tabIndex = 0;
  root.setAttribute("role", "grid");
  root.setAttribute("aria-label", "What each layer would say after each token");
  const inner = element("div", "llama-nb-lens-grid");
  inner.setAttribute("role", "presentation");
  root.append(inner);
  const idOf = ({ row, column }: At) => `${name}-${row}-${column}`;

  let head: LensHead = {};
  let cells: LensCells | null = null;
  let at: At = { row: 0, column: 0 };
  let by: LensGround = "probability";
  let drawn = "";
  let followed = true; // the active cell is in sight

  const sight = (): [number, number] => {
    const columns = head.columns ?? 0;
    const first = Math.floor(root.scrollLeft / WIDTH) - BESIDE;
    const shown = Math.ceil((root.clientWidth || 600) / WIDTH) + 2 * BESIDE;
    return [Math.max(0, first), Math.min(columns, Math.max(first + shown, 0))];
  };
  const draw = (force = false) => {
    if (!cells) return;
    const [first, end] = sight();
    const key = `${first}-${end}`;
    if (key === drawn && !force) return;
    drawn = key;
    acts.seen(first, end);
    inner.style.width = `${LABELS + WIDTH * (head.columns ?? 0)}px`;
    inner.replaceChildren(...rowsOf(first, end, cells));
    mark();
  };
  const rowsOf = (first: number, end: number, held: LensCells): HTMLElement[] => {
    const columns = new Map<number, LensColumn>();
    for (let column = first; column < end; column += 1)
      if (held.has(column)) columns.set(column, held.column(column));
    const layers = head.layers ?? [];
    const top = line("llama-nb-lens-top", "after", 1);
    const bottom = line("llama-nb-lens-bottom", "in the text", layers.length + 2);
    const body = layers.map((layer, row) => line("llama-nb-lens-row", layer, row + 2));
    for (let column = first; column < end; column += 1) {
      const found = columns.get(column);
      top.append(place(columnHead(found, column, head), column));
      bottom.append(place(follows(found), column));
      body.forEach((row, number) => {
        row.append(place(cellOf(found, number, column), column));
      });
    }
    return [top, ...body, bottom];
  };
  const cellOf = (found: LensColumn | undefined, row: number, column: number): HTMLElement => {
    const made = element("div", "llama-nb-lens-cell");
    made.setAttribute("role", "gridcell");
    made.id = idOf({ row, column });
    Object.assign(made.dataset, { row, column });
    const cell = found?.cells[row];
    const said = cell?.top[0];
    if (!found || !cell || !said) return made;
    write(made, said);
    const share = ground(cell, by) / (head.ends?.[by] || 1);
    made.style.background = css(CIVIDIS, share);
    made.style.color = ink(CIVIDIS, share);
    made.dataset.settled = String(row === found.settled);
    if (row === found.settled) made.title = "From here on the layers say what the model says";
    made.dataset.final = String(cell.finalRank === 1);
    const layer = head.layers?.[row] ?? "";
    const value = by === "probability" ? "" : `, ${by} ${cell[by].toFixed(2)} nats`;
    made.setAttribute(
      "aria-label",
      `${layer} after ${visible(found.token.text)}: ${visible(said.text)} ${percent(said.probability)}${value}`,
    );
    return made;
  };
  const mark = () => {
    for (const cell of inner.querySelectorAll("[aria-selected=true]")) cell.removeAttribute("aria-selected");
    for (const cell of inner.querySelectorAll("[data-here]")) cell.removeAttribute("data-here");
    const cell = inner.querySelector<HTMLElement>(`[data-row="${at.row}"][data-column="${at.column}"]`);
    cell?.setAttribute("aria-selected", "true");
    if (cell) root.setAttribute("aria-activedescendant", cell.id);
    else root.removeAttribute("aria-activedescendant");
    inner.querySelector(`.llama-nb-lens-top [data-column="${at.column}"]`)?.setAttribute("data-here", "");
    cell?.parentElement?.firstElementChild?.setAttribute("data-here", "");
  };

  const reveal = (middle = false) => {
    const left = LABELS + at.column * WIDTH;
    const beside = Math.floor((root.clientWidth - LABELS) / WIDTH / 2);
    if (middle) root.scrollLeft = (at.column - beside) * WIDTH;
    if (left < root.scrollLeft + LABELS) root.scrollLeft = left - LABELS;
    else if (left + WIDTH > root.scrollLeft + root.clientWidth)
      root.scrollLeft = left + WIDTH - root.clientWidth;
    draw();
    const cell = inner.querySelector<HTMLElement>(`#${idOf(at)}`);
    const [above, below] = [inner.firstElementChild, inner.lastElementChild];
    const line = cell?.parentElement;
    if (!line || !(above instanceof HTMLElement) || !(below instanceof HTMLElement)) return;
    const over = line.offsetTop - root.scrollTop - above.offsetHeight;
    const under =
      line.offsetTop + line.offsetHeight + below.offsetHeight - root.scrollTop - root.clientHeight;
    if (over < 0) root.scrollTop += over;
    else if (under > 0) root.scrollTop += under;
    followed = true;
  };
  const scrolled = () => {
    const left = LABELS + at.column * WIDTH - root.scrollLeft;
    followed = left >= LABELS && left + WIDTH <= root.clientWidth;
    window.requestAnimationFrame(() => draw());
  };
  const move = (row: number, column: number) => {
    const rows = (head.layers?.length ?? 1) - 1;
    const columns = (head.columns ?? 1) - 1;
    acts.pick({ row: clamp(row, rows), column: clamp(column, columns) });
  };
  root.addEventListener(
    "keydown",
    (event) => {
      if (event.altKey || event.metaKey) return;
      const moves: Record<string, [number, number]> = {
        ArrowRight: [at.row, at.column + 1],
        ArrowLeft: [at.row, at.column - 1],
        ArrowDown: [at.row + 1, at.column],
        ArrowUp: [at.row - 1, at.column],
        PageDown: [at.row + PAGE, at.column],
        PageUp: [at.row - PAGE, at.column],
        Home: [event.ctrlKey ? 0 : at.row, 0],
        End: [event.ctrlKey ? Number.MAX_SAFE_INTEGER : at.row, Number.MAX_SAFE_INTEGER],
      };
      const to = moves[event.key];
      if (!to) return;
      event.preventDefault();
      event.stopPropagation();
      move(...to);
    },
    { signal },
  );
  const under = (event: Event): At | null => {
    const cell = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-row]") : null;
    return cell ? { row: Number(cell.dataset.row), column: Number(cell.dataset.column) } : null;
  };
  root.addEventListener(
    "click",
    (event) => {
      const found = under(event);
      if (found) acts.pick(found);
    },
    { signal },
  );
  // A cell that scrolls to where the mouse rests is not pointed at: keys may have moved it there.
  let rests = "";
  root.addEventListener(
    "pointermove",
    (event) => {
      const where = `${event.clientX} ${event.clientY}`;
      if (event.pointerType === "mouse" && where !== rests) acts.point(under(event));
      rests = where;
    },
    { signal },
  );
  root.addEventListener("pointerleave", () => acts.point(null), { signal });
  root.addEventListener("scroll", scrolled, { signal, passive: true });

  return {
    root,
    reveal,
    resized: () => (followed ? reveal() : draw()),
    spare: () => root.clientHeight - inner.offsetHeight,
    update(newHead, newCells, newAt, newBy) {
      const same = newHead === head && newCells === cells && newBy === by;
      [head, cells, at, by] = [newHead, newCells, newAt, newBy];
      root.setAttribute("aria-rowcount", String((head.layers?.length ?? 0) + 2));
      root.setAttribute("aria-colcount", String((head.columns ?? 0) + 1));
      draw(!same);
      mark();
    },
  };
}

function clamp(value: number, last: number): number {
  return Math.min(Math.max(value, 0), last);
}

function line(className: string, label: string, number: number): HTMLElement {
  const made = element("div", `llama-nb-lens-line ${className}`);
  made.setAttribute("role", "row");
  made.setAttribute("aria-rowindex", String(number));
  const name = element("div", "llama-nb-lens-label", label);
  name.setAttribute("role", "rowheader");
  made.append(name);
  return made;
}

function place(cell: HTMLElement, column: number): HTMLElement {
  cell.style.left = `${LABELS + column * WIDTH}px`;
  cell.setAttribute("aria-colindex", String(column + 2));
  return cell;
}

function columnHead(found: LensColumn | undefined, column: number, head: LensHead): HTMLElement {
  const made = element("div", "llama-nb-lens-cell");
  made.setAttribute("role", "columnheader");
  made.dataset.column = String(column);
  if (!found) return made;
  write(made, found.token);
  const written = found.position >= (head.prompt ?? 0);
  made.dataset.written = String(written);
  made.title = `token ${found.position}: ${visible(found.token.text)}${written ? ", written by the model" : ""}`;
  return made;
}

function follows(found: LensColumn | undefined): HTMLElement {
  const made = element("div", "llama-nb-lens-cell");
  made.setAttribute("role", "gridcell");
  if (!found) return made;
  if (!found.ahead) {
    made.textContent = "–";
    return made;
  }
  write(made, found.ahead);
  const rank = found.cells[found.cells.length - 1]?.nextRank ?? 0;
  made.dataset.guessed = String(rank === 1);
  made.title = `${visible(found.ahead.text)} comes next in the text: rank ${rank.toLocaleString("en")} of the model's`;
  return made;
}

function write(into: HTMLElement, name: LensName): void {
  const made = element("span", name.special ? "llama-nb-lens-control" : "", visible(name.text));
  into.append(made);
}
