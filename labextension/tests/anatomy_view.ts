/** The anatomy over a kernel that is none: a model of two kinds of layers, with and without a text that was read. */

import { expect, vi } from "vitest";
import widget, { type AnatomyModel } from "../widgets/anatomy";
import type { AnatomyBlock, AnatomyBody, AnatomyDetail, AnatomyMeasured } from "../widgets/shapes";
import type { AnatomyViewTraits } from "../widgets/traits";
import { FakeModel } from "./fake_model";

export const HOSTILE = "<img src=x onerror=alert(1)>";

function block(name: string, kind: AnatomyBlock["kind"], changes: Partial<AnatomyBlock> = {}): AnatomyBlock {
  return {
    id: changes.group == null ? name : `${changes.group}/${name}`,
    name,
    group: null,
    kind,
    title: name,
    summary: "",
    about: `About ${name}.`,
    formula: [["y = W_q x_{i+2}", "T × 8"]],
    adds: false,
    parameters: 100,
    bytes: 400,
    tied: false,
    tensors: [["weight", "10 × 10", 100, 400, "float32", false]],
    ...changes,
  };
}

export const BODY: AnatomyBody = {
  model: HOSTILE,
  architecture: "LlamaForCausalLM",
  dtype: "float32",
  quant: "",
  parameters: 2000,
  bytes: 8000,
  context: 1000,
  hidden: 8,
  vocabulary: 10,
  depth: 4,
  tied: true,
  alive: true,
  example: "Once upon a time",
  parts: [
    ["embedding", 100, 400],
    ["attention", 1900, 7600],
    ["RoPE", 0, 16],
  ],
  groups: [
    { layers: [0, 2], text: "0, 2" },
    { layers: [1, 3], text: "1, 3" },
  ],
  blocks: [
    block("model.embed_tokens", "embedding"),
    block("model.rotary_emb", "rope"),
    block("input_layernorm", "norm", { group: 0 }),
    block("self_attn", "attention", { group: 0, adds: true, summary: "6 heads, 2 kv × 32" }),
    block("mlp", "feed-forward", { group: 0, adds: true }),
    block("self_attn", "attention", { group: 1, adds: true }),
    block("mlp", "experts", { group: 1, adds: true }),
    block("model.norm", "norm"),
    block("lm_head", "head", { tied: true, parameters: 0, bytes: 0 }),
  ],
  heads: [
    { heads: 6, kv_heads: 2, head_dim: 32, reach: "full", window: null, rope: true },
    { heads: 6, kv_heads: 2, head_dim: 32, reach: "full", window: null, rope: false },
  ],
  cache: { token: 1000, ungrouped: 3000 },
  rope: {
    frequencies: [1, 0.1, 0.01, 0.000125],
    unscaled: [1, 0.1, 0.01, 0.001],
    base: 10_000,
    kind: "llama3",
    scaling: { factor: 8, original_max_position_embeddings: 125 },
    adjacent: false,
  },
};

const row = (rms: number) => [0.5, 1, rms, -0.25, 0, 0.446];
export const MEASURED: AnatomyMeasured = {
  title: "text",
  tokens: 3,
  off: "",
  positions: [
    [0, "<|begin|>", true],
    [1, HOSTILE, false],
    [2, " end", false],
  ],
  sites: [
    { place: "input_layernorm:in", symbol: "x", rows: [row(9), row(9), row(9), row(9)] },
    { place: "mlp.gate_proj", symbol: "g", rows: [row(1.23456), null, row(3), null] },
    { place: "mlp", symbol: "W_down h", rows: [row(5), row(6), row(7), [null, null, null, null, 0, 0]] },
  ],
  whole: [{ place: "logits", symbol: "logits", rows: [row(4)] }],
  residual: { first: [1, 100, 200, 300, 400], others: [1, 10, 20, 30, 40] },
};

export const DETAIL: AnatomyDetail = {
  layer: 0,
  norm: "input_layernorm",
  token: 2,
  rms: 2.5,
  channels: [0, 1, 2],
  before: [1, -5, null],
  weight: [0.5, 0.5, 0.5],
  behind: [0.2, -1, 0],
  largest: [[1, -5, 0.5, -1]],
  gates: { low: -6, high: 6, counts: [0, 30, 50, 10], below: 4, above: 6 },
};

export function open(changes: Partial<AnatomyViewTraits> = {}) {
  const model = new FakeModel<AnatomyViewTraits>({
    body: BODY,
    measured: {},
    detail: {},
    look: { block: "", tab: "block", layer: 0, token: 0 },
    status: "",
    error: "",
    twin: {},
    ...changes,
  });
  const el = document.createElement("div");
  document.body.append(el);
  const close = widget.render({ model: model as unknown as AnatomyModel, el });
  const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
  const find = <T extends HTMLElement = HTMLElement>(selector: string) => el.querySelector<T>(selector) as T;
  const press = (target: HTMLElement, key: string) => {
    target.focus();
    target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  };
  const choose = (id: string) => find(`[data-block="${id}"]`).click();
  const tab = (name: string) => find(`[data-tab="${name}"]`).click();
  /** The kernel sends the code that was asked for. */
  const code = async () => {
    model.tell("code", { text: "" });
    await vi.waitFor(() => expect(find("[role=tabpanel]").textContent).not.toBe("…"));
  };
  const slide = (name: string, value: number) => {
    const input = find<HTMLInputElement>(`input[aria-label="${name}"]`);
    input.value = String(value);
    input.dispatchEvent(new Event("input", { bubbles: true }));
  };
  return { model, el, close, all, find, press, choose, tab, code, slide };
}
