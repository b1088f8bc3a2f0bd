/** Grouped queries: which query heads share which keys and values, and what that saves in the KV cache. */

import { figure, sizes } from "./anatomy_figures";
import type { Memory, Panel } from "./anatomy_pane";
import { element } from "./element";
import type { AnatomyHeads } from "./shapes";

const STOPS = 40;

export const headsPanel: Panel = ({ model, signal, memory: kept }, block) => {
  const { heads: all = [], cache = { token: 0, ungrouped: 0 }, context = 1 } = model.get("body");
  const heads = all[block?.group ?? 0];
  if (!heads) return [];
  const said = element("p", "llama-nb-an-said");
  said.setAttribute("role", "status");
  const rows = groups(heads, said, kept, signal);
  return [sentence(heads), rows, said, costs(cache, context, kept, signal)];
};

function sentence({ heads, kv_heads, head_dim }: AnatomyHeads): HTMLElement {
  const each = heads / kv_heads;
  const shared =
    each > 1
      ? `${heads} query heads of ${head_dim} share ${kv_heads} pairs of keys and values: ${each} each.`
      : `Each of ${heads} heads of ${head_dim} has keys and values of its own (multi-head attention).`;
  const why = each > 1 ? " Only keys and values are kept in the cache." : "";
  return element("p", "", shared + why);
}

/** One column a key/value head, its query heads above it. */
function groups(
  { heads, kv_heads }: AnatomyHeads,
  said: HTMLElement,
  kept: Memory,
  signal: AbortSignal,
): HTMLElement {
  const root = element("div", "llama-nb-an-heads");
  root.setAttribute("role", "listbox");
  root.setAttribute("aria-label", "Query heads by the key and value head that they share");
  const each = Math.max(1, Math.floor(heads / kv_heads));
  const options: HTMLElement[] = [];
  for (let kv = 0; kv < kv_heads; kv += 1) {
    const column = element("div", "llama-nb-an-kv");
    const queries = element("div", "llama-nb-an-queries");
    for (let head = kv * each; head < (kv + 1) * each; head += 1) {
      const option = element("span", "llama-nb-an-query", String(head));
      option.setAttribute("role", "option");
      option.setAttribute("aria-label", `query head ${head}: key and value head ${kv}`);
      option.dataset.key = `head ${head}`;
      queries.append(option);
      options.push(option);
    }
    column.append(queries, element("span", "llama-nb-an-kv-head", `k v ${kv}`));
    root.append(column);
  }
  const pick = (head: number, focus: boolean) => {
    kept.head = Math.max(0, Math.min(head, heads - 1));
    options.forEach((option, index) => {
      option.setAttribute("aria-selected", String(index === kept.head));
      option.tabIndex = index === kept.head ? 0 : -1;
      const column = option.closest<HTMLElement>(".llama-nb-an-kv");
      if (column && index % each === 0)
        column.dataset.chosen = String(Math.floor(kept.head / each) === Math.floor(index / each));
    });
    if (focus) options[kept.head]?.focus();
    said.textContent = `Query head ${kept.head} reads the keys and values of head ${Math.floor(kept.head / each)}.`;
  };
  const steps: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: each, ArrowUp: -each };
  root.addEventListener(
    "keydown",
    (event) => {
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      pick(kept.head + step, true);
    },
    { signal },
  );
  root.addEventListener(
    "click",
    (event) => {
      const index = options.indexOf(event.target as HTMLElement);
      if (index >= 0) pick(index, true);
    },
    { signal },
  );
  pick(kept.head, false);
  return root;
}

/** Bytes of the cache after so many tokens, beside what they would be without sharing. */
function costs(
  cache: { token: number; ungrouped: number },
  context: number,
  kept: Memory,
  signal: AbortSignal,
): HTMLElement {
  const root = element("div", "llama-nb-an-costs");
  const label = element("label", "llama-nb-an-slider");
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = "0";
  slider.max = String(STOPS);
  slider.dataset.key = "tokens";
  slider.setAttribute("aria-label", "Tokens in the cache");
  const value = element("output", "");
  label.append(element("span", "", "tokens in the cache"), slider, value);
  const grouped = cost("as it is");
  const apart = cost("without sharing");
  const saved = element("p", "llama-nb-muted");
  root.append(label, grouped.root, apart.root, saved);
  const draw = () => {
    const tokens = kept.tokens;
    value.textContent = tokens.toLocaleString("en");
    slider.setAttribute("aria-valuetext", `${tokens.toLocaleString("en")} tokens`);
    grouped.show(cache.token * tokens, cache.ungrouped * tokens);
    apart.show(cache.ungrouped * tokens, cache.ungrouped * tokens);
    const times = cache.token ? cache.ungrouped / cache.token : 1;
    saved.textContent = `${sizes(cache.token)} a token in all layers${times > 1 ? `, in place of ${sizes(cache.ungrouped)}: ${figure(times)} times less` : ""}.`;
  };
  slider.addEventListener(
    "input",
    () => {
      kept.tokens = Math.round(context ** (Number(slider.value) / STOPS));
      draw();
    },
    { signal },
  );
  kept.tokens = Math.min(kept.tokens || context, context);
  slider.value = String(Math.round((STOPS * Math.log(kept.tokens)) / Math.log(Math.max(2, context))));
  draw();
  return root;
}

function cost(name: string) {
  const root = element("div", "llama-nb-an-cost");
  const bar = element("span", "llama-nb-an-cost-bar");
  const fill = element("span", "");
  const value = element("span", "llama-nb-number");
  bar.append(fill);
  root.append(element("span", "", name), bar, value);
  const show = (bytes: number, most: number) => {
    fill.style.width = `${most ? (100 * bytes) / most : 0}%`;
    value.textContent = sizes(bytes);
  };
  return { root, show };
}
