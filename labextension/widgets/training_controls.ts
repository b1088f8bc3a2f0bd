/**
 * The buttons of a run: pause and resume, save, stop with a question in the line, another learning rate.
 *
 * What makes sense now is the kernel's word (`orders`); an order is obeyed at the end of a step, and until then it
 * stands here as given.
 */

import { figure } from "./anatomy_figures";
import { button, element } from "./element";
import { prose } from "./loader_plan";
import type { TrainingAsk, TrainingHead } from "./shapes";

export type Ask = (message: TrainingAsk) => void;

export interface Controls {
  root: HTMLElement;
  update(head: TrainingHead): void;
  /** Say something where orders are said; an empty text takes it away. */
  say(text: string): void;
}

const KEEPS = "What was learned so far is kept; Resume goes on from there.";
const ORDERED: Record<string, string> = {
  pause: "Pauses at the end of this step …",
  resume: "Goes on …",
  stop: "Stops at the end of this step …",
  save: "Saves at the end of this step …",
  lr: "Another learning rate from the next step on …",
};

export function controls(ask: Ask, signal: AbortSignal): Controls {
  const root = element("div", "llama-nb-tr-controls");
  const row = element("div", "llama-nb-tr-buttons");
  const pause = button(
    "Pause",
    "",
    () => ask({ kind: pause.dataset.order === "resume" ? "resume" : "pause" }),
    signal,
  );
  const keep = button("Save now", "", () => ask({ kind: "save" }), signal);
  keep.title = "Write a checkpoint at the end of this step";
  const stop = button("Stop", "", () => question(true), signal);
  stop.setAttribute("aria-haspopup", "true");
  const rate = rateField((value) => ask({ kind: "lr", value }), signal);
  const said = element("span", "llama-nb-muted llama-nb-tr-said");
  said.setAttribute("role", "status");
  row.append(pause, keep, stop, rate.root, said);

  const sure = element("div", "llama-nb-tr-sure");
  sure.setAttribute("role", "group");
  sure.setAttribute("aria-label", "Stop the training?");
  const keeps = element("span", "");
  const yes = button("Stop", "llama-nb-primary", () => answer(true), signal);
  const no = button("Keep training", "", () => answer(false), signal);
  sure.append(keeps, yes, no);
  root.append(row, sure);

  let now: TrainingHead = {};
  let asking = false;
  let own = "";
  const buttons = () => {
    const possible = new Set(now.orders ?? []);
    const resumes = possible.has("resume");
    pause.textContent = resumes ? "Resume" : "Pause";
    pause.dataset.order = resumes ? "resume" : "pause";
    pause.classList.toggle("llama-nb-primary", resumes);
    pause.disabled = !resumes && !possible.has("pause");
    keep.disabled = !possible.has("save");
    stop.disabled = !possible.has("stop");
    // Where all that can be done is to go on, the others would only stand in the way.
    for (const one of [keep, stop]) one.hidden = one.disabled && resumes;
    rate.update(now.lr ?? null, possible.has("lr"));
  };
  const draw = () => {
    buttons();
    if (stop.disabled) asking = false;
    sure.hidden = !asking;
    row.hidden = asking;
    keeps.replaceChildren(...prose(now.keeps || KEEPS));
    said.textContent = own || ordered(now.ordered);
    said.title = said.textContent;
    root.hidden = !now.orders?.length && !said.textContent;
  };
  function question(on: boolean): void {
    asking = on;
    draw();
    (on ? no : stop).focus();
  }
  function answer(stops: boolean): void {
    if (stops) ask({ kind: "stop" });
    question(false);
  }
  sure.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      question(false);
    },
    { signal },
  );
  return {
    root,
    update(head) {
      now = head;
      draw();
    },
    say(text) {
      own = text;
      draw();
    },
  };
}

function ordered(order: string | undefined): string {
  return order ? (ORDERED[order] ?? `${order} …`) : "";
}

/** A field that shows the learning rate until somebody types another one. */
function rateField(given: (value: number) => void, signal: AbortSignal) {
  const root = element("label", "llama-nb-tr-rate");
  const field = document.createElement("input");
  Object.assign(field, { type: "text", inputMode: "decimal", spellcheck: false, autocomplete: "off" });
  field.setAttribute("aria-label", "Learning rate");
  field.placeholder = "peak";
  root.append(element("span", "", "learning"), " rate ", field);
  let shown = "";
  let typed = false;
  const show = (text: string) => {
    typed = false;
    field.value = text;
    field.removeAttribute("aria-invalid");
    field.title = "Type another peak for its schedule, and Enter";
  };
  const give = () => {
    const value = Number(field.value.trim().replace(",", ".").replace("−", "-"));
    if (!typed || field.value.trim() === "") return show(shown);
    if (!(value > 0) || !Number.isFinite(value)) {
      field.setAttribute("aria-invalid", "true");
      field.title = "A number above 0, such as 1e-4";
      return;
    }
    show(field.value.trim());
    given(value);
  };
  field.addEventListener("focus", () => field.select(), { signal });
  field.addEventListener(
    "input",
    () => {
      typed = true;
    },
    { signal },
  );
  field.addEventListener("blur", () => show(shown), { signal });
  field.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Enter") give();
      else show(shown);
    },
    { signal },
  );
  return {
    root,
    update(rate: number | null, possible: boolean) {
      shown = rate === null ? "" : figure(rate).replaceAll("−", "-");
      if (!typed) show(shown);
      field.disabled = !possible;
      root.hidden = !possible;
    },
  };
}
