/**
 * The loader panel's foot: the Load button, how far the load is, what came of it, and the loaded models.
 *
 * Knows the job's and the models' records; every button only calls what it was given.
 */

import { bytesText } from "./bytes";
import { copyButton } from "./copy";
import { button, element } from "./element";
import { prose } from "./loader_plan";
import type { LoaderJob, LoaderModels } from "./shapes";

export interface JobActions {
  load(): void;
  cancel(): void;
  use(name: string): void;
  unload(name: string): void;
  /** Put a new cell with this text below; false when the page cannot. */
  insert(text: string): boolean;
}

export interface JobPane {
  root: HTMLElement;
  load: HTMLButtonElement;
  update(job: LoaderJob): void;
  /** Whether something can be loaded, and what it is called. */
  offer(name: string, possible: boolean): void;
}

const ENDED = new Map([
  ["cancelled", "Cancelled. What was taken is given back; files that are whole stay in the cache."],
]);

/** "0.8 s", "42 s", "3 min 05 s", "1 h 20 min". */
export function duration(seconds: number): string {
  if (!(seconds >= 0)) return "";
  if (seconds < 9.95) return `${Math.max(seconds, 0.1).toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const [minutes, hours] = [Math.floor(whole / 60), Math.floor(whole / 3600)];
  const two = (count: number) => String(count).padStart(2, "0");
  return hours ? `${hours} h ${two(minutes % 60)} min` : `${minutes} min ${two(whole % 60)} s`;
}

/** Make the pane; `command` stands beside the button while nothing loads. */
export function jobPane(actions: JobActions, command: HTMLElement, signal: AbortSignal): JobPane {
  const root = element("div", "llama-nb-load-job");
  const load = button("Load", "llama-nb-primary", actions.load, signal);
  const cancel = button("Cancel", "", actions.cancel, signal);
  const bar = element("div", "llama-nb-load-progress");
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", "Loading");
  const filled = element("div", "llama-nb-load-progress-filled");
  bar.append(filled);
  const text = element("span", "llama-nb-load-job-text");
  const result = element("div", "llama-nb-load-result");
  result.setAttribute("role", "status");
  const row = element("div", "llama-nb-load-job-row");
  row.append(load, command, bar, text, cancel);
  root.append(row, result);

  let shown = "";
  const turn = (running: boolean, cancelling: boolean) => {
    const hadFocus = [load, cancel].some((one) => one === document.activeElement);
    load.hidden = running;
    // Whether there is a command to show is the plan's.
    command.classList.toggle("llama-nb-load-away", running);
    bar.hidden = text.hidden = cancel.hidden = !running;
    cancel.disabled = cancelling;
    cancel.textContent = cancelling ? "Cancelling" : "Cancel";
    if (hadFocus) (running ? cancel : load).focus();
  };
  const update = (job: LoaderJob) => {
    const running = job.state === "running";
    turn(running, Boolean(job.cancelling));
    if (running) drawProgress(bar, filled, text, job);
    // What has ended stays as it is drawn: a button in it may have the focus.
    const key = running ? "" : [job.state, job.model, job.message, job.spent_s].join(" ");
    if (running || key !== shown)
      result.replaceChildren(...(running ? notes(job) : outcome(job, actions, signal)));
    shown = key;
  };
  return {
    root,
    load,
    update,
    offer(name, possible) {
      load.setAttribute("aria-label", name ? `Load ${name}` : "Load");
      load.disabled = !possible;
    },
  };
}

function drawProgress(bar: HTMLElement, filled: HTMLElement, text: HTMLElement, job: LoaderJob): void {
  const { done = 0, total, left_s: left } = job;
  const known = Boolean(total);
  const share = total ? Math.min(1, done / total) : 0;
  filled.style.width = known ? `${(100 * share).toFixed(1)}%` : "";
  bar.classList.toggle("llama-nb-load-unknown", !known);
  const parts = [capital(job.what ?? "")];
  if (total) parts.push(`${bytesText(done)} of ${bytesText(total)}`, `${Math.floor(100 * share)} %`);
  else if (done > 0) parts.push(bytesText(done));
  if (typeof left === "number") parts.push(`${duration(left)} left`);
  text.textContent = parts.filter(Boolean).join(" · ");
  if (known) bar.setAttribute("aria-valuenow", String(Math.floor(100 * share)));
  else bar.removeAttribute("aria-valuenow");
  bar.setAttribute("aria-valuetext", text.textContent);
}

function outcome(job: LoaderJob, actions: JobActions, signal: AbortSignal): HTMLElement[] {
  if (job.state === "failed") return [failure(job.message ?? "", job.hint ?? "")];
  if (job.state !== "done") {
    const said = ENDED.get(job.state ?? "");
    return said ? [element("p", "llama-nb-muted", said)] : [];
  }
  const first = job.chats === false ? "%%llama complete" : "%%llama";
  const line = element("p", "llama-nb-load-loaded");
  line.append(
    element("b", "", `${job.model} is loaded`),
    `: ${bytesText(job.bytes ?? 0)} in ${duration(job.spent_s ?? 0)}. Next: `,
    element("code", "", first),
    job.chats === false ? " and a text to go on with" : " and a message",
  );
  const copy = copyButton("Copy the cell's first line", () => `${first}\n`);
  const insert = button("Insert", "", () => actions.insert(`${first}\n`) || copy.click(), signal);
  insert.setAttribute("aria-label", `Insert a cell that begins with ${first}`);
  line.append(insert, copy);
  return [line, ...notes(job)];
}

function notes(job: LoaderJob): HTMLElement[] {
  return (job.notes ?? []).map((note) => {
    const line = element("p", "llama-nb-muted");
    line.append(...prose(note));
    return line;
  });
}

/** An error with what to do, where the user looks. */
export function failure(message: string, hint: string): HTMLElement {
  const box = element("div", "llama-nb-error");
  box.setAttribute("role", "alert");
  const said = element("div", "");
  said.append(...prose(message));
  box.append(said);
  if (hint) {
    const next = element("div", "llama-nb-load-next");
    next.append(...prose(hint));
    box.append(next);
  }
  return box;
}

/** Draw the loaded models, each with what can be done to it. */
export function drawModels(
  into: HTMLElement,
  held: LoaderModels,
  actions: JobActions,
  signal: AbortSignal,
): void {
  const models = held.models ?? [];
  const focused =
    document.activeElement instanceof HTMLElement ? document.activeElement.dataset.does : undefined;
  const rows = models.map((model) => {
    const row = element("li", "");
    const name = element("b", "", model.name);
    const use = button("use", "", () => actions.use(model.name), signal);
    use.setAttribute("aria-label", `Use ${model.name}`);
    const unload = button("Unload", "", () => actions.unload(model.name), signal);
    unload.setAttribute("aria-label", `Unload ${model.name}`);
    use.dataset.does = `use ${model.name}`;
    unload.dataset.does = `unload ${model.name}`;
    const state = model.current ? element("span", "llama-nb-load-tag", "current") : use;
    row.append(name, element("span", "llama-nb-muted", model.detail), state, unload);
    return row;
  });
  const title = element("span", "llama-nb-load-label", "Loaded");
  const list = element("ul", "");
  list.append(...rows);
  const none = element("span", "llama-nb-muted", "nothing yet");
  const freed = element("span", "llama-nb-load-freed", held.freed ?? "");
  freed.setAttribute("role", "status");
  into.replaceChildren(title, models.length ? list : none, freed);
  if (focused === undefined) return;
  const again = [...into.querySelectorAll<HTMLElement>("[data-does]")];
  (again.find((one) => one.dataset.does === focused) ?? again.at(-1))?.focus();
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
