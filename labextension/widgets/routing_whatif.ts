/** Forbids experts, forces them, drops the shared one, changes how many are chosen; shows what that does. */

import { copyButton } from "./copy";
import { button, element, option } from "./element";
import { type Doing, isDone, named, toggled, toggledShared, UNCHANGED } from "./routing_changes";
import { effectOf, effectTable } from "./routing_effect";
import { colourOf, type RoutingPage } from "./routing_page";
import type { RoutingChanges, RoutingEffect } from "./shapes";
import { visible } from "./token_strip";

const HELP =
  "Forbid an expert and each token that chose it goes to its next best one; force one and every token goes there. " +
  "Then see what that does to the next token, to the text that follows, and to the loss of this text.";

/** The changes as they are wanted: the kernel's, and ahead of it what was clicked since. */
function draft(page: RoutingPage) {
  let known: RoutingChanges | undefined;
  let changes = UNCHANGED;
  return {
    get: () => {
      const told = page.get("view").changes;
      if (told !== known) changes = told ?? UNCHANGED;
      known = told;
      return changes;
    },
    set(next: RoutingChanges) {
      changes = next;
      page.change(next, page.look.token);
      page.draw();
    },
  };
}

export function whatifPane(host: HTMLElement, page: RoutingPage, signal: AbortSignal): () => void {
  const changes = draft(page);
  const controls = chooser(page, changes, signal);
  const chips = element("div", "llama-nb-rp-row llama-nb-rp-chips");
  const found = element("div", "llama-nb-rp-effect");
  host.append(controls.root, chips, found);
  const drawChips = (all: RoutingChanges) => {
    const made = named(all, page.get("head").experts ?? 1).map(([label, without]) => {
      const chip = button(`${label} ✕`, "llama-nb-rp-chip", () => changes.set(without), signal);
      chip.setAttribute("aria-label", `${label}: undo`);
      return chip;
    });
    const none = button("Undo all", "llama-nb-rp-quiet", () => changes.set(UNCHANGED), signal);
    chips.replaceChildren(...(made.length > 0 ? [...made, none, ...again(page, changes.get, signal)] : []));
    chips.hidden = made.length === 0;
  };
  let shown = "";
  let drawn: unknown[] = [];
  return () => {
    const now = changes.get();
    controls.update(now);
    const effect = page.get("effect");
    const key = JSON.stringify([now, page.look.token, effect.position]);
    if (key !== shown) drawChips(now);
    shown = key;
    const changed = chips.firstChild !== null;
    found.setAttribute("aria-busy", String(changed && (effect.running ?? false)));
    const state = [effect, changed, page.get("tokens")];
    if (state.every((one, at) => one === drawn[at])) return;
    drawn = state;
    const idle =
      page.get("head").alive === false ? "The model is not loaded any more: nothing can be tried." : HELP;
    if (!changed) found.replaceChildren(element("p", "llama-nb-muted", idle));
    else found.replaceChildren(...result(effect, page));
  };
}

function result(effect: RoutingEffect, page: RoutingPage): HTMLElement[] {
  const { position } = effect;
  const text = position === undefined ? null : page.texts.text(position);
  const one = (page.get("head").documents ?? 1) > 1 ? "of this one text " : "";
  const made = effectOf(effect, text === null ? `token ${position ?? ""}` : visible(text), one);
  if (effect.running || effect.error) return made;
  return [...made, copyButton("Copy these figures and texts", () => effectTable(effect), "Copy data")];
}

/** A button that asks for the distributions after the chosen token, where they are after another one. */
function again(page: RoutingPage, changes: () => RoutingChanges, signal: AbortSignal): HTMLElement[] {
  const { token } = page.look;
  const { position } = page.get("effect");
  if (token === null || position === undefined || token === position) return [];
  const label = `after ${visible(page.texts.text(token) ?? `token ${token}`)}`;
  return [button(label, "llama-nb-rp-quiet", () => page.change(changes(), token), signal)];
}

interface Draft {
  get(): RoutingChanges;
  set(changes: RoutingChanges): void;
}

/** A layer and one of its experts, and what can be done to them. */
function chooser(page: RoutingPage, changes: Draft, signal: AbortSignal) {
  const root = element("div", "llama-nb-rp-row");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "What is changed");
  const select = (label: string, act: (value: number) => void) => {
    const made = document.createElement("select");
    made.setAttribute("aria-label", label);
    made.addEventListener("change", () => act(Number(made.value)), { signal });
    return made;
  };
  let expert = page.look.expert ?? 0;
  const layer = select("Layer", (value) => page.toLayer(value));
  const which = select("Expert", (value) => {
    expert = value;
    page.draw();
  });
  const pair = (): [number, number] => [page.look.layer, expert];
  const most = () => changes.get().top_k ?? page.get("head").top_k ?? 1;
  const toggle = (label: string, act: () => void) => {
    const made = button(label, "llama-nb-rp-toggle", act, signal);
    made.setAttribute("role", "switch");
    return made;
  };
  const doing = (what: Doing) => () => changes.set(toggled(changes.get(), what, pair(), most()));
  const ban = toggle("Forbid", doing("ban"));
  const force = toggle("Force", doing("force"));
  const drop = toggle("Drop shared", () => changes.set(toggledShared(changes.get(), page.look.layer)));
  const count = select("Experts a token goes to", (value) =>
    changes.set({ ...changes.get(), top_k: value === page.get("head").top_k ? null : value }),
  );
  const swatch = element("i", "llama-nb-rp-swatch");
  root.append(swatch, layer, which, ban, force, drop, element("span", "llama-nb-rp-space"), count);
  let offered = "";
  return {
    root,
    update(now: RoutingChanges) {
      const { layers = [], experts = 1, top_k = 1, shared = false, alive = true } = page.get("head");
      const key = `${layers} ${experts} ${top_k}`;
      if (key !== offered) {
        layer.replaceChildren(...layers.map((one) => option(`L${one}`, String(one))));
        which.replaceChildren(...range(experts).map((one) => option(`Expert ${one}`, String(one))));
        count.replaceChildren(...counts(top_k, experts));
      }
      offered = key;
      if (expert >= experts) expert = 0;
      layer.value = String(page.look.layer);
      which.value = String(expert);
      count.value = String(now.top_k ?? top_k);
      swatch.style.background = colourOf(expert, experts);
      drop.setAttribute("aria-label", `Drop the shared expert of L${page.look.layer}`);
      drop.hidden = !shared;
      ban.setAttribute("aria-checked", String(isDone(now, "ban", pair())));
      force.setAttribute("aria-checked", String(isDone(now, "force", pair())));
      drop.setAttribute("aria-checked", String(now.drop.includes(page.look.layer)));
      for (const one of [ban, force, drop, count]) one.disabled = !alive;
    },
  };
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, one) => one);
}

const MOST_COUNTS = 16;

/** How many experts a token may go to: all numbers up to 16, and what the model does. */
function counts(top_k: number, experts: number): HTMLOptionElement[] {
  const most = Math.min(experts, Math.max(MOST_COUNTS, top_k));
  return range(most).map((one) => {
    const usual = one + 1 === top_k ? " (as trained)" : "";
    return option(`top-${one + 1}${usual}`, String(one + 1));
  });
}
