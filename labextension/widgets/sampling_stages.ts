/**
 * The stages of the chain as cards, in the order in which they act: what each ruled out, what is left.
 *
 * A card is picked to see the distribution behind it, and moved with the mouse or with Alt and an arrow key. Knows
 * nothing of what the stages do.
 */

import { announce } from "./announce";
import { element } from "./element";
import { count } from "./sampling_chart";
import type { LabStage } from "./shapes";
import { percent } from "./token_strip";

export interface StageRow {
  root: HTMLElement;
  update(stages: LabStage[], picked: string | null): void;
}

const DRAG_FROM_PX = 5;
const SETTLES_MS = 1000; // answers to older orders may come until then

/** Make an empty row; `pick` gets the name of a stage that acts, `reorder` the names of all that can be moved. */
export function stageRow(
  pick: (name: string) => void,
  reorder: (names: string[]) => void,
  signal: AbortSignal,
): StageRow {
  const root = element("div", "llama-nb-lab-stages");
  root.setAttribute("role", "listbox");
  root.setAttribute("aria-label", "Stages, in the order in which they act");
  root.setAttribute("aria-orientation", "horizontal");
  root.title = "Click: see the distribution behind a stage. Drag, or Alt and an arrow key: move it";
  const cards = new Map<string, HTMLElement>();
  let told: LabStage[] = [];
  let stages: LabStage[] = [];
  let reached = "";
  // The order that was asked for last, until it is answered: an older answer must not take a card out of the hand.
  let asked: string[] | null = null;
  let settling = 0;
  signal.addEventListener("abort", () => window.clearTimeout(settling));

  const at = (name: string) => stages.findIndex((stage) => stage.name === name);
  const reach = (name: string, focus: boolean) => {
    reached = name;
    for (const [key, card] of cards) card.tabIndex = key === name ? 0 : -1;
    if (focus) cards.get(name)?.focus();
  };
  /** Put a stage before another one (at the end for none). */
  const move = (name: string, before: string | null) => {
    const names = movable(stages);
    const rest = names.filter((one) => one !== name);
    const to = before === null ? rest.length : rest.indexOf(before);
    if (to < 0) return;
    rest.splice(to, 0, name);
    if (rest.join() === names.join()) return;
    stages = arranged(stages, rest);
    place();
    reach(name, true);
    const follower = rest[to + 1];
    const label = (one: string) => stages[at(one)]?.label ?? one;
    announce(follower ? `${label(name)} acts before ${label(follower)} now` : `${label(name)} acts last now`);
    asked = rest;
    window.clearTimeout(settling);
    settling = window.setTimeout(() => {
      asked = null;
      stages = told;
      place();
    }, SETTLES_MS);
    reorder(rest);
  };
  const step = (name: string, by: -1 | 1) => {
    const names = movable(stages);
    const from = names.indexOf(name);
    if (from < 0 || !names[from + by]) return;
    move(name, (by < 0 ? names[from - 1] : names[from + 2]) ?? null);
  };
  const place = () => {
    stages.forEach((stage, index) => {
      const card = cards.get(stage.name);
      if (card && root.children[index] !== card) root.insertBefore(card, root.children[index] ?? null);
    });
  };

  const keys: Record<string, () => void> = {
    ArrowRight: () => reach(stages[at(reached) + 1]?.name ?? reached, true),
    ArrowLeft: () => reach(stages[at(reached) - 1]?.name ?? reached, true),
    "Alt+ArrowRight": () => step(reached, 1),
    "Alt+ArrowLeft": () => step(reached, -1),
    Home: () => reach(stages[0]?.name ?? "", true),
    End: () => reach(stages.at(-1)?.name ?? "", true),
    Enter: () => pick(reached),
    " ": () => pick(reached),
  };
  root.addEventListener(
    "keydown",
    (event) => {
      const act = keys[event.altKey ? `Alt+${event.key}` : event.key];
      if (!act) return;
      act();
      event.preventDefault();
      event.stopPropagation();
    },
    { signal },
  );
  root.addEventListener("focusin", (event) => reach(nameOf(event.target) || reached, false), { signal });
  dragging(
    root,
    cards,
    move,
    (name) => {
      reach(name, true);
      pick(name);
    },
    signal,
  );

  const update = (next: LabStage[], picked: string | null) => {
    const hadFocus = root.contains(document.activeElement);
    told = next;
    if (asked?.join() === movable(next).join()) asked = null;
    stages = asked ? arranged(next, asked) : next;
    for (const [name, card] of cards) {
      if (at(name) >= 0) continue;
      card.remove();
      cards.delete(name);
    }
    for (const stage of stages) {
      const card = cards.get(stage.name) ?? element("div", "llama-nb-lab-card");
      cards.set(stage.name, card);
      draw(card, stage, stage.name === picked);
    }
    place();
    reach(at(reached) >= 0 ? reached : (picked ?? stages[0]?.name ?? ""), hadFocus);
  };
  return { root, update };
}

function movable(stages: LabStage[]): string[] {
  return stages.filter((stage) => stage.movable).map((stage) => stage.name);
}

/** The stages with those that can be moved in another order; what comes first and last stays there. */
function arranged(stages: LabStage[], names: string[]): LabStage[] {
  const moved = stages.filter((stage) => stage.movable);
  moved.sort((one, other) => names.indexOf(one.name) - names.indexOf(other.name));
  return stages.map((stage) => (stage.movable ? (moved.shift() ?? stage) : stage));
}

function draw(card: HTMLElement, stage: LabStage, picked: boolean): void {
  card.setAttribute("role", "option");
  card.dataset.stage = stage.name;
  card.dataset.state = stage.state;
  card.dataset.movable = String(stage.movable);
  card.setAttribute("aria-selected", String(picked));
  card.setAttribute("aria-label", described(stage));
  const value = stage.state === "off" ? "off" : stage.value;
  const head = element("span", "llama-nb-lab-card-head");
  head.append(element("b", "", stage.label), element("span", "", value));
  const lines: HTMLElement[] = [head];
  if (stage.state === "on") {
    const removed = stage.removed ? `−${count(stage.removed)}` : "";
    const kept = element("span", "llama-nb-lab-card-line");
    kept.append(
      element("span", "", `${count(stage.kept ?? 0)} left`),
      element("span", "llama-nb-lab-gone", removed),
    );
    const mass = element("span", "llama-nb-lab-mass");
    const filled = element("span", "");
    filled.style.width = `${(100 * (stage.mass ?? 1)).toFixed(1)}%`;
    mass.append(filled);
    const figures = `${percent(stage.mass ?? 1)} · ${(stage.entropy ?? 0).toFixed(2)} nats`;
    lines.push(kept, mass);
    lines.push(element("span", "llama-nb-lab-card-line", figures));
  } else if (stage.state === "idle") {
    lines.push(element("span", "llama-nb-lab-card-line", "no effect"));
  }
  card.title = stage.reason ? `No effect: ${stage.reason}` : stage.means;
  if (!card.title) card.removeAttribute("title");
  card.replaceChildren(...lines);
}

function described(stage: LabStage): string {
  if (stage.state === "off") return `${stage.label}, off`;
  if (stage.state === "idle") return `${stage.label} ${stage.value}, no effect: ${stage.reason}`;
  const gone = stage.removed ? `${count(stage.removed)} ruled out, ` : "";
  const left = `${count(stage.kept ?? 0)} left with ${percent(stage.mass ?? 1)} of the model's mass`;
  return `${stage.label} ${stage.value}: ${gone}${left}, entropy ${(stage.entropy ?? 0).toFixed(2)} nats`;
}

function nameOf(target: EventTarget | null): string {
  return target instanceof Element ? (target.closest<HTMLElement>("[data-stage]")?.dataset.stage ?? "") : "";
}

/** Moves cards with the pointer; a press that moves nothing is a click. */
function dragging(
  root: HTMLElement,
  cards: Map<string, HTMLElement>,
  move: (name: string, before: string | null) => void,
  click: (name: string) => void,
  signal: AbortSignal,
): void {
  let held: { name: string; x: number; moved: boolean } | null = null;
  /** The movable card before which the pointer is; null behind the last one. */
  const target = (x: number): string | null => {
    for (const card of root.children) {
      if (!(card instanceof HTMLElement) || card.dataset.movable !== "true") continue;
      const box = card.getBoundingClientRect();
      if (x < box.left + box.width / 2) return card.dataset.stage ?? null;
    }
    return null;
  };
  const mark = (name: string | null | undefined) => {
    for (const [key, card] of cards) card.classList.toggle("llama-nb-lab-drop", key === name);
    root.classList.toggle("llama-nb-lab-drop-last", name === null);
  };
  const end = () => {
    if (held) cards.get(held.name)?.classList.remove("llama-nb-lab-dragged");
    held = null;
    mark(undefined);
  };
  const listen = { signal };
  root.addEventListener(
    "pointerdown",
    (event) => {
      const name = nameOf(event.target);
      if (event.button === 0 && name) held = { name, x: event.clientX, moved: false };
    },
    listen,
  );
  root.addEventListener(
    "pointermove",
    (event) => {
      if (!held || cards.get(held.name)?.dataset.movable !== "true") return;
      if (!held.moved && Math.abs(event.clientX - held.x) < DRAG_FROM_PX) return;
      if (!held.moved) root.setPointerCapture(event.pointerId);
      held.moved = true;
      cards.get(held.name)?.classList.add("llama-nb-lab-dragged");
      mark(target(event.clientX));
    },
    listen,
  );
  root.addEventListener(
    "pointerup",
    (event) => {
      if (!held) return;
      const { name, moved } = held;
      end();
      if (!moved) click(name);
      else if (target(event.clientX) !== name) move(name, target(event.clientX));
    },
    listen,
  );
  root.addEventListener("pointercancel", end, listen);
}
