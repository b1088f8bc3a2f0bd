/** What is learned from, what the plan said and what was measured, and all notes of the run. */

import { count, figure, sizes } from "./anatomy_figures";
import { element } from "./element";
import { duration } from "./loader_job";
import { prose } from "./loader_plan";
import type { TrainingData, TrainingHead } from "./shapes";

export interface FactsPane {
  root: HTMLElement;
  update(head: TrainingHead): void;
}

type Fact = [string, string | null | undefined];

export function factsPane(): FactsPane {
  const root = element("div", "llama-nb-tr-facts");
  root.tabIndex = 0;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Data, plan and notes");
  let drawn = "";
  return {
    root,
    update(head) {
      const parts = [learned(head.data ?? {}), planned(head), noted(head)];
      const key = parts.map((part) => part?.textContent ?? "").join("\n");
      if (key === drawn) return;
      drawn = key;
      root.replaceChildren(...parts.filter((part) => part !== null));
    },
  };
}

function section(title: string, ...parts: (Node | null)[]): HTMLElement {
  const made = element("section", "");
  made.append(element("h4", "", title), ...parts.filter((part) => part !== null));
  return made;
}

function list(facts: Fact[]): HTMLElement {
  const made = element("dl", "");
  for (const [name, value] of facts)
    if (value) made.append(element("dt", "", name), element("dd", "", value));
  return made;
}

const whole = (value: number | null | undefined) =>
  typeof value === "number" ? value.toLocaleString("en") : null;
const bytes = (value: number | null | undefined) => (typeof value === "number" ? sizes(value) : null);
const time = (value: number | null | undefined) => (typeof value === "number" ? duration(value) : null);

function learned(data: TrainingData): HTMLElement {
  const { tokens, trained } = data;
  const facts: Fact[] = [
    ["source", data.source],
    ["format", data.format],
    ["rows", whole(data.rows)],
    ["held back", data.validation_rows ? `${whole(data.validation_rows)} rows, for validation` : null],
    ["an epoch", tokens ? `${count(tokens)} tokens` : null],
  ];
  const notes = (data.notes ?? []).map((note) => line(note, "llama-nb-muted"));
  return section("Data", list(facts), trainedShare(tokens, trained), ...notes);
}

/** How much of the text is learned from, as a bar: the rest is only read. */
function trainedShare(
  tokens: number | null | undefined,
  trained: number | null | undefined,
): HTMLElement | null {
  if (!tokens || typeof trained !== "number") return null;
  const part = Math.min(1, trained / tokens);
  const root = element("div", "llama-nb-tr-trained");
  const bar = element("div", "llama-nb-tr-part");
  const filled = element("span", "");
  filled.style.width = `${100 * part}%`;
  bar.append(filled);
  const said = `${figure(100 * part)} % of the tokens are learned, the others only read`;
  root.append(bar, element("div", "llama-nb-muted", said));
  return root;
}

/** Two columns, what was planned and what was measured; where one of them is not known there is a dash. */
function planned(head: TrainingHead): HTMLElement {
  const { eta_s: left, spent_s: spent } = head;
  const ahead = typeof left === "number" && left > 0 && typeof spent === "number";
  const rows: [string, string | null, string | null][] = [
    ["memory, at most", bytes(head.planned_memory), bytes(head.memory)],
    ["time", time(head.planned_s), ahead ? `${time(spent)}, ${time(left)} left` : time(spent)],
  ];
  const table = element("table", "");
  const headings = element("tr", "");
  headings.append(
    ...["", "planned", "measured"].map((text) => element("th", text ? "llama-nb-number" : "", text)),
  );
  const top = element("thead", "");
  top.append(headings);
  const body = element("tbody", "");
  for (const [name, plan, measured] of rows) {
    const row = element("tr", "");
    const cells = [plan, measured].map((text) => element("td", "llama-nb-number", text ?? "–"));
    row.append(element("td", "", name), ...cells);
    body.append(row);
  }
  table.append(top, body);
  const best = typeof head.best === "number" ? `${figure(head.best)} at step ${head.best_step}` : null;
  const facts: Fact[] = [
    ["best validation", best],
    ["checkpoint", typeof head.saved_step === "number" ? `step ${whole(head.saved_step)}` : null],
    ["adapter", head.adapter],
    ["computed", head.executor],
    ["folder", head.folder],
  ];
  return section("Plan and run", table, list(facts));
}

function noted(head: TrainingHead): HTMLElement | null {
  const notes = head.notes ?? [];
  if (notes.length === 0) return null;
  const made = element("ul", "");
  made.append(...notes.map((note) => line(note, "", "li")));
  return section("Notes", made);
}

function line(text: string, className: string, tag = "p"): HTMLElement {
  const made = element(tag, className);
  made.append(...prose(text));
  return made;
}
