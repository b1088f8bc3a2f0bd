/** The right-hand side: what is opened of the chosen block, in tabs that depend on its kind. */

import { activations } from "./anatomy_activations";
import { blockPanel, wholePanel } from "./anatomy_block";
import { count, sizes } from "./anatomy_figures";
import { asker } from "./anatomy_measure";
import type { Panels } from "./anatomy_more";
import { button, element } from "./element";
import type { Model } from "./model";
import { partCode } from "./part_code";
import type { AnatomyBlock, AnatomyBody, AnatomyLook } from "./shapes";
import type { AnatomyViewTraits } from "./traits";

/** What a panel needs to draw itself and to change something. */
export interface Context {
  model: Model<AnatomyViewTraits>;
  send(message: Record<string, unknown>): void;
  go(change: AnatomyLook): void;
  signal: AbortSignal;
  memory: Memory;
}

/** What was set in the panels; the same from block to block. */
export interface Memory {
  /** What is charted: a place in a layer, and the number of a statistic. */
  place: string;
  statistic: number;
  /** Grouped queries: tokens in the cache (0: the context), the chosen query head. */
  tokens: number;
  head: number;
  /** RoPE. */
  position: number;
  pair: number;
}
export type Place = Required<AnatomyLook>;
export type Panel = (context: Context, block: AnatomyBlock | null, place: Place) => HTMLElement[];

export const TABS: Record<string, string> = {
  block: "Shapes",
  heads: "Grouped queries",
  rope: "RoPE",
  norm: "Before and after",
  gate: "Gate",
  activations: "Activations",
};
/** What the tabs of the whole model are called. */
const WHOLE: Record<string, string> = { block: "Parts", activations: "Residual stream" };
const KINDS: Record<string, string[]> = {
  rope: ["block", "rope"],
  norm: ["block", "norm", "activations"],
  attention: ["block", "heads", "rope", "activations"],
  "feed-forward": ["block", "gate", "activations"],
};

/** The tabs of a block; null is the whole model. */
export function tabsOf(block: AnatomyBlock | null, body: AnatomyBody): string[] {
  const tabs = KINDS[block?.kind ?? ""] ?? ["block", "activations"];
  const turned = body.rope && (block?.group == null || body.heads?.[block.group]?.rope !== false);
  return turned ? tabs : tabs.filter((tab) => tab !== "rope");
}

export interface Pane {
  root: HTMLElement;
  update(block: AnatomyBlock | null, place: Place): void;
  /** Whether a text is being read. */
  running(busy: boolean): void;
  /** The kernel sent the code of the panels that open on demand. */
  code(text: string): Promise<void>;
}

export function paneOf(needs: Omit<Context, "memory">): Pane {
  const memory = { place: "", statistic: 2, tokens: 0, head: 0, position: 20, pair: 0 };
  const context: Context = { ...needs, memory };
  const { model, go, signal } = context;
  const root = element("div", "llama-nb-an-pane");
  const head = element("div", "llama-nb-an-pane-head");
  const tabs = element("div", "llama-nb-an-tabs");
  tabs.setAttribute("role", "tablist");
  const layers = layerSlider((layer) => go({ layer }), signal);
  const panel = element("div", "llama-nb-an-panel");
  panel.setAttribute("role", "tabpanel");
  panel.tabIndex = 0;
  const asks = asker(context);
  const more = partCode<Panels>(() => context.send({ kind: "code" }));
  const panelOf = (block: AnatomyBlock | null, name: string): Panel => {
    if (name === "activations") return activations;
    if (name === "block") return block ? blockPanel : wholePanel;
    return more.now()?.[name] ?? (() => [element("p", "llama-nb-muted", "…")]);
  };
  root.append(head, tabs, layers.root, panel, asks.root);

  tabs.addEventListener(
    "keydown",
    (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const all = [...tabs.children] as HTMLElement[];
      const next = all[(all.indexOf(event.target as HTMLElement) + (step ?? 0) + all.length) % all.length];
      if (!step || !next) return;
      event.preventDefault();
      event.stopPropagation();
      next.focus();
      next.click();
    },
    { signal },
  );
  let drawn = "";
  const drawTabs = (block: AnatomyBlock | null, place: Place) => {
    const names = tabsOf(block, model.get("body"));
    const key = names.join();
    if (key !== drawn) {
      drawn = key;
      tabs.replaceChildren(...names.map((name) => tab(name, () => go({ tab: name }), signal)));
    }
    for (const one of tabs.children as Iterable<HTMLElement>) {
      const picked = one.dataset.tab === place.tab;
      one.setAttribute("aria-selected", String(picked));
      one.tabIndex = picked ? 0 : -1;
      const name = one.dataset.tab ?? "";
      one.textContent = (block ? TABS : WHOLE)[name] ?? name;
    }
  };
  const update = (block: AnatomyBlock | null, place: Place) => {
    head.replaceChildren(...heading(block, model.get("body")));
    drawTabs(block, place);
    panel.setAttribute("aria-label", TABS[place.tab] ?? "");
    const group = block?.group == null ? null : model.get("body").groups?.[block.group];
    layers.update(group?.layers ?? [], place.layer, ["norm", "gate", "activations"].includes(place.tab));
    redraw(panel, () => panelOf(block, place.tab)(context, block, place));
    asks.update(place.tab);
  };
  return { root, update, running: asks.running, code: more.arrived };
}

/** Draw a panel anew; what had the focus in it has it again, and it is scrolled as it was. */
function redraw(panel: HTMLElement, draw: () => HTMLElement[]): void {
  const held = document.activeElement instanceof HTMLElement ? document.activeElement : null;
  const key = held && panel.contains(held) ? held.dataset.key : undefined;
  const top = panel.scrollTop;
  panel.replaceChildren(...draw());
  panel.scrollTop = top;
  if (key) panel.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

function heading(block: AnatomyBlock | null, body: AnatomyBody): HTMLElement[] {
  const title = element("b", "", block ? block.title : "Whole model");
  const parameters = block ? block.parameters : (body.parameters ?? 0);
  const bytes = block ? block.bytes : (body.bytes ?? 0);
  const each = block?.group != null && (body.groups?.[block.group]?.layers.length ?? 1) > 1 ? " each" : "";
  const said = block?.tied
    ? "no parameters of its own"
    : `${count(parameters)} parameters, ${sizes(bytes)}${each}`;
  return [title, element("span", "llama-nb-muted", said)];
}

function tab(name: string, act: () => void, signal: AbortSignal): HTMLElement {
  const made = button(TABS[name] ?? name, "", act, signal);
  made.setAttribute("role", "tab");
  made.dataset.tab = name;
  return made;
}

/** Chooses one of the layers that are alike. */
function layerSlider(choose: (layer: number) => void, signal: AbortSignal) {
  const root = element("label", "llama-nb-an-layer");
  const input = document.createElement("input");
  input.type = "range";
  input.min = "0";
  input.step = "1";
  input.setAttribute("aria-label", "Layer");
  const value = element("output", "");
  root.append(element("span", "", "layer"), input, value);
  let layers: number[] = [];
  input.addEventListener("input", () => choose(layers[Number(input.value)] ?? 0), { signal });
  const update = (all: number[], layer: number, wanted: boolean) => {
    root.hidden = !wanted || all.length < 2;
    layers = all;
    input.max = String(all.length - 1);
    input.value = String(Math.max(0, all.indexOf(layer)));
    input.setAttribute("aria-valuetext", `layer ${layer}`);
    value.textContent = String(layer);
  };
  return { root, update };
}
