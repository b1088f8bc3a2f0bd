/**
 * The laboratory's chart: the likeliest tokens with their probability before and behind the sampling, as two bars on
 * one line, and how often each was drawn.
 *
 * Rows are the same for both bars, so a bar is compared with the one above it. Texts are untrusted: text only.
 */

import { copyButton } from "./copy";
import { element } from "./element";
import type { LabRow, LabStage, LabView } from "./shapes";
import { percent, visible } from "./token_strip";

export interface Chart {
  root: HTMLElement;
  /** Draw a view; `stage` is the stage behind which "after" stands, null for the end of the chain. */
  update(view: LabView, stage: LabStage | null, instead: number | null): void;
}

const SCALES = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];

/** The end of the axis: the first round value that holds the longest bar. */
export function axisEnd(longest: number): number {
  return SCALES.find((end) => longest <= end * 1.0001) ?? 1;
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

/** The rows as tab-separated text, for a spreadsheet or a data frame. */
export function asData(view: LabView): string {
  const acting = (view.stages ?? []).filter((stage) => stage.state === "on");
  const head = ["token", "id", ...acting.map((stage) => stage.name), "after", "ruled out by"];
  const draws = view.draws;
  if (draws) head.push("drawn", "expected");
  const rows = (view.rows ?? []).map((row, at) => [
    JSON.stringify(row.text),
    row.id,
    ...row.steps,
    row.after,
    row.by,
    ...(draws ? [draws.counts[at] ?? 0, row.after * draws.n] : []),
  ]);
  const rest = view.rest;
  if (rest)
    rows.push([
      `${rest.count} others`,
      "",
      ...rest.steps,
      rest.after,
      "",
      ...(draws ? [draws.others, rest.after * draws.n] : []),
    ]);
  return [head, ...rows].map((row) => row.join("\t")).join("\n");
}

/** Make an empty chart; `pick` is told of a token that should stand here instead. */
export function chart(pick: (token: number) => void, signal: AbortSignal): Chart {
  const root = element("div", "llama-nb-lab-chart");
  const caption = element("div", "llama-nb-lab-caption");
  let shown: LabView = {};
  const copy = copyButton("Copy the data of the chart", () => asData(shown), "Copy data");
  const said = element("span", "");
  caption.append(said, copy);
  const scroll = element("div", "llama-nb-lab-scroll");
  const table = element("table", "");
  const head = element("thead", "");
  const body = element("tbody", "");
  table.append(head, body);
  scroll.append(table);
  root.append(caption, scroll);

  body.addEventListener(
    "click",
    (event) => {
      const button = event.target instanceof Element ? event.target.closest("button") : null;
      if (button?.dataset.token) pick(Number(button.dataset.token));
    },
    { signal },
  );

  const update = (view: LabView, stage: LabStage | null, instead: number | null) => {
    shown = view;
    const { rows = [], rest, draws } = view;
    if (!rest) return;
    const after = afterOf(stage);
    const longest = Math.max(...rows.flatMap((row) => [row.before, after(row)]), 1e-9);
    const end = axisEnd(longest);
    said.replaceChildren(...captionOf(view));
    head.replaceChildren(headings(end, stage, Boolean(draws)));
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.token : "";
    body.replaceChildren(
      ...rows.map((row, at) => {
        const drawn = draws ? (draws.counts[at] ?? 0) : null;
        const made = line(row.before, after(row), end, drawn, draws?.n ?? 0, row.after);
        made.prepend(named(row, view.chosen === row.id, instead === row.id));
        if (row.by && after(row) === 0) ruledOut(made, labelOf(row.by, view));
        return made;
      }),
      tail(view, after(rest), end),
    );
    if (focused) body.querySelector<HTMLElement>(`[data-token="${Number(focused)}"]`)?.focus();
  };
  return { root, update };
}

type Shares = Pick<LabRow, "after" | "steps">;

function afterOf(stage: LabStage | null): (of: Shares) => number {
  const step = stage?.step;
  return step === undefined ? (of) => of.after : (of) => of.steps[step] ?? 0;
}

/** What stands here and how likely it was and would be; at an end, what is looked at. */
function captionOf(view: LabView): Node[] {
  const row = view.rows?.find((one) => one.id === view.chosen);
  if (!row) return [document.createTextNode(view.place ?? "")];
  const now = row.by ? `ruled out by ${labelOf(row.by, view)}` : percent(row.after);
  const name = element("b", "", visible(row.text));
  return [name, document.createTextNode(` stands here: ${percent(row.before)} → ${now}`)];
}

function labelOf(name: string, view: LabView): string {
  return view.stages?.find((stage) => stage.name === name)?.label ?? name;
}

function headings(end: number, stage: LabStage | null, drawn: boolean): HTMLElement {
  const row = element("tr", "");
  const bars = element("th", "llama-nb-lab-axis");
  bars.append(...["0", drawn ? "p" : "probability", percent(end)].map((text) => element("span", "", text)));
  const before = element("th", "llama-nb-number llama-nb-lab-before", "before");
  before.title = "What the model itself gives";
  const after = element("th", "llama-nb-number llama-nb-lab-after", stage ? stage.label : "after");
  after.title = stage ? `Behind ${stage.label}` : "Behind all stages: what the sampler draws from";
  row.append(element("th", "", "token"), bars, before, after);
  if (drawn) row.append(element("th", "llama-nb-number", "drawn"));
  for (const cell of row.children) cell.setAttribute("scope", "col");
  return row;
}

function named(row: LabRow, chosen: boolean, instead: boolean): HTMLElement {
  const cell = element("th", "llama-nb-lab-token");
  cell.setAttribute("scope", "row");
  const button = element("button", "", visible(row.text)) as HTMLButtonElement;
  button.type = "button";
  button.dataset.token = String(row.id);
  button.classList.toggle("llama-nb-pill", row.special);
  button.setAttribute("aria-pressed", String(instead));
  const what = chosen ? ", which stands there" : "";
  button.title = `${JSON.stringify(row.text)}, id ${row.id}${what}. Click: write on from it`;
  button.setAttribute("aria-label", `Write on from ${visible(row.text)}${what}`);
  cell.append(button);
  if (chosen) {
    const mark = element("span", "llama-nb-lab-chosen", "◂");
    mark.title = "This token stands there";
    cell.append(mark);
  }
  cell.dataset.chosen = String(chosen);
  return cell;
}

function line(
  before: number,
  after: number,
  end: number,
  drawn: number | null,
  n: number,
  final: number,
): HTMLElement {
  const row = element("tr", "");
  const bars = element("td", "llama-nb-lab-bars");
  bars.append(bar("before", before / end), bar("after", after / end));
  row.append(
    bars,
    element("td", "llama-nb-number llama-nb-lab-before", percent(before)),
    element("td", "llama-nb-number llama-nb-lab-after", percent(after)),
  );
  if (drawn === null) return row;
  const dot = element("span", "llama-nb-lab-dot");
  dot.style.left = `min(${width(drawn / n / end)}, 100% - 4px)`;
  if (drawn) bars.append(dot);
  const cell = element("td", "llama-nb-number", count(drawn));
  cell.title = `${count(drawn)} drawn, ${Number((final * n).toPrecision(3))} expected`;
  row.append(cell);
  return row;
}

function tail(view: LabView, after: number, end: number): HTMLElement {
  const { rest, draws } = view;
  const drawn = draws ? draws.others : null;
  const row = line(rest?.before ?? 0, after, end, drawn, draws?.n ?? 0, rest?.after ?? 0);
  row.className = "llama-nb-lab-rest";
  const name = element("th", "llama-nb-lab-token", `${count(rest?.count ?? 0)} others`);
  name.setAttribute("scope", "row");
  row.prepend(name);
  return row;
}

/** Who ruled it out, where its probability would stand. */
function ruledOut(row: HTMLElement, label: string): void {
  const cell = row.querySelector(".llama-nb-lab-after");
  if (!(cell instanceof HTMLElement)) return;
  cell.textContent = `✕ ${label}`;
  cell.title = `Ruled out by ${label}`;
  row.classList.add("llama-nb-lab-out");
}

function bar(kind: string, share: number): HTMLElement {
  const made = element("span", `llama-nb-lab-bar llama-nb-lab-bar-${kind}`);
  made.style.width = width(share);
  return made;
}

function width(share: number): string {
  return `${(100 * Math.min(1, Math.max(0, share))).toFixed(2)}%`;
}
