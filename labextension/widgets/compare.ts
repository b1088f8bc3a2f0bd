/**
 * A comparison (llama_nb/widgets/compare_view.py), as an anywidget module: answers side by side in a grid.
 *
 * `initialize` keeps the model's cells up to date from the kernel's deltas, once per model; each view follows the
 * cells. The page holds only whether answers or divergences are looked at.
 */

import { announce } from "./announce";
import { answerOf, type CellPane, cellPane } from "./compare_cell";
import { copyButton } from "./copy";
import { button, element } from "./element";
import { ownKeys } from "./keys";
import { standIn } from "./live_mark";
import { type Model, pageName } from "./model";
import type { CompareCell } from "./shapes";
import { LEGENDS } from "./token_strip";
import type { CompareViewTraits } from "./traits";

export type CompareModel = Model<CompareViewTraits>;

/** What changed in one cell: texts that grew, and fields with new values. */
interface Change {
  number: number;
  grow?: Partial<Record<"common" | "mark" | "rest", string>>;
  set?: Partial<CompareCell>;
}
interface DeltaMessage {
  kind: "delta";
  revision: number;
  status: string;
  cells: Change[];
}

const TALLEST = 300; // pixels of the grid before its handle was used
const HEAD = 40; // pixels that the columns' names take
const WIDE = 300; // pixels of a column, where the page has them
const HINT_AFTER_MS = 1000;
// The first hello can travel before the page has a subshell of the kernel, and then waits for the cell's end.
const HELLO_AFTER_MS = [0, 150, 500, 1500, 5000];

/** Return the cells with the changes, each that changed as a new object. */
export function changed(cells: CompareCell[], changes: Change[]): CompareCell[] {
  const next = [...cells];
  for (const { number, grow = {}, set = {} } of changes) {
    const cell = next[number - 1];
    if (!cell) continue;
    const { common = "", mark = "", rest = "" } = grow;
    const grown = { common: cell.common + common, mark: cell.mark + mark, rest: cell.rest + rest };
    next[number - 1] = { ...cell, ...grown, ...set };
  }
  return next;
}

function initialize({ model }: { model: CompareModel }): () => void {
  let asked = false;
  const onMessage = (message: DeltaMessage) => {
    if (message?.kind !== "delta" || message.revision <= model.get("revision")) return;
    if (message.revision !== model.get("revision") + 1) {
      // After a gap nothing fits until a checkpoint brings all cells.
      if (!asked) model.send({ kind: "lost" });
      asked = true;
      return;
    }
    asked = false;
    model.set("revision", message.revision);
    model.set("status", message.status);
    model.set("cells", { cells: changed(model.get("cells").cells ?? [], message.cells) });
  };
  model.on("msg:custom", onMessage);
  const hellos = HELLO_AFTER_MS.map((delay) =>
    window.setTimeout(() => {
      if (model.get("running") && (delay < 500 || !model.get("stoppable")))
        model.send({ kind: "hello", page: pageName() });
    }, delay),
  );
  return () => {
    for (const hello of hellos) window.clearTimeout(hello);
    model.off("msg:custom", onMessage);
  };
}

function render({ model, el }: { model: CompareModel; el: HTMLElement }): () => void {
  const owner = new AbortController();
  const { signal } = owner;
  const root = element("section", "llama-nb-view llama-nb-compare");
  root.setAttribute("aria-label", "Comparison");
  root.style.setProperty("--ln-wide", `${WIDE * (model.get("grid").columns ?? []).length}px`);
  ownKeys(root);
  let byKl = false;

  const head = header(model, root, signal);
  const error = element("div", "llama-nb-error");
  const notes = element("ul", "llama-nb-compare-notes");
  const scroll = element("div", "llama-nb-compare-scroll");
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Answers");
  scroll.tabIndex = 0;
  const grid = gridOf(model, signal);
  scroll.append(grid.root);
  const legend = element("div", "llama-nb-compare-legend");
  const shading = button(
    "Shade by KL",
    "llama-nb-compare-shading",
    () => {
      byKl = !byKl;
      shading.setAttribute("aria-pressed", String(byKl));
      drawCells(true);
    },
    signal,
  );
  shading.setAttribute("aria-pressed", "false");
  shading.title =
    "KL divergence of each next-token prediction, along the answer that a cell is compared with";
  const foot = element("div", "llama-nb-compare-foot");
  foot.append(
    legend,
    shading,
    copyButton("Copy the answers as a table", () => asTable(cellsOf(model)), "Copy data"),
  );
  root.append(head.root, error, scroll, foot, notes);

  const adjust = fitter(scroll, grid.root);
  const look = follower(scroll, signal);
  const drawCells = (all = false) => {
    const cells = cellsOf(model);
    grid.update(cells, byKl, all);
    shading.hidden = !cells.some((cell) => cell.kl !== null);
    drawLegend(legend, cells, byKl);
    adjust();
    look(model.get("running"));
  };
  const drawNotes = () => {
    notes.replaceChildren(...model.get("notes").map((note) => element("li", "", note)));
    notes.hidden = model.get("notes").length === 0;
  };
  const drawError = () => {
    error.textContent = model.get("error");
    error.hidden = !model.get("error");
  };
  const ended = () => {
    head.update();
    look(model.get("running"));
    if (!model.get("running")) announce(`Comparison: ${model.get("status")}`);
  };
  const follow: [string, () => void][] = [
    ["change:cells", () => drawCells()],
    ["change:status", head.update],
    ["change:running", ended],
    ["change:stoppable", head.update],
    ["change:notes", drawNotes],
    ["change:error", drawError],
  ];
  for (const [event, draw] of follow) model.on(event, draw);
  drawNotes();
  drawError();
  head.update();
  el.append(root);
  drawCells();
  const drawn = window.requestAnimationFrame(() => adjust());
  const leave = standIn(model as never, el);
  return () => {
    owner.abort();
    window.cancelAnimationFrame(drawn);
    head.end();
    leave();
    for (const [event, draw] of follow) model.off(event, draw);
    root.remove();
  };
}

function cellsOf(model: CompareModel): CompareCell[] {
  return model.get("cells").cells ?? [];
}

/** Title, what was asked, how far it is, and Stop. */
function header(model: CompareModel, root: HTMLElement, signal: AbortSignal) {
  const { title = "", message = "", system = "" } = model.get("grid");
  const box = element("div", "llama-nb-compare-top");
  const line = element("div", "llama-nb-compare-line");
  const name = element("span", "llama-nb-title", title.split(" to “")[0]);
  const status = element("span", "llama-nb-compare-progress llama-nb-muted");
  status.setAttribute("role", "status");
  const stop = button(
    "Stop",
    "llama-nb-compare-stop",
    () => {
      stop.disabled = true;
      stop.textContent = "Stopping";
      model.send({ kind: "stop" });
    },
    signal,
  );
  const hint = element("span", "llama-nb-muted", "interrupt the kernel to stop");
  line.append(name, status, stop, hint);
  const asked = element("div", "llama-nb-compare-asked", message);
  asked.setAttribute("role", "note");
  asked.setAttribute("aria-label", "What was asked");
  box.append(line, asked);
  if (system) {
    const more = element("details", "llama-nb-compare-system");
    more.append(element("summary", "", "System prompt"), element("div", "", system));
    box.append(more);
  }
  let patient = true;
  const update = () => {
    const running = model.get("running");
    root.classList.toggle("llama-nb-running", running);
    root.setAttribute("aria-busy", String(running));
    status.textContent = model.get("status");
    const hadFocus = stop === document.activeElement;
    stop.hidden = !running || !model.get("stoppable");
    if (hadFocus && stop.hidden) root.querySelector<HTMLElement>(".llama-nb-compare-scroll")?.focus();
    hint.hidden = patient || !running || model.get("stoppable");
  };
  const hinting = window.setTimeout(() => {
    patient = false;
    update();
  }, HINT_AFTER_MS);
  return { root: box, update, end: () => window.clearTimeout(hinting) };
}

/** The table: columns and rows by their names, a pane a cell. */
function gridOf(model: CompareModel, signal: AbortSignal) {
  const { columns = [], rows = [] } = model.get("grid");
  const root = element("table", "llama-nb-compare-grid") as HTMLTableElement;
  root.style.setProperty("--ln-columns", String(columns.length));
  const named = rows.some(Boolean);
  root.classList.toggle("llama-nb-compare-rows", named);
  if (columns.some(Boolean)) {
    const top = root.createTHead().insertRow();
    if (named) top.append(element("td", ""));
    for (const column of columns) top.append(heading(column, "col"));
  }
  const panes = new Map<number, CellPane>();
  const body = root.createTBody();
  rows.forEach((name, row) => {
    const line = body.insertRow();
    if (named) line.append(heading(name, "row"));
    for (const cell of cellsOf(model).filter((one) => one.row === row)) {
      const pane = cellPane(cell, signal);
      panes.set(cell.number, pane);
      line.append(pane.root);
    }
  });
  let shown: CompareCell[] = [];
  return {
    root,
    update(cells: CompareCell[], byKl: boolean, all: boolean): void {
      const referenceOf = ({ reference }: CompareCell) =>
        reference === null ? undefined : cells[reference - 1];
      cells.forEach((cell, index) => {
        const same = shown[index] === cell;
        if (all || !same) panes.get(cell.number)?.update(cell, referenceOf(cell), byKl);
      });
      shown = cells;
    },
  };
}

function heading(name: string, scope: "col" | "row"): HTMLElement {
  const made = element("th", "") as HTMLTableCellElement;
  made.scope = scope;
  made.append(element("div", "llama-nb-compare-inside", name));
  return made;
}

function drawLegend(into: HTMLElement, cells: CompareCell[], byKl: boolean): void {
  const differs = cells.some((cell) => cell.place !== null);
  const what = byKl ? "kl" : differs ? "differs" : "";
  if (into.dataset.what === what) return;
  into.dataset.what = what;
  if (byKl) {
    const keys = LEGENDS.divergence.map((text, level) => {
      const key = element("span", "llama-nb-chip", text);
      key.dataset.level = String(level);
      return key;
    });
    into.replaceChildren("KL along the reference:", ...keys);
  } else {
    const mark = element("span", "llama-nb-compare-mark", "the first token that differs");
    into.replaceChildren(...(differs ? ["dim: as in the reference · ", mark] : []));
  }
}

/** The grid opens as high as its answers are, up to a limit; its handle is the user's, from the first pull on. */
function fitter(scroll: HTMLElement, grid: HTMLElement): () => void {
  let set = "";
  return () => {
    if (scroll.style.height !== set) return; // the browser writes there what the user pulls
    const needed = Math.min(grid.offsetHeight + scroll.offsetHeight - scroll.clientHeight, TALLEST);
    if (needed <= 0) return;
    scroll.style.height = `${needed}px`;
    set = scroll.style.height;
  };
}

/** Keeps what is written in sight, and ends at the top; not once somebody has scrolled or resized. */
function follower(scroll: HTMLElement, signal: AbortSignal): (running: boolean) => void {
  let touched = false;
  const touch = () => {
    touched = true;
  };
  for (const event of ["wheel", "pointerdown", "keydown"])
    scroll.addEventListener(event, touch, { signal, passive: true });
  return (running) => {
    if (touched) return;
    const written = scroll.querySelector('[data-state="writing"] .llama-nb-compare-inside');
    if (!running) scroll.scrollTop = 0;
    if (!running || !written) return;
    const [view, at] = [scroll.getBoundingClientRect(), written.getBoundingClientRect()];
    if (!view.height) return; // not drawn yet
    const above = view.top + HEAD - at.top;
    const below = at.bottom + 8 - view.bottom;
    if (below > 0) scroll.scrollTop += below;
    else if (above > 0 && at.height < view.height - HEAD) scroll.scrollTop -= above;
  };
}

/** The answers as tab-separated values. */
function asTable(cells: CompareCell[]): string {
  const heads = ["number", "cell", "first difference", "mean KL (nats)", "answer"];
  const rows = cells.map((cell) => [
    String(cell.number),
    cell.label,
    cell.place === null ? "" : String(cell.place),
    cell.mean_kl === null ? "" : String(cell.mean_kl),
    JSON.stringify(answerOf(cell)),
  ]);
  return [heads, ...rows].map((row) => row.join("\t")).join("\n");
}

export default { initialize, render };
