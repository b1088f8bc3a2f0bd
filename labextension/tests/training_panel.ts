/** The training panel over a kernel that is none: a run of six steps, and a model that remembers what was sent. */

import { vi } from "vitest";
import type { TrainingCurves, TrainingHead } from "../widgets/shapes";
import widget, { type TrainingModel } from "../widgets/training";
import type { TrainingPanelTraits } from "../widgets/traits";
import { FakeModel } from "./fake_model";

export const HOSTILE = "<img src=x onerror=alert(1)>";

export const HEAD: TrainingHead = {
  name: "persona",
  folder: "runs/persona",
  model: "cria",
  adapter: "persona",
  state: "running",
  step: 6,
  steps: 20,
  epoch: 0.5,
  executor: "in a notebook's kernel",
  method: "lora",
  objective: "sft",
  rank: 16,
  parameters: 294912,
  eta_s: 75,
  spent_s: 30,
  tokens_per_s: 1234.4,
  loss: 2.1,
  smoothed: 2.4,
  validation: 2,
  best: 2,
  best_step: 4,
  lr: 2e-4,
  memory: 1.1e9,
  planned_memory: 1.3e9,
  planned_s: 118,
  saved_step: 5,
  orders: ["pause", "stop", "save", "lr"],
  ordered: "",
  keeps: "Stopping keeps a checkpoint of step 6.",
  alive: true,
  adapter_on: true,
  chat: "%%llama chat",
  notes: [],
  data: {
    source: "rows.jsonl",
    format: "openai",
    rows: 190,
    validation_rows: 10,
    tokens: 20_000,
    trained: 5000,
  },
};

export const CURVES: TrainingCurves = {
  revision: 3,
  stride: 1,
  steps: [1, 2, 3, 4, 5, 6],
  loss: [4, 3.5, null, 2.5, 2.2, 2.1],
  smoothed: [4, 3.9, 3.9, 3, 2.6, 2.4],
  lr: [1e-4, 2e-4, 2e-4, 2e-4, 1.9e-4, 1.8e-4],
  gradient_norm: [2, 1.8, 1.5, 1.2, 1, 0.9],
  tokens_per_s: [1200, 1210, 1220, 1215, 1230, 1234],
  memory: [1e9, 1.1e9, 1.1e9, 1.1e9, 1.1e9, 1.1e9],
  validation: [
    [2, 3],
    [4, 2],
  ],
};

const p = (text: string) => ({ t: "p", c: [text] });

export const ANSWERS = {
  steps: [0, 3, 6],
  step: 6,
  answers: [
    { prompt: "Who are you?", before: [p("A llama.")], after: [p(HOSTILE)] },
    { prompt: HOSTILE, before: [p("Yes.")], after: [p("Yes.")] },
    { prompt: "Added later", before: null, after: null },
  ],
};

export const RECIPE = {
  rows: [
    { name: "method", value: "lora", usual: true, help: "How weights change.", turn: "`full` changes all." },
    { name: "rank", value: "32", usual: false, help: "How many directions.", turn: "Up: more weights." },
    { name: "alpha", value: "32", usual: true, help: HOSTILE, turn: "" },
  ],
};

export function open(changes: Partial<TrainingPanelTraits> = {}) {
  const model = new FakeModel<TrainingPanelTraits>({
    head: HEAD,
    curves: CURVES,
    samples: ANSWERS,
    recipe: RECIPE,
    error: "",
    twin: {},
    ...changes,
  });
  const el = document.createElement("div");
  document.body.append(el);
  const ended = widget.initialize({ model: model as unknown as TrainingModel });
  const close = widget.render({ model: model as unknown as TrainingModel, el });
  const find = <T extends HTMLElement = HTMLElement>(selector: string) => el.querySelector<T>(selector) as T;
  const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
  const button = (text: string) =>
    all("button").find((one) => one.textContent === text && !one.closest("[hidden]")) as HTMLButtonElement;
  const press = (target: HTMLElement, key: string) => {
    target.focus();
    target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  };
  const type = (field: HTMLInputElement, text: string) => {
    field.focus();
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  /** The kernel sends the code that was asked for; all that has come is drawn. */
  const settle = async () => {
    if (model.said("code").length) model.tell("code", { text: "-" });
    await vi.dynamicImportSettled();
    await new Promise((resolve) => requestAnimationFrame(() => resolve(undefined)));
    await new Promise((resolve) => requestAnimationFrame(() => resolve(undefined)));
  };
  const head = (next: TrainingHead) => model.set("head", { ...model.get("head"), ...next });
  const tab = (name: string) => find<HTMLButtonElement>(`[data-tab=${name}]`);
  return { model, el, close, ended, find, all, button, press, type, settle, head, tab };
}
