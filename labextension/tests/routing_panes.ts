/** The panes of the routing explorer over a page that is none: known flows and figures, and what was done. */

import further from "../widgets/routing_further";
import more from "../widgets/routing_more";
import type { Look, MakePane, Pane, RoutingPage } from "../widgets/routing_page";
import type { RoutingAsk } from "../widgets/shapes";
import type { RoutingExplorerTraits } from "../widgets/traits";

export const HOSTILE = "<img src=x onerror=alert(1)>";
export const TEXTS = ["<|bos|>", "Once", " upon", HOSTILE, " time", " upon"];

const UNTOUCHED = { ban: [], force: [], drop: [], top_k: null };

export const TRAITS: Partial<RoutingExplorerTraits> = {
  head: {
    ...{ model: "cria-moe", alive: true, layers: [1, 3, 5], experts: 4, top_k: 1, shared: true },
    ...{ gate: "sigmoid", tokens: 6, prompt: 6, documents: 2, domains: ["story", HOSTILE], growing: false },
  },
  tokens: { start: 0, texts: TEXTS, special: [0], breaks: [] },
  view: { layer: 1, pane: "tokens", changes: UNTOUCHED, changed: 1 },
  paths: {
    ...{ domain: "", token: null, tokens: 6, rest: 0.05, running: false },
    flows: [
      [0, 2, 3, 0.5],
      [0, 0, 1, 0.3],
      [0, 2, 1, 0.1],
      [1, 3, 0, 0.5],
      [1, 1, 0, 0.4],
    ],
    matrix: {
      ...{ layer: 1, next: 3, kind: "transition" },
      values: [
        [0, 1, 0, 0],
        [0, 0, 0, 0],
        [0, 0.1667, 0, 0.8333],
        [0, 0, 0, 0],
      ],
    },
  },
  expert: {
    ...{ layer: 1, expert: 2, share: 0.6, dead: false, norm: 3.5, norms: [3, 4, 3.5, 2], error: "" },
    by_domain: [
      ["story", 0.5],
      [HOSTILE, 0.1],
    ],
    by_position: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1],
    tokens: [
      [" upon", 2, 3.1],
      [HOSTILE, 1, 1.5],
    ],
    contexts: [["Once", " upon", HOSTILE, 0.913, 2]],
    similar: [
      [0, 0.1, 0.2],
      [3, 0.4, -0.25],
    ],
  },
  effect: {},
  cost: {
    ...{ total_parameters: 6_000_000, active_parameters: 1_500_000, total_bytes: 12_000_000 },
    ...{ token_bytes: 3_000_000, expert_bytes: 250_000, plan: "%llama plan cria-moe", lines: [HOSTILE] },
    cache: [
      [1, 0.4, 0.5, 0.25],
      [2, 0.6, 0.8, 0.5],
      [4, 1, 1, 1],
    ],
    batch: [
      [1, 0.25],
      [8, 0.9],
    ],
  },
};

const opened: Pane[] = [];

export function closeAll(): void {
  for (const pane of opened.splice(0)) pane.remove();
  document.body.replaceChildren();
}

/** Draw a pane; `done` are the calls of the page's other functions, in order. */
export function open(kind: Parameters<MakePane>[0], changes: Partial<RoutingExplorerTraits> = {}) {
  const traits = { ...TRAITS, ...changes } as RoutingExplorerTraits;
  const asked: RoutingAsk[] = [];
  const done: unknown[][] = [];
  const look: Look = {
    ...{ layer: 1, index: 0, pane: kind, expert: 2, token: 4, hovered: null, domain: "", shade: "margin" },
  };
  const note =
    (name: string) =>
    (...given: unknown[]) =>
      void done.push([name, ...given]);
  const page: RoutingPage = {
    get: (name) => traits[name],
    ask: (message) => void asked.push(message),
    look,
    routes: {} as RoutingPage["routes"],
    texts: { text: (position) => TEXTS[position] ?? null, special: (position) => position === 0 },
    ...{ toLayer: note("layer"), toToken: note("token"), toExpert: note("expert") },
    ...{ toDomain: note("domain"), toPane: note("pane"), change: note("change") },
    ...{ say: note("say"), draw: () => pane.update() },
  };
  const host = document.createElement("div");
  document.body.append(host);
  const pane = (kind === "paths" ? more : further)(kind, host, page);
  opened.push(pane);
  const find = <T extends Element = HTMLElement>(selector: string) => host.querySelector<T>(selector) as T;
  const all = (selector: string) => [...host.querySelectorAll<HTMLElement>(selector)];
  return {
    ...{ host, pane, page, look, asked, done, find, all },
    set<K extends keyof RoutingExplorerTraits>(name: K, value: RoutingExplorerTraits[K]) {
      traits[name] = value;
      pane.update();
    },
    button: (text: string) => all("button").find((one) => one.textContent === text) as HTMLButtonElement,
    press(target: Element, ...keys: string[]) {
      for (const key of keys)
        target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    },
    choose(label: string, value: string) {
      const made = find<HTMLSelectElement>(`[aria-label="${label}"]`);
      made.value = value;
      made.dispatchEvent(new Event("change"));
    },
  };
}
