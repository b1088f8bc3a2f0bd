/**
 * A plan as it is read: what the model takes, whether that fits, and what else there would be.
 *
 * All figures are in the record, so nothing here asks a kernel. plan_record.ts has checked the record.
 */

import { bytesText } from "./bytes";
import { copyButton } from "./copy";
import { element } from "./element";
import { ownKeys } from "./keys";
import { memoryBar } from "./memory_bar";
import { build } from "./nodes";
import { type Choice, quantTable } from "./plan_quants";
import { type Plan, readPlan } from "./plan_record";
import { verdictMark } from "./verdict";

/** A slider that is dragged says where it stands when it rests. */
const SAY_AFTER_MS = 300;

/** Draw a record from anywhere; one that cannot be read becomes one sentence. */
export function drawPlan(data: unknown): HTMLElement {
  const plan = readPlan(data);
  const root = element("section", "llama-nb-view llama-nb-plan");
  if (typeof plan === "string") {
    root.append(element("div", "llama-nb-error", plan));
    return root;
  }
  root.setAttribute("aria-label", `Memory plan of ${plan.name}`);
  ownKeys(root);
  fillPlan(root, plan, data);
  return root;
}

function fillPlan(root: HTMLElement, plan: Plan, data: unknown): void {
  const head = header(plan);
  const bar = memoryBar({ named: false });
  const slider = contextSlider(plan);
  const said = element("div", "llama-nb-said");
  said.setAttribute("role", "status");
  let chosen: Choice | null = null;

  const draw = () => {
    const at = plan.stops[slider.at()] ?? plan.stops[0];
    const amount = chosen ?? at;
    if (!amount || !at) return;
    const parts = plan.parts.map((part, index) => ({ ...part, bytes: amount.bytes[index] ?? 0 }));
    bar.show({ name: plan.name, parts, capacity: plan.device.memory });
    head.verdict.replaceChildren(verdictMark(amount.verdict));
    head.quant.textContent = chosen ? chosen.label : plan.quantLabel || plan.quant;
    const at_ = `${at.context.toLocaleString("en")} tokens of context`;
    head.sentence.textContent = chosen
      ? `${chosen.label} at ${at_}: ${bytesText(amount.total)}`
      : at.sentence;
    slider.show(chosen !== null);
  };
  let saying = 0;
  const say = () => {
    window.clearTimeout(saying);
    saying = window.setTimeout(() => {
      const amount = chosen ?? plan.stops[slider.at()];
      if (amount) said.textContent = `${bytesText(amount.total)}, ${amount.verdict}`;
    }, SAY_AFTER_MS);
  };
  slider.input.addEventListener("input", () => {
    draw();
    say();
  });
  const quants = quantTable(plan, (choice) => {
    chosen = choice;
    if (choice) slider.input.value = String(plan.at);
    draw();
    say();
  });
  root.append(head.root, bar.root, slider.root, said);
  const fits = plan.stops[plan.at]?.verdict === "fits";
  if (plan.options.length > 0) root.append(options(plan, !fits));
  if (plan.quants.length > 0) {
    quants.open = fits || plan.options.length === 0;
    root.append(quants);
  }
  root.append(foot(plan, data));
  draw();
}

function header(plan: Plan) {
  const root = element("header", "llama-nb-plan-head");
  const title = element("div", "llama-nb-plan-title");
  const quant = element("span", "llama-nb-plan-quant");
  title.append(element("span", "llama-nb-title", plan.name), " ", quant);
  const { name, count } = plan.device;
  const where = name && count > 1 && !/^\d+\s*[x×]/.test(name) ? `${count} × ${name}` : name;
  if (where) title.append(element("span", "llama-nb-muted", ` on ${where}`));
  const verdict = element("div", "");
  const sentence = element("p", "llama-nb-muted llama-nb-plan-sentence");
  const facts = [
    plan.train ? `training: ${plan.train}` : "",
    plan.batch > 1 ? `batch of ${plan.batch.toLocaleString("en")}` : "",
    plan.dtype,
  ].filter(Boolean);
  title.append(element("span", "llama-nb-muted", facts.length ? ` · ${facts.join(" · ")}` : ""));
  root.append(title, verdict, sentence);
  return { root, quant, verdict, sentence };
}

/** The context by the stops of the record: a native slider, so arrows, Page keys, Home and End work. */
function contextSlider(plan: Plan) {
  const root = element("label", "llama-nb-context");
  const input = document.createElement("input");
  Object.assign(input, { type: "range", min: "0", max: String(plan.stops.length - 1), step: "1" });
  input.value = String(plan.at);
  const value = element("span", "llama-nb-context-value");
  root.append(element("span", "llama-nb-muted", "Context"), input, value);
  const at = () => Number(input.value) || 0;
  const show = (fixed: boolean) => {
    const tokens = `${(plan.stops[at()]?.context ?? 0).toLocaleString("en")} tokens`;
    value.textContent = tokens;
    input.setAttribute("aria-valuetext", tokens);
    input.disabled = fixed || plan.stops.length < 2;
    root.title = fixed ? "Other quantisations are known at the planned context." : "";
  };
  return { root, input, at, show };
}

function options(plan: Plan, open: boolean): HTMLElement {
  const box = disclosure("What fits, cheapest first", open);
  const items = element("ul", "llama-nb-options");
  for (const option of plan.options) {
    const item = element("li", "");
    const size = option.bytes === null ? "" : bytesText(option.bytes);
    item.append(
      element("span", "", option.what),
      element("span", "llama-nb-figure llama-nb-option-size", size),
    );
    if (option.command) item.append(commandLine(option.command));
    items.append(item);
  }
  const scroller = element("div", "llama-nb-scroll");
  scroller.append(items);
  box.append(scroller);
  return box;
}

/** A command to read and to copy; it wraps between its words only, not at their hyphens. */
export function commandLine(command: string): HTMLElement {
  const code = element("code", "");
  const words = command.split(" ").map((word) => element("span", "llama-nb-word", word));
  code.append(...words.flatMap((word, index) => (index ? [" ", word] : [word])));
  const line = element("span", "llama-nb-command");
  line.append(
    code,
    copyButton(`Copy ${command}`, () => command),
  );
  return line;
}

function foot(plan: Plan, data: unknown): HTMLElement {
  const root = element("div", "llama-nb-plan-foot");
  const box = disclosure("Speed, notes and sources", false);
  if (plan.speed.length > 0) box.append(speedTable(plan));
  box.append(plainList(plan.notes, ""), plainList(plan.sources, "llama-nb-muted"));
  const actions = element("div", "llama-nb-plan-actions");
  actions.append(
    copyButton("Copy the figures as a table", () => tsv(plan), "Copy table"),
    copyButton("Copy the plan as JSON", () => JSON.stringify(data, null, 1), "Copy JSON"),
  );
  root.append(box, actions);
  return root;
}

function speedTable(plan: Plan): HTMLElement {
  const table = element("table", "");
  for (const { label, value, detail } of plan.speed) {
    const row = element("tr", "");
    const name = element("th", "", label);
    name.setAttribute("scope", "row");
    row.append(name, element("td", "llama-nb-number", value), element("td", "llama-nb-muted", detail));
    table.append(row);
  }
  return table;
}

function disclosure(title: string, open: boolean): HTMLDetailsElement {
  const box = element("details", "llama-nb-more") as HTMLDetailsElement;
  box.open = open;
  box.append(element("summary", "", title));
  return box;
}

function plainList(lines: string[], looks: string): HTMLElement {
  const list = element("ul", `llama-nb-lines ${looks}`.trim());
  for (const line of lines) {
    const item = element("li", "");
    for (const word of line.split(/(https:\/\/\S+)/)) {
      item.append(word.startsWith("https://") ? build({ t: "a", a: { href: word }, c: [word] }) : word);
    }
    list.append(item);
  }
  list.hidden = lines.length === 0;
  return list;
}

/** The stops as a table for a spreadsheet. */
export function tsv(plan: Plan): string {
  const head = ["context", ...plan.parts.map(({ label }) => `${label} (bytes)`), "total (bytes)", "verdict"];
  const rows = plan.stops.map((stop) => [stop.context, ...stop.bytes, stop.total, stop.verdict]);
  return [head, ...rows].map((row) => row.map((cell) => spreadsheetCell(String(cell))).join("\t")).join("\n");
}

/** A cell that a spreadsheet does not take for a formula. */
function spreadsheetCell(cell: string): string {
  return /^[=+@-]/.test(cell) ? `'${cell}` : cell;
}
