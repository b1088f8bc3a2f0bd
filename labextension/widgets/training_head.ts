/** What a run is and how far it is: its name, its state as a mark and a word, the bar of its steps, its last figures. */

import { count, figure } from "./anatomy_figures";
import { element } from "./element";
import { showStatus } from "./frame";
import { duration } from "./loader_job";
import { prose } from "./loader_plan";
import type { TrainingHead } from "./shapes";
import { lossText } from "./training_scale";

export interface Head {
  root: HTMLElement;
  update(head: TrainingHead): void;
}

export type State = NonNullable<TrainingHead["state"]>;

const MARKS: Record<State, string> = {
  waiting: "◌",
  running: "●",
  paused: "❚❚",
  stopped: "■",
  finished: "✓",
  failed: "✕",
  interrupted: "!",
};
const METHODS: Record<string, string> = { lora: "LoRA", dora: "DoRA", rslora: "rsLoRA", full: "all weights" };
/** Of these there is more to say than how fast it goes. */
const AT_WORK = new Set<State>(["waiting", "running"]);

export function headPart(): Head {
  const root = element("div", "llama-nb-tr-head");
  const name = element("span", "llama-nb-title");
  const what = element("span", "llama-nb-muted llama-nb-tr-what");
  const state = element("span", "llama-nb-tr-state");
  const mark = element("span", "");
  mark.setAttribute("aria-hidden", "true");
  const word = element("span", "");
  state.setAttribute("role", "status");
  state.append(mark, word);
  const line = element("div", "llama-nb-tr-line");
  line.append(name, what, state);

  const bar = element("div", "llama-nb-tr-progress");
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", "Steps");
  bar.setAttribute("aria-valuemin", "0");
  const filled = element("span", "");
  const kept = element("i", "");
  bar.append(filled, kept);

  const far = element("div", "llama-nb-tr-far");
  const left = element("span", "");
  const right = element("span", "llama-nb-tr-latest");
  far.append(left, right);
  root.append(line, bar, far);
  return {
    root,
    update(head) {
      name.textContent = head.name ?? "Training";
      what.textContent = described(head);
      what.title = [what.textContent, head.folder].filter(Boolean).join(" · ");
      root.dataset.state = head.state ?? "";
      state.hidden = !head.state;
      mark.textContent = head.state ? (MARKS[head.state] ?? "") : "";
      if (word.textContent !== (head.state ?? "")) word.textContent = head.state ?? "";
      drawSteps(bar, filled, kept, head);
      drawFar(left, head);
      showStatus(right, latest(head));
    },
  };
}

function drawSteps(bar: HTMLElement, filled: HTMLElement, kept: HTMLElement, head: TrainingHead): void {
  const { step = 0, steps = 0, saved_step: saved } = head;
  const share = (of: number) => `${steps > 0 ? Math.min(100, (100 * of) / steps) : 0}%`;
  bar.setAttribute("aria-valuemax", String(steps));
  bar.setAttribute("aria-valuenow", String(step));
  bar.setAttribute("aria-valuetext", `step ${step} of ${steps}`);
  filled.style.width = share(step);
  kept.hidden = !saved || !steps;
  kept.style.left = share(saved ?? 0);
  kept.title = `checkpoint of step ${saved}`;
}

/** How far it is while it is at work; else what its state means. */
function drawFar(into: HTMLElement, head: TrainingHead): void {
  const waits = head.state === "running" && head.serving ? `${stepsOf(head)} · waits: ${head.serving}` : "";
  const sentence = waits || (AT_WORK.has(head.state ?? "waiting") ? "" : head.sentence);
  if (sentence) into.replaceChildren(...prose(sentence));
  else showStatus(into, progress(head));
  into.title = into.textContent ?? "";
  into.dataset.sentence = String(Boolean(sentence));
}

function described(head: TrainingHead): string {
  const { model, method, rank, objective, parameters, executor } = head;
  const kind = [METHODS[method ?? ""] ?? method, rank ? `rank ${rank}` : ""].filter(Boolean).join(" ");
  const parts = [
    model,
    objective && objective !== "sft" ? `${kind}, ${objective.toUpperCase()}` : kind,
    parameters ? `${count(parameters)} weights` : "",
    executor,
  ];
  return parts.filter(Boolean).join(" · ");
}

const stepsOf = ({ step = 0, steps = 0 }: TrainingHead) =>
  steps ? `step ${step.toLocaleString("en")} of ${steps.toLocaleString("en")}` : "";

function progress(head: TrainingHead): string {
  const { epoch, eta_s: left, spent_s: spent, tokens_per_s: speed, planned_s: planned, step = 0 } = head;
  const first = !step && typeof planned === "number" ? `about ${duration(planned)} planned` : "";
  const parts = [
    stepsOf(head),
    epoch && step ? `epoch ${figure(epoch)}` : "",
    typeof left === "number" && step ? `${duration(left)} left` : first,
    typeof left !== "number" && typeof spent === "number" && step ? duration(spent) : "",
    speed ? `${Math.round(speed).toLocaleString("en")} tokens/s` : "",
  ];
  return parts.filter(Boolean).join(" · ");
}

function latest({ loss, smoothed, validation, best, best_step: at }: TrainingHead): string {
  const now = smoothed ?? loss;
  const better = typeof best === "number" && typeof validation === "number" && best < validation;
  const parts = [
    typeof now === "number" ? `loss ${lossText(now)}` : "",
    typeof validation === "number" ? `validation ${lossText(validation)}` : "",
    better ? `best ${lossText(best)} at ${at}` : "",
  ];
  return parts.filter(Boolean).join(" · ");
}
