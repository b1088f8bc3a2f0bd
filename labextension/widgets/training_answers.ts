/** What the model answers to the same prompts before the training and after some steps of it, side by side. */

import { button, element } from "./element";
import { reconcile, type Tree, textOf } from "./nodes";
import type { TrainingHead, TrainingSample, TrainingSamples } from "./shapes";
import { timers } from "./timers";
import type { Ask } from "./training_controls";

export interface AnswersPane {
  root: HTMLElement;
  update(samples: TrainingSamples, head: TrainingHead): void;
}

/** A slider that rests so long is meant. */
const MEANT_MS = 120;

export function answersPane(ask: Ask, signal: AbortSignal): AnswersPane {
  const root = element("div", "llama-nb-tr-answers");
  const later = timers(signal);
  const bar = element("div", "llama-nb-tr-bar");
  const range = document.createElement("input");
  range.type = "range";
  range.min = "0";
  range.setAttribute("aria-label", "Answers after step");
  const where = element("span", "llama-nb-tr-where");
  bar.append(element("span", "llama-nb-muted", "after"), range, where);
  const list = element("div", "llama-nb-tr-list");
  list.tabIndex = 0;
  list.setAttribute("role", "group");
  list.setAttribute("aria-label", "Answers before and after");
  const none = element("p", "llama-nb-muted llama-nb-tr-none");
  const add = promptField((text) => ask({ kind: "prompt", text }), signal);
  root.append(bar, list, none, add.root);

  let steps: number[] = [];
  let wanted: number | null = null;
  const say = (step: number | undefined) => {
    where.textContent = step === undefined ? "" : `step ${step.toLocaleString("en")}`;
    range.setAttribute("aria-valuetext", where.textContent);
  };
  range.addEventListener(
    "input",
    () => {
      const step = steps[Number(range.value)];
      if (step === undefined) return;
      wanted = step;
      say(step);
      later("sample", MEANT_MS, () => ask({ kind: "sample", step }));
    },
    { signal },
  );
  const pairs = new Map<string, Pair>();
  return {
    root,
    update(samples, head) {
      steps = samples.steps ?? [];
      const { step = steps.at(-1), answers = [] } = samples;
      if (step === wanted) wanted = null;
      range.max = String(Math.max(0, steps.length - 1));
      const shown = wanted ?? step;
      const at = shown === undefined ? -1 : steps.indexOf(shown);
      range.value = String(at < 0 ? steps.length - 1 : at);
      range.hidden = steps.length < 2;
      say(shown);
      bar.hidden = steps.length === 0;
      draw(list, pairs, answers);
      list.hidden = answers.length === 0;
      none.hidden = answers.length > 0;
      none.textContent = (head.orders ?? []).includes("prompt")
        ? "No prompt yet. What is asked here is answered before the training and every few steps of it."
        : "No prompts were asked in this run.";
      add.root.hidden = !(head.orders ?? []).includes("prompt");
    },
  };
}

interface Pair {
  root: HTMLElement;
  update(sample: TrainingSample): void;
}

/** Each prompt keeps its place and its elements, so that reading is not disturbed by new answers. */
function draw(list: HTMLElement, pairs: Map<string, Pair>, answers: TrainingSample[]): void {
  const named = new Set<string>();
  answers.forEach((answer, index) => {
    const key = named.has(answer.prompt) ? `${answer.prompt}\n${index}` : answer.prompt;
    named.add(key);
    const pair = pairs.get(key) ?? pairOf(answer.prompt);
    pairs.set(key, pair);
    pair.update(answer);
    if (list.children[index] !== pair.root) list.insertBefore(pair.root, list.children[index] ?? null);
  });
  for (const [key, pair] of pairs) {
    if (named.has(key)) continue;
    pair.root.remove();
    pairs.delete(key);
  }
}

function pairOf(prompt: string): Pair {
  const root = element("section", "llama-nb-tr-pair");
  const asked = element("div", "llama-nb-tr-prompt", prompt);
  const columns = element("div", "llama-nb-tr-columns");
  const [before, after] = [column("before"), column("after")];
  columns.append(before.root, after.root);
  root.append(asked, columns);
  return {
    root,
    update(sample) {
      const same = sample.before && sample.after && textOf(sample.before) === textOf(sample.after);
      before.update(sample.before, "");
      after.update(sample.after, same ? "the same words" : "");
    },
  };
}

function column(name: "before" | "after") {
  const root = element("div", "llama-nb-tr-answer llama-nb-reply");
  root.dataset.when = name;
  const head = element("div", "llama-nb-tr-when", name);
  const remark = element("span", "");
  head.append(remark);
  const body = element("div", "");
  root.append(head, body);
  let shown: Tree[] = [];
  return {
    root,
    update(nodes: Tree[] | null, said: string) {
      if (shown.length === 0) body.replaceChildren();
      reconcile(body, shown, nodes ?? []);
      shown = nodes ?? [];
      if (shown.length === 0) {
        const word = nodes === null ? "no answer yet" : "an empty answer";
        body.replaceChildren(element("span", "llama-nb-muted", word));
      }
      remark.textContent = said ? ` · ${said}` : "";
    },
  };
}

/** A line to type another prompt into. */
function promptField(given: (text: string) => void, signal: AbortSignal) {
  const root = element("div", "llama-nb-tr-add");
  const field = document.createElement("input");
  field.type = "text";
  field.placeholder = "Ask this, too, from the next answers on";
  field.setAttribute("aria-label", "Another prompt");
  field.maxLength = 2000;
  const give = () => {
    const text = field.value.trim();
    field.focus();
    if (!text) return;
    field.value = "";
    given(text);
  };
  field.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      event.stopPropagation();
      give();
    },
    { signal },
  );
  root.append(field, button("Add", "", give, signal));
  return { root };
}
