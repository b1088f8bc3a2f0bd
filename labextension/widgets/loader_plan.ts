/**
 * The loader panel's right side: what the chosen model is, what it takes here, and how it would be loaded.
 *
 * The plan holds every quantisation at every context, so nothing here asks the kernel: the memory bar follows the
 * slider at once. `changed` hears of each choice; whoever listens tells the kernel when it matters.
 */

import { bytesText } from "./bytes";
import { copyButton } from "./copy";
import { element } from "./element";
import { LOOKS, type Look, memoryBar } from "./memory_bar";
import type { LoaderChoice, LoaderPlan, LoaderStop } from "./shapes";

export interface PlanPane {
  root: HTMLElement;
  /** The line that does the same in a cell, with its copy button. */
  command: HTMLElement;
  /** Draw the plan with the choice made before, where it fits the plan. */
  update(plan: LoaderPlan, choice: LoaderChoice): void;
  /** What would be loaded now; null when nothing can be. */
  choice(): LoaderChoice | null;
}

type Quant = NonNullable<LoaderPlan["quants"]>[number];

const MARKS = new Map([
  ["fits", "✓ fits"],
  ["tight", "△ tight"],
  ["does not fit", "✕ does not fit"],
]);
const HUB_PAGE = /^https:\/\/(huggingface\.co|www\.llama\.com|llama\.meta\.com|ai\.meta\.com)\/[\w./-]*$/;

let panes = 0;

export function planPane(changed: () => void, signal: AbortSignal): PlanPane {
  const name = `llama-nb-quant-${++panes}`;
  const root = element("div", "llama-nb-load-pane");
  const head = element("div", "llama-nb-load-chosen");
  const before = element("div", "llama-nb-load-obligations");
  const bar = memoryBar({ named: false });
  const verdict = element("span", "llama-nb-verdict");
  bar.root.prepend(verdict);
  const quants = element("fieldset", "llama-nb-load-quants");
  const refusal = element("p", "llama-nb-load-refusal");
  const context = contextSlider();
  const device = deviceSelect();
  const after = element("div", "llama-nb-load-obligations");
  const line = element("code", "llama-nb-load-line");
  const copy = element("span", "llama-nb-load-command");
  copy.append(
    line,
    copyButton("Copy the command", () => line.textContent ?? ""),
  );
  const fields = element("div", "llama-nb-load-fields");
  fields.append(device.label, context.label);
  root.append(head, before, bar.root, fields, quants, refusal, after);

  let plan: LoaderPlan = {};
  let at: { quant: string; stop: number; device: string } = { quant: "", stop: 0, device: "" };

  const quant = (): Quant | undefined =>
    plan.quants?.find((one) => one.quant === at.quant) ?? plan.quants?.[0];
  const stop = (): LoaderStop | undefined => quant()?.stops[at.stop];

  const drawChoice = () => {
    const chosen = quant();
    const here = stop();
    drawBar(here);
    const reason = chosen?.refused ?? "";
    refusal.replaceChildren(...(reason ? prose(reason) : []));
    refusal.hidden = !reason;
    context.show(chosen?.stops ?? [], at.stop);
    line.textContent = command(plan, chosen, here, at.device);
    copy.hidden = !plan.name || Boolean(plan.refused || reason);
  };
  const drawBar = (here: LoaderStop | undefined) => {
    bar.root.hidden = !here;
    if (!here) return;
    const parts = (plan.parts ?? []).map((part, index) => ({
      look: look(part.key),
      label: part.label,
      bytes: here.bytes[index] ?? 0,
    }));
    bar.show({ name: plan.name ?? "", parts, capacity: plan.memory ?? null, scale: plan.memory ?? 0 });
    verdict.dataset.verdict = here.verdict;
    verdict.textContent = [MARKS.get(here.verdict), here.sentence].filter(Boolean).join(": ");
  };
  const drawQuants = () => {
    const all = plan.quants ?? [];
    const rows = [...new Set(all.map((one) => one.bits))].map((bits) => {
      const row = element("div", "llama-nb-load-bits");
      const alike = all.filter((one) => one.bits === bits);
      const chips = alike.map((one) => chip(name, one, one.quant === quant()?.quant));
      row.append(total(alike, at.stop), ...chips);
      return row;
    });
    quants.replaceChildren(element("legend", "llama-nb-load-label", "Quantisation"), ...rows);
    quants.hidden = rows.length === 0;
  };
  const update = () => {
    drawChoice();
    changed();
  };
  quants.addEventListener(
    "change",
    (event) => {
      if (!(event.target instanceof HTMLInputElement)) return;
      at = { ...at, quant: event.target.value };
      update();
    },
    { signal },
  );
  context.input.addEventListener(
    "input",
    () => {
      at = { ...at, stop: Number(context.input.value) };
      refreshTotals(quants, plan, at.stop);
      update();
    },
    { signal },
  );
  device.select.addEventListener(
    "change",
    () => {
      at = { ...at, device: device.select.value };
      update();
    },
    { signal },
  );

  return {
    root,
    command: copy,
    update(next, choice) {
      plan = next;
      at = place(next, choice);
      head.replaceChildren(...heading(next));
      device.show(next.devices ?? [], at.device);
      before.replaceChildren(...hurdles(next));
      after.replaceChildren(...licence(next));
      drawQuants();
      drawChoice();
    },
    choice() {
      const chosen = quant();
      if (!plan.source || plan.refused || chosen?.refused) return null;
      return {
        source: plan.source,
        quant: chosen?.quant ?? "none",
        device: at.device,
        context: stop()?.context ?? null,
      };
    },
  };
}

/** Where the controls stand for a choice: what was chosen if the plan has it, else what the plan suggests. */
function place(plan: LoaderPlan, choice: LoaderChoice): { quant: string; stop: number; device: string } {
  const known = plan.quants?.find((one) => one.quant === choice.quant) ?? plan.quants?.[0];
  const stops = known?.stops ?? [];
  const exact = stops.findIndex((stop) => stop.context === choice.context);
  const stop = exact >= 0 ? exact : Math.max(stops.length - 1, 0);
  return { quant: known?.quant ?? "", stop, device: choice.device || plan.device || "auto" };
}

/** The line that does the same in a cell. What the model does by itself is not said. */
export function command(
  plan: LoaderPlan,
  chosen: Quant | undefined,
  stop: LoaderStop | undefined,
  device: string,
): string {
  const words = ["%llama load", plan.argument ?? ""];
  if (chosen && chosen.quant !== "none") words.push(`--quant ${chosen.quant}`);
  if (stop && stop !== chosen?.stops.at(-1)) words.push(`--context ${stop.context}`);
  if (device && device !== "auto") words.push(`--device ${device}`);
  return words.join(" ");
}

function heading(plan: LoaderPlan): HTMLElement[] {
  if (!plan.name) return [element("p", "llama-nb-muted", "Choose a model on the left.")];
  const title = element("span", "llama-nb-title", plan.name);
  return [title, ...(plan.facts ?? []).map((fact) => element("span", "llama-nb-muted", fact))];
}

/** What stands between the user and this model: why it cannot be loaded, what must be accepted first. */
function hurdles(plan: LoaderPlan): HTMLElement[] {
  const shown = [plan.refused ?? "", ...(plan.notes ?? [])]
    .filter(Boolean)
    .map((note) => paragraph("", note));
  if (plan.refused) shown[0]?.classList.add("llama-nb-load-refusal");
  const { gate } = plan;
  if (gate?.sentence) {
    const line = paragraph("Gated", gate.sentence);
    line.append(" ", link(gate.url), ", then ", element("code", "", gate.command));
    shown.push(line);
  }
  return shown;
}

function licence({ licence: terms }: LoaderPlan): HTMLElement[] {
  if (!terms?.name) return [];
  const line = paragraph(terms.name, terms.lines.join(" "));
  if (terms.command) line.append(" All of it: ", element("code", "", terms.command));
  return [line];
}

function paragraph(heading: string, text: string): HTMLElement {
  const made = element("p", "");
  if (heading) made.append(element("b", "", `${heading}: `));
  made.append(...prose(text));
  return made;
}

/** A sentence with `commands` in backticks. */
export function prose(text: string): Node[] {
  return text
    .split("`")
    .map((part, index) => (index % 2 ? element("code", "", part) : document.createTextNode(part)));
}

function link(url: string): Node {
  if (!HUB_PAGE.test(url)) return document.createTextNode(url);
  const made = document.createElement("a");
  made.href = url;
  made.target = "_blank";
  made.rel = "noopener noreferrer nofollow";
  made.textContent = url.replace("https://", "");
  return made;
}

/** One quantisation. What cannot run can be looked at, not loaded. */
function chip(group: string, one: Quant, checked: boolean): HTMLElement {
  const label = element("label", "llama-nb-load-chip");
  const input = document.createElement("input");
  Object.assign(input, { type: "radio", name: group, value: one.quant, checked });
  label.title = one.refused || one.title;
  label.classList.toggle("llama-nb-load-refused", Boolean(one.refused));
  input.setAttribute("aria-label", one.label);
  if (one.refused) input.setAttribute("aria-description", one.refused);
  // The row says the bits, so "int8-quanto" is "quanto" in it.
  label.append(input, element("span", "", one.label.replace(/^int\d-/, "")));
  return label;
}

/** Quantisations of as many bits differ by a few percent: what the first that runs takes stands for all of them. */
function total(alike: Quant[], at: number): HTMLElement {
  const one = alike.find((quant) => !quant.refused) ?? alike[0];
  const stop = one?.stops[at];
  const made = element("span", "llama-nb-load-total");
  if (!one || !stop) return made;
  made.dataset.quant = one.quant;
  const mark = element("span", "llama-nb-verdict", MARKS.get(stop.verdict)?.charAt(0) ?? "");
  mark.dataset.verdict = stop.verdict;
  mark.title = stop.verdict;
  made.append(element("span", "", `${one.bits} bits`), element("span", "", bytesText(stop.total)), mark);
  return made;
}

function refreshTotals(quants: HTMLElement, plan: LoaderPlan, at: number): void {
  for (const shown of quants.querySelectorAll<HTMLElement>(".llama-nb-load-total")) {
    const one = plan.quants?.find((quant) => quant.quant === shown.dataset.quant);
    if (one) shown.replaceWith(total([one], at));
  }
}

interface Slider {
  label: HTMLElement;
  input: HTMLInputElement;
  show(stops: LoaderStop[], at: number): void;
}

function contextSlider(): Slider {
  const label = element("label", "llama-nb-load-field");
  const input = document.createElement("input");
  input.type = "range";
  input.min = "0";
  const value = element("output", "llama-nb-load-value");
  label.append(element("span", "llama-nb-load-label", "Context"), input, value);
  return {
    label,
    input,
    show(stops, at) {
      label.hidden = stops.length === 0;
      input.max = String(Math.max(stops.length - 1, 0));
      input.value = String(at);
      const text = `${(stops[at]?.context ?? 0).toLocaleString("en")} tokens`;
      input.setAttribute("aria-valuetext", text);
      value.textContent = text;
    },
  };
}

function deviceSelect() {
  const label = element("label", "llama-nb-load-field");
  const select = document.createElement("select");
  label.append(element("span", "llama-nb-load-label", "Device"), select);
  return {
    label,
    select,
    show(devices: { name: string; label: string }[], chosen: string) {
      label.hidden = devices.length === 0;
      select.replaceChildren(
        ...devices.map((device) => {
          const option = document.createElement("option");
          option.value = device.name;
          option.textContent = device.label;
          return option;
        }),
      );
      select.value = chosen;
    },
  };
}

function look(key: string): Look {
  return LOOKS.find((known) => known === key) ?? "other";
}
