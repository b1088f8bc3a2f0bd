/**
 * A logit lens (llama_nb/widgets/lens_view.py), as an anywidget module: grid, the tokens behind a cell, a position's way.
 *
 * The kernel sends windows of columns and remembers where one looks; what is pointed at is the page's. Texts of tokens
 * are untrusted and only ever become text.
 */

import { CIVIDIS, css } from "./colour_maps";
import { copyButton } from "./copy";
import { element, option } from "./element";
import { ownKeys } from "./keys";
import { asData, LensCells } from "./lens_cells";
import { lensChart } from "./lens_chart";
import { lensDetail } from "./lens_detail";
import { type At, lensGrid } from "./lens_grid";
import { standIn } from "./live_mark";
import type { Model } from "./model";
import type { LensGround, LensHead } from "./shapes";
import { nats } from "./token_strip";
import type { LensViewTraits } from "./traits";

export type LensModel = Model<LensViewTraits>;

const SILENT_AFTER_MS = 1500;
const TELL_AFTER_MS = 120; // of rest, so that a key that is held down tells the kernel once
const AHEAD = 16; // columns that a new window has before the first one in sight
const GROUNDS: [LensGround, string, string][] = [
  ["probability", "Probability", "of the token in the cell"],
  ["entropy", "Entropy", "of what the layer says, in nats: how unsure it is"],
  ["kl", "KL to the end", "divergence of what the model says from what the layer says, in nats"],
];
const FRAME = 44; // pixels of the view above and around the grid, as in lens.css
const LINE = 22; // of a row
const SCROLL = 12; // of a scroll bar
const BELOW = 166; // of what stands below the grid
const TALLEST = 418;

function render({ model, el }: { model: LensModel; el: HTMLElement }): () => void {
  const owner = new AbortController();
  const { signal } = owner;
  const root = element("section", "llama-nb-view llama-nb-lens");
  root.setAttribute("aria-label", "Logit lens");
  ownKeys(root);

  let at: At = { row: 0, column: 0 };
  let by: LensGround = "probability";
  let pointed: At | null = null;
  let telling = 0;
  let asked = -1;
  let silence = 0;
  let cells: LensCells | null = null;

  const tell = () => {
    window.clearTimeout(telling);
    telling = window.setTimeout(() => {
      telling = 0;
      model.send({ kind: "look", ...at, by });
    }, TELL_AFTER_MS);
  };
  const head = header((ground) => {
    by = ground;
    drawAll();
    tell();
  }, signal);
  const grid = lensGrid(
    {
      pick(to) {
        at = to;
        pointed = null;
        drawAll();
        grid.reveal();
        tell();
      },
      point(to) {
        if (to?.row === pointed?.row && to?.column === pointed?.column) return;
        pointed = to;
        drawBelow();
      },
      seen(first, end) {
        if (!cells || (cells.has(first) && cells.has(end - 1))) return;
        const start = Math.max(0, first - AHEAD);
        if (start === asked) return;
        asked = start;
        model.send({ kind: "columns", start });
        window.clearTimeout(silence);
        silence = window.setTimeout(() => {
          status.textContent = "The kernel has not answered yet: another cell may be running.";
        }, SILENT_AFTER_MS);
      },
    },
    signal,
  );
  const detail = lensDetail();
  const chart = lensChart((row) => {
    at = { row, column: (pointed ?? at).column };
    drawAll();
    grid.reveal();
    tell();
  }, signal);
  const below = element("div", "llama-nb-lens-below");
  below.append(detail.root, chart.root);
  const notes = element("div", "llama-nb-lens-notes llama-nb-muted");
  const status = element("div", "llama-nb-lens-notes llama-nb-muted");
  status.setAttribute("role", "status");
  const error = element("div", "llama-nb-error");
  error.setAttribute("role", "alert");
  const copy = () => copied(model, cells, pointed ?? at);
  head.root.append(copyButton("Copy the figures of this position", copy, "Copy data"));
  root.append(head.root, grid.root, below, notes, status, error);

  const drawBelow = () => {
    const shown = pointed ?? at;
    const layers = model.get("head").layers ?? [];
    if (!cells?.has(shown.column)) return;
    const column = cells.column(shown.column);
    detail.update(layers, column, shown.row);
    chart.update(layers, column, shown.row);
  };
  const drawAll = () => {
    const about = model.get("head");
    root.dataset.empty = String(!about.layers);
    if (!cells) return;
    head.update(about, by);
    grid.update(about, cells, at, by);
    drawBelow();
  };
  const drawHead = () => {
    const about = model.get("head");
    if (!root.style.height) {
      const rows = (about.layers?.length ?? 0) + 2;
      root.style.height = `${Math.min(TALLEST, FRAME + rows * LINE + SCROLL + BELOW)}px`;
    }
    notes.hidden = !about.notes?.length;
    notes.replaceChildren(...(about.notes ?? []).map((note) => element("div", "", note)));
    drawAll();
  };
  const takeCells = () => {
    const { layers = [], top = 0 } = model.get("head");
    const bytes = model.get("cells");
    if (!layers.length || !(bytes instanceof DataView)) return;
    cells = new LensCells(model.get("window"), bytes, layers.length, top);
    asked = -1;
    window.clearTimeout(silence);
    status.textContent = "";
    drawAll();
  };
  const takePlace = () => {
    const place = model.get("place");
    if (telling || place.row === undefined || place.column === undefined) return;
    at = { row: place.row, column: place.column };
    by = place.by ?? "probability";
    drawAll();
  };
  const drawError = () => {
    error.textContent = model.get("error");
    error.hidden = !error.textContent;
  };
  const follow: [string, () => void][] = [
    ["change:head", drawHead],
    ["change:cells", takeCells],
    ["change:window", takeCells],
    ["change:place", takePlace],
    ["change:error", drawError],
  ];
  for (const [event, draw] of follow) model.on(event, draw);
  el.append(root);
  for (const draw of [takePlace, takeCells, drawHead, drawError]) draw();
  const drawn = window.requestAnimationFrame(() => {
    // Room that was kept for a scroll bar which some pages lay over the grid.
    const spare = grid.spare();
    if (spare > 0) root.style.height = `${root.offsetHeight - spare}px`;
    grid.reveal(true);
  });
  const resized = new ResizeObserver(() => {
    drawAll();
    grid.resized();
  });
  resized.observe(grid.root);
  const leave = standIn(model as never, el);
  return () => {
    owner.abort();
    window.cancelAnimationFrame(drawn);
    window.clearTimeout(telling);
    window.clearTimeout(silence);
    resized.disconnect();
    leave();
    for (const [event, draw] of follow) model.off(event, draw);
    root.remove();
  };
}

function copied(model: LensModel, cells: LensCells | null, at: At): string {
  return cells?.has(at.column) ? asData(model.get("head").layers ?? [], cells.column(at.column)) : "";
}

/** The title, what the grounds mean, and their scale. */
function header(choose: (by: LensGround) => void, signal: AbortSignal) {
  const root = element("div", "llama-nb-lens-head");
  const title = element("span", "llama-nb-title");
  const about = element("span", "llama-nb-muted llama-nb-lens-about");
  const select = element("select", "") as HTMLSelectElement;
  select.setAttribute("aria-label", "What the grounds of the cells mean");
  select.append(...GROUNDS.map(([value, label]) => option(label, value)));
  select.addEventListener("change", () => choose(select.value as LensGround), { signal });
  const scale = element("span", "llama-nb-lens-scale");
  const bar = element("span", "llama-nb-lens-ramp");
  const stops = Array.from({ length: 9 }, (_, index) => css(CIVIDIS, index / 8));
  bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  const [low, high] = [element("span", "", "0"), element("span", "", "1")];
  scale.append(low, bar, high);
  root.append(title, about, select, scale);
  return {
    root,
    update(of: LensHead, by: LensGround) {
      const [name = "", rest = ""] = split(of.title ?? "");
      title.textContent = name;
      about.textContent = rest;
      about.title = rest;
      select.value = by;
      const end = of.ends?.[by] ?? 1;
      high.textContent = by === "kl" && end >= 10 ? "≥ 10" : nats(end);
      const meaning = GROUNDS.find(([value]) => value === by)?.[2] ?? "";
      scale.title = `${meaning}. A line above a cell: from there on it says what the model says.`;
      select.title = meaning;
    },
  };
}

/** "Logit lens: text of cria" in two. */
function split(title: string): [string, string] {
  const at = title.indexOf(": ");
  return at < 0 ? [title, ""] : [title.slice(0, at), title.slice(at + 2)];
}

export default { render };
