/** The loader panel over a kernel that is none: a model that remembers what was sent, entries, a plan. */

import widget, { type LoaderModel } from "../widgets/loader";
import type { LoaderEntry, LoaderPlan, LoaderStop } from "../widgets/shapes";
import type { LoaderPanelTraits } from "../widgets/traits";
import { FakeModel } from "./fake_model";

export const HOSTILE = "<img src=x onerror=alert(1)>";
export const MB = 1e6;

export function entry(source: string, changes: Partial<LoaderEntry> = {}): LoaderEntry {
  const known = { family: "Llama 3.2", size: "1B", kind: "text", date: "2024-09-25", licence: "llama-3.2" };
  const here = { parameters: "1.24 B", gated: true, fits: "fits", quant: "bf16", where: "hub" as const };
  return { source, name: source, ...known, ...here, ...changes };
}

export const ENTRIES = [
  entry("cria", {
    where: "bundled",
    family: "",
    size: "",
    parameters: "2.76 M",
    gated: false,
    quant: "float32",
  }),
  entry("meta-llama/Llama-3.2-1B", { name: "llama-3.2-1b" }),
  entry("meta-llama/Llama-3.3-70B", { name: "llama-3.3-70b", fits: "does not fit", quant: "", size: "70B" }),
  entry("meta-llama/Scout", { name: "llama-4-scout", fits: "unknown", quant: "", kind: "mixture" }),
];

export function stops(weights: number): LoaderStop[] {
  return [512, 1024, 2048].map((context) => {
    const bytes = [weights, context * 1e4, 5 * MB];
    const total = bytes.reduce((sum, part) => sum + part, 0);
    const verdict = total > 100 * MB ? "does not fit" : "fits";
    return { context, bytes, total, verdict, sentence: verdict === "fits" ? "" : "12 MB more than is free" };
  });
}

export function plan(changes: Partial<LoaderPlan> = {}): LoaderPlan {
  return {
    source: "cria",
    name: "cria",
    argument: "cria",
    facts: ["2.76 M parameters"],
    refused: "",
    notes: [],
    devices: [],
    device: "auto",
    memory: 100 * MB,
    parts: [
      { key: "weights", label: "weights" },
      { key: "kv_cache", label: "KV cache" },
      { key: "overhead", label: "other" },
    ],
    quants: [
      { quant: "none", label: "bf16", title: "bfloat16", bits: 16, refused: "", stops: stops(80 * MB) },
      { quant: "nf4", label: "nf4", title: "nf4", bits: 4, refused: "", stops: stops(20 * MB) },
      {
        quant: "int4-torchao",
        label: "int4-torchao",
        title: "",
        bits: 4,
        refused: "needs a GPU",
        stops: stops(19 * MB),
      },
    ],
    ...changes,
  };
}

export function open(changes: Partial<LoaderPanelTraits> = {}) {
  const model = new FakeModel({
    catalogue: { entries: ENTRIES, machine: "CPU: 100 MB free", offline: "" },
    choice: { source: "cria", quant: "none", device: "auto", context: 1024 },
    plan: plan(),
    models: { models: [], freed: "" },
    job: {},
    error: "",
    twin: {},
    ...changes,
  });
  const el = document.createElement("div");
  document.body.append(el);
  const close = widget.render({ model: model as unknown as LoaderModel, el });
  const find = <T extends HTMLElement = HTMLElement>(selector: string) => el.querySelector<T>(selector) as T;
  const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
  const search = find<HTMLInputElement>("[role=combobox]");
  const press = (key: string, options = {}) =>
    search.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true, ...options }));
  const type = (text: string) => {
    search.value = text;
    search.dispatchEvent(new Event("input"));
  };
  const options = () =>
    all("[role=option]").map((option) => option.querySelector(".llama-nb-load-name")?.textContent);
  const loadButton = find<HTMLButtonElement>(".llama-nb-primary");
  return { model, el, close, find, all, search, press, type, options, loadButton };
}
