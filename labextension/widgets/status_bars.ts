/**
 * `%llama status` as an anywidget module (llama_nb/widgets/status_bars.py): bars of memory over tables.
 *
 * It asks the kernel for a reading about every two seconds, while it is seen and the last one was answered. A kernel
 * that does not answer is said to be busy or gone, with the age of the figures.
 */

import { element } from "./element";
import { standIn } from "./live_mark";
import { LOOKS, memoryBar } from "./memory_bar";
import { fill } from "./nodes";
import type { Model } from "./reply";
import type { MemoryReadings } from "./shapes";
import type { StatusBarsTraits } from "./traits";

export const EVERY_MS = 2000;
/** After so long without an answer the kernel is busy or gone. */
export const SILENT_MS = 4000;
/** A question that was lost on the way is asked again. */
export const AGAIN_MS = 30_000;

function render({ model, el }: { model: Model<StatusBarsTraits>; el: HTMLElement }): () => void {
  const root = element("section", "llama-nb-view llama-nb-status-bars");
  root.setAttribute("aria-label", "Models and memory");
  const bars = element("div", "llama-nb-bars");
  const tables = element("div", "llama-nb-tables");
  const state = element("p", "llama-nb-muted llama-nb-live");
  state.setAttribute("role", "status");
  const error = element("div", "llama-nb-error");
  root.append(bars, tables, error, state);

  const drawBars = barDrawer(bars);
  const draws: [string, () => void][] = [
    ["change:memory", () => drawBars(model.get("memory"))],
    ["change:tables", () => redraw(tables, model.get("tables"))],
    ["change:error", () => drawError(error, model.get("error"))],
  ];
  for (const [event, draw] of draws) {
    model.on(event, draw);
    draw();
  }
  el.append(root);
  const leave = standIn(model as never, el);
  const stop = askWhileSeen(model, root, state);
  return () => {
    stop();
    leave();
    for (const [event, draw] of draws) model.off(event, draw);
    root.remove();
  };
}

/** Bars keep their elements while their number stays, so that they move instead of blinking. */
function barDrawer(into: HTMLElement): (readings: MemoryReadings) => void {
  let made: ReturnType<typeof memoryBar>[] = [];
  return ({ bars = [] }) => {
    if (made.length !== bars.length) {
      made = bars.map(() => memoryBar());
      into.replaceChildren(...made.map(({ root }) => root));
    }
    bars.forEach(({ name, capacity, parts }, index) => {
      const looks = parts.map((part) => ({
        ...part,
        look: LOOKS.find((look) => look === part.look) ?? "other",
      }));
      made[index]?.show({ name, capacity, parts: looks });
    });
  };
}

function redraw(into: HTMLElement, nodes: unknown[]): void {
  into.replaceChildren();
  fill(into, nodes);
}

function drawError(into: HTMLElement, text: string): void {
  into.textContent = text;
  into.hidden = !text;
}

/** Ask for readings while `root` is on the screen; return what ends it. */
function askWhileSeen(model: Model<StatusBarsTraits>, root: HTMLElement, state: HTMLElement): () => void {
  const owner = new AbortController();
  let seen = false;
  let asked = 0;
  let answered = Date.now();
  let timer = 0;

  const say = (text: string) => {
    if (state.textContent !== text) state.textContent = text;
  };
  const step = () => {
    window.clearTimeout(timer);
    if (!seen || document.hidden) return;
    const now = Date.now();
    if (!asked || now - asked >= AGAIN_MS) {
      asked = now;
      model.send({ kind: "sample" });
    }
    const silent = now - answered;
    const waits = now - asked >= SILENT_MS || silent >= AGAIN_MS;
    say(waits ? `No answer: the kernel is busy or gone. These figures are ${age(silent)} old.` : "");
    timer = window.setTimeout(step, 1000);
  };
  const onAnswer = () => {
    asked = 0;
    answered = Date.now();
    say("");
    window.clearTimeout(timer);
    timer = window.setTimeout(step, EVERY_MS);
  };
  const onMessage = (message: { kind?: unknown }) => {
    if (message?.kind === "sampled") onAnswer();
  };
  const onError = () => {
    if (model.get("error")) onAnswer();
  };
  const watcher = new IntersectionObserver((entries) => {
    const before = seen;
    seen = entries.at(-1)?.isIntersecting ?? false;
    if (seen && !before) step();
  });
  watcher.observe(root);
  document.addEventListener("visibilitychange", step, { signal: owner.signal });
  model.on("msg:custom", onMessage);
  model.on("change:error", onError);
  return () => {
    owner.abort();
    watcher.disconnect();
    window.clearTimeout(timer);
    model.off("msg:custom", onMessage);
    model.off("change:error", onError);
  };
}

function age(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`;
}

export default { render };
