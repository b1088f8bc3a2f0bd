/**
 * The table of quantisations of a plan. A row is chosen by a click anywhere in it, or by its button: up and down,
 * Home and End move between the buttons, Enter and Space choose. The bar then shows the row's figures.
 */

import { bytesText } from "./bytes";
import { copyButton } from "./copy";
import { element } from "./element";
import type { Amount, Plan, Quant } from "./plan_record";
import { verdictMark } from "./verdict";

/** What the bar shows in place of the record's own quantisation. */
export type Choice = Amount & { label: string };

/** Make the table; `choose` is told which row is looked at, null for the plan's own. */
export function quantTable(plan: Plan, choose: (choice: Choice | null) => void): HTMLDetailsElement {
  const box = element("details", "llama-nb-more") as HTMLDetailsElement;
  const context = plan.stops[plan.at]?.context ?? 0;
  box.append(element("summary", "", `Quantisations at ${context.toLocaleString("en")} tokens`));
  const table = element("table", "llama-nb-quants");
  const body = element("tbody", "");
  table.append(columns(), body);
  const scroller = element("div", "llama-nb-scroll");
  scroller.append(table);
  const command = element("code", "llama-nb-quant-command");
  const copy = element("div", "llama-nb-command");
  copy.append(
    command,
    copyButton("Copy the command of the chosen quantisation", () => command.textContent ?? ""),
  );
  box.append(scroller, copy);

  const rows = plan.quants.map((quant) => rowOf(quant));
  body.append(...rows.map(({ row }) => row));
  const own = plan.quants.findIndex((quant) => quant.quant === plan.quant);
  const mark = (chosen: number) => {
    rows.forEach(({ row, button }, index) => {
      button.setAttribute("aria-pressed", String(index === chosen));
      row.classList.toggle("llama-nb-chosen", index === chosen);
      button.tabIndex = index === Math.max(0, chosen) ? 0 : -1;
    });
    command.textContent = plan.quants[chosen]?.command ?? "";
    copy.hidden = !command.textContent;
  };
  const pick = (index: number) => {
    const quant = plan.quants[index];
    if (!quant) return;
    mark(index);
    choose(index === own ? null : quant);
  };
  rows.forEach(({ row, button }, index) => {
    row.addEventListener("click", () => pick(index));
    button.addEventListener("keydown", (event) => {
      const next = target(event.key, index, rows.length);
      if (next === null) return;
      // Neither the page nor the notebook may take the key.
      event.preventDefault();
      event.stopPropagation();
      rows[next]?.button.focus();
    });
  });
  mark(own);
  return box;
}

function columns(): HTMLElement {
  const head = element("thead", "");
  const row = element("tr", "");
  for (const [title, looks] of [
    ["method", ""],
    ["bits a weight", "llama-nb-number"],
    ["memory", "llama-nb-number"],
    ["", ""],
  ] as const) {
    const cell = element("th", looks, title);
    cell.setAttribute("scope", "col");
    row.append(cell);
  }
  head.append(row);
  return head;
}

function rowOf(quant: Quant) {
  const row = element("tr", "");
  const button = element("button", "llama-nb-row-button", quant.label) as HTMLButtonElement;
  button.type = "button";
  const name = element("th", "");
  name.setAttribute("scope", "row");
  name.append(button);
  const verdict = element("td", "");
  verdict.append(verdictMark(quant.verdict));
  const bits = quant.bits === null ? "" : quant.bits.toPrecision(3).replace(/\.?0+$/, "");
  row.append(
    name,
    element("td", "llama-nb-number", bits),
    element("td", "llama-nb-number", bytesText(quant.total)),
  );
  row.append(verdict);
  return { row, button };
}

function target(key: string, index: number, length: number): number | null {
  const last = length - 1;
  if (key === "ArrowDown") return Math.min(last, index + 1);
  if (key === "ArrowUp") return Math.max(0, index - 1);
  if (key === "Home") return 0;
  return key === "End" ? last : null;
}
