/**
 * The training panel (llama_nb/widgets/training_panel.py), as an anywidget module: how far a run is, its curves, its
 * answers, its recipe, and the buttons that order it about.
 *
 * The kernel reads the run's folder and hears orders; the page draws what it was told and keeps what is open. Names,
 * prompts, answers and notes are untrusted and only ever become text.
 */

import { element } from "./element";
import { ownKeys } from "./keys";
import { standIn } from "./live_mark";
import { failure } from "./loader_job";
import type { Model } from "./model";
import { partCode } from "./part_code";
import type { TrainingHead } from "./shapes";
import { timers } from "./timers";
import { type Ask, controls } from "./training_controls";
import { curvesPane } from "./training_curves";
import { headPart } from "./training_head";
import type { More } from "./training_more";
import { followPoints } from "./training_points";
import { tabs } from "./training_tabs";
import { talkLine } from "./training_talk";
import type { TrainingPanelTraits } from "./traits";

export type TrainingModel = Model<TrainingPanelTraits>;

type Other = "answers" | "recipe" | "facts";

const SILENT_AFTER_MS = 3000;
/** What changes the head at once when it is heard. */
const ORDERS = new Set(["pause", "resume", "stop", "save", "lr"]);
const TABS: ["curves" | Other, string][] = [
  ["curves", "Curves"],
  ["answers", "Answers"],
  ["recipe", "Recipe"],
  ["facts", "Data and notes"],
];

function initialize({ model }: { model: TrainingModel }): () => void {
  return followPoints(model);
}

function render({ model, el }: { model: TrainingModel; el: HTMLElement }): () => void {
  const owner = new AbortController();
  const { signal } = owner;
  const later = timers(signal);
  const root = element("div", "llama-nb-view llama-nb-training");
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", "Training");
  ownKeys(root);

  const ask: Ask = (message) => {
    model.send(message);
    buttons.say("");
    if (ORDERS.has(message.kind))
      later("silence", SILENT_AFTER_MS, () => buttons.say("Waiting for the kernel …"));
  };
  const head = headPart();
  const buttons = controls(ask, signal);
  const problem = element("div", "llama-nb-tr-problem");
  const curves = curvesPane(signal);
  const hosts = { curves: curves.root, answers: host(), recipe: host(), facts: host() };
  const panel = element("div", "llama-nb-tr-panel");
  panel.append(...Object.values(hosts));
  const code = partCode<More>(() => model.send({ kind: "code" }));
  const draws = otherPanes(model, hosts, ask, signal);
  const draw = () => {
    if (choice.open === "curves") curves.update(model.get("curves"), model.get("head"));
    else draws[choice.open as Other]?.(code.now());
  };
  const all = TABS.map(([name, label]) => ({ name, label, panel: hosts[name] }));
  const choice = tabs(all, draw, signal);
  const talk = talkLine(ask, el, signal);
  root.append(head.root, buttons.root, problem, choice.root, panel, talk.root);

  const drawHead = () => {
    const now = model.get("head");
    root.dataset.empty = String(!now.name);
    root.dataset.state = now.state ?? "";
    head.update(now);
    buttons.update(now);
    talk.update(now);
    drawProblem(problem, model.get("error"), now);
    choice.badge("answers", String(model.get("samples").answers?.length || ""));
    choice.badge("facts", String(now.notes?.length || ""));
    draw();
  };
  let coming = 0;
  const soon = () => {
    coming ||= requestAnimationFrame(() => {
      coming = 0;
      drawHead();
    });
  };
  signal.addEventListener("abort", () => cancelAnimationFrame(coming));
  const heard = () => {
    later("silence", 0, () => buttons.say(""));
    soon();
  };
  const onMessage = async (message: { kind?: string; text?: string }) => {
    if (message?.kind !== "code" || !message.text) return;
    await code.arrived(message.text);
    if (!signal.aborted) soon();
  };
  model.on("change", heard);
  model.on("msg:custom", onMessage);
  choice.go("curves");
  drawHead();
  el.append(root);
  soon(); // once more, at the size that it has in the page
  const leave = standIn(model as never, el);
  code.now();
  return () => {
    owner.abort();
    leave();
    model.off("change", heard);
    model.off("msg:custom", onMessage);
    root.remove();
  };
}

function host(): HTMLElement {
  return element("div", "llama-nb-tr-host");
}

/** Draws for each of the other panes: until its code has come, its place breathes. */
function otherPanes(
  model: TrainingModel,
  hosts: Record<Other, HTMLElement>,
  ask: Ask,
  signal: AbortSignal,
): Record<Other, (more: More | null) => void> {
  const pane = <P extends { root: HTMLElement }>(
    name: Other,
    make: (more: More) => P,
    update: (pane: P) => void,
  ) => {
    let made: P | null = null;
    return (more: More | null) => {
      hosts[name].setAttribute("aria-busy", String(more === null));
      if (!more) return;
      if (!made) {
        made = make(more);
        hosts[name].append(made.root);
      }
      update(made);
    };
  };
  return {
    answers: pane(
      "answers",
      (more) => more.answers(ask, signal),
      (answers) => answers.update(model.get("samples"), model.get("head")),
    ),
    recipe: pane(
      "recipe",
      (more) => more.recipe(signal),
      (recipe) => recipe.update(model.get("recipe")),
    ),
    facts: pane(
      "facts",
      (more) => more.facts(),
      (facts) => facts.update(model.get("head")),
    ),
  };
}

/** What went wrong in the run, or with what was asked here, and what to do. */
function drawProblem(into: HTMLElement, error: string, head: TrainingHead): void {
  const [message = "", ...rest] = error.split("\n");
  const run = head.error ? [head.error, head.hint ?? ""] : null;
  const shown = message ? [message, rest.join("\n")] : run;
  const key = JSON.stringify(shown);
  if (into.dataset.key === key) return;
  into.dataset.key = key;
  into.replaceChildren(...(shown ? [failure(shown[0] ?? "", shown[1] ?? "")] : []));
  into.hidden = !shown;
}

export default { initialize, render };
