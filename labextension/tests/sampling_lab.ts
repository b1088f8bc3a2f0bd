/** The sampling laboratory over a kernel that is none: a model that remembers what was sent, a place, a view. */

import widget, { type LabModel } from "../widgets/sampling";
import type { Control, LabView } from "../widgets/shapes";
import type { SamplingLabTraits } from "../widgets/traits";
import { FakeModel } from "./fake_model";

export const HOSTILE = "<img src=x onerror=alert(1)>";

export function control(name: string, changes: Partial<Control> = {}): Control {
  const range = { low: 0, high: 2, step: 0.05, scale: "linear" as const, off: 0, can_be_off: true };
  const rest = { meaning: "", idle: "", group: "Sampling", value: 0, default: 0, words: [] };
  return { name, label: name.replace("_", "-"), ...range, ...rest, ...changes };
}

const step = { value: "", means: "", movable: true, state: "on" as const };

export function view(changes: Partial<LabView> = {}): LabView {
  return {
    place: "token 1 of the reply",
    position: 1,
    context: "Once",
    vocabulary: 2048,
    chosen: 7,
    stages: [
      {
        ...step,
        name: "logits",
        label: "logits",
        movable: false,
        step: 0,
        kept: 2048,
        mass: 1,
        entropy: 2.5,
      },
      {
        ...step,
        name: "temperature",
        label: "temperature",
        value: "0.8",
        step: 1,
        kept: 2048,
        mass: 1,
        entropy: 2,
      },
      { ...step, name: "top_k", label: "top-k", state: "off" },
      {
        ...step,
        name: "top_p",
        label: "top-p",
        value: "0.9",
        step: 2,
        kept: 2,
        removed: 2046,
        mass: 0.7,
        entropy: 0.6,
      },
    ],
    rows: [
      { id: 5, text: " upon", special: false, before: 0.5, after: 0.7, by: "", steps: [0.5, 0.6, 0.7] },
      { id: 7, text: HOSTILE, special: false, before: 0.2, after: 0.3, by: "", steps: [0.2, 0.25, 0.3] },
      { id: 9, text: "\n", special: false, before: 0.1, after: 0, by: "top_p", steps: [0.1, 0.05, 0] },
    ],
    rest: { count: 2045, before: 0.2, after: 0, steps: [0.2, 0.1, 0] },
    draws: null,
    values: { temperature: 0.8, top_p: 0.9 },
    idle: {},
    line: "%llama set --temperature 0.8",
    applied: false,
    changed: true,
    mixed: false,
    ...changes,
  };
}

export function open(changes: Partial<SamplingLabTraits> = {}) {
  const model = new FakeModel({
    place: {
      kind: "reply",
      title: "reply in chat main",
      model: "cria",
      alive: true,
      newer: false,
      first: 0,
      tokens: [
        ["Once", false, 0.9, 0.2],
        [HOSTILE, false, 0.2, 2.5],
        ["<|eot_id|>", true, 0.99, 0.01],
      ],
    },
    sampling: {
      controls: [
        control("temperature"),
        control("top_p"),
        control("typical_p", { group: "Truncation", default: 1, off: 1, value: 1 }),
      ],
      presets: ["creative"],
    },
    view: view(),
    ahead: {},
    status: "",
    error: "",
    twin: {},
    ...changes,
  });
  const el = document.createElement("div");
  document.body.append(el);
  const close = widget.render({ model: model as unknown as LabModel, el });
  const find = <T extends HTMLElement = HTMLElement>(selector: string) => el.querySelector<T>(selector) as T;
  const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
  const button = (text: string) => all("button").find((one) => one.textContent === text) as HTMLButtonElement;
  const press = (target: HTMLElement, key: string, options = {}) => {
    target.focus();
    target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...options }));
  };
  return { model, el, close, find, all, button, press };
}
