/** The routing explorer over a kernel that is none: a small trace whose experts are known, and what was sent. */

import widget, { type RoutingModel } from "../widgets/routing";
import type { RoutingHead, RoutingLoad, RoutingRoutes } from "../widgets/shapes";
import type { RoutingExplorerTraits } from "../widgets/traits";
import { FakeModel } from "./fake_model";

export const HOSTILE = "<img src=x onerror=alert(1)>";
export const TEXTS = ["<|begin_of_text|>", "Once", " upon", HOSTILE, " a\n", " time"];
export const LAYERS = [1, 3, 5];
const EXPERTS = 4;

/** The expert of a token in the layer of that index, and what its bytes say. */
export const expertOf = (token: number, index: number) => (token + index) % EXPERTS;
const byteOf = (token: number, index: number) => 40 * token + index;

export const HEAD: RoutingHead = {
  ...{ model: "cria-moe", title: "text", alive: true, layers: LAYERS, experts: EXPERTS, top_k: 1 },
  ...{ shared: true, gate: "sigmoid", architecture: "Llama4ForCausalLM", tokens: TEXTS.length },
  ...{ prompt: TEXTS.length, documents: 1, domains: [], growing: false, bytes: "1 kB", scores_kept: true },
};

export const LOAD: RoutingLoad = {
  ...{ domain: "", against: "uniform", difference: null, information: [], dead: [[3, 1]] },
  shares: [
    [0.5, 0.25, 0.125, 0.125],
    [0.7, 0, 0.2, 0.1],
    [0.25, 0.25, 0.25, 0.25],
  ],
  cv: [0.612, 1.08, 0],
  max_over_mean: [2, 2.8, 1],
  balance: [1.2, 1.6, 1],
};

/** The window of tokens from `start` to `stop`, as bytes. */
export function windowOf(start: number, stop: number): { routes: DataView; routes_info: RoutingRoutes } {
  const count = stop - start;
  const each = (value: (token: number, index: number) => number) =>
    Array.from({ length: count }, (_, at) => LAYERS.map((_, index) => value(start + at, index))).flat();
  const bytes = [...each(expertOf), ...each(byteOf), ...each((token) => token), ...each(() => 255)];
  return {
    routes: new DataView(Uint8Array.from(bytes).buffer),
    routes_info: {
      ...{ start, stop, layers: LAYERS.length, k: 1, bytes_each: 1 as const },
      scales: { margin: 0.51, entropy: 2.55, weight: 0.9 },
    },
  };
}

const opened: (() => void)[] = [];

/** Close what a test opened, so that no timer outlives it. */
export function closeAll(): void {
  for (const close of opened.splice(0)) close();
  document.body.replaceChildren();
}

/** Draw an explorer. */
export async function open(changes: Partial<RoutingExplorerTraits> = {}) {
  const model = new FakeModel<RoutingExplorerTraits>({
    ...{
      head: HEAD,
      load: LOAD,
      paths: {},
      expert: {},
      effect: {},
      cost: {},
      status: "",
      error: "",
      twin: {},
    },
    ...windowOf(0, TEXTS.length),
    tokens: { start: 0, texts: TEXTS, special: [0], breaks: [] },
    view: { layer: 3, pane: "tokens", expert: null, token: null, domain: "", shade: "margin", changed: 1 },
    ...changes,
  });
  const el = document.createElement("div");
  document.body.append(el);
  const close = widget.render({ model: model as unknown as RoutingModel, el });
  opened.push(close);
  const drawn = async () => {
    await new Promise((resolve) => setTimeout(resolve, 0));
    await new Promise((resolve) => requestAnimationFrame(resolve));
    await new Promise((resolve) => requestAnimationFrame(resolve));
  };
  const rest = (milliseconds = 200) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  await drawn();
  const find = <T extends HTMLElement = HTMLElement>(selector: string) => el.querySelector<T>(selector) as T;
  const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
  const press = (target: HTMLElement, key: string) => {
    target.focus();
    target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  };
  return { model, el, close, find, all, press, drawn, rest };
}
