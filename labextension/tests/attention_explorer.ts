/** The attention explorer over a kernel that is none: a small trace whose weights are known, and what was sent. */

import widget, { type AttentionModel } from "../widgets/attention";
import type { AttentionHead, AttentionView } from "../widgets/shapes";
import type { AttentionExplorerTraits } from "../widgets/traits";
import { FakeModel } from "./fake_model";

export const HOSTILE = "<img src=x onerror=alert(1)>";
export const TEXTS = ["<|begin_of_text|>", "Once", " upon", HOSTILE, " time"];

/** What token `row` reads of token `col`: itself by half, the first by the rest. */
export function weightOf(row: number, col: number): number {
  if (row === 0) return col === 0 ? 1 : 0;
  return col === row || col === 0 ? 0.5 : 0;
}

export function bytes(values: number[]): DataView {
  return new DataView(Uint8Array.from(values).buffer);
}

const n = TEXTS.length;
const map = TEXTS.flatMap((_, row) => TEXTS.map((_, col) => Math.round(255 * Math.sqrt(weightOf(row, col)))));

export const HEAD: AttentionHead = {
  id: "t1",
  model: "cria",
  title: "text",
  alive: true,
  layers: [0, 1, 3],
  kinds: ["full", "sliding", "full"],
  heads: 4,
  kv_heads: 2,
  tokens: n,
  prompt: 3,
  scores: [
    {
      name: "induction",
      label: "induction",
      meaning: "Olsson et al. 2022",
      values: [
        [0.1, 0.2, 0.3, 0.4],
        [0.9, 0.5, null, 0.05],
        [0, 0, 0, 0.6],
      ],
    },
  ],
  scored: "done",
  growing: false,
  others: [{ id: "t2", title: HOSTILE, layers: [0], heads: 2, tokens: 3 }],
  bytes: "1.2 kB",
  legend: "a byte is the root",
};

export const VIEW: AttentionView = {
  ...{
    layer: 0,
    head: 1,
    rows: [0, n],
    cols: [0, n],
    query: n - 1,
    other: null,
    mode: "one",
    off: [],
    changed: 1,
  },
};

class Kernel extends FakeModel<AttentionExplorerTraits> {
  /** Send the kernel's newest answer to what was asked last. */
  answerLinks(links: [number, number][], rest = 0, tokens: [number, string, boolean][] = []): void {
    const asked = [...this.sent].reverse().find(({ kind }) => kind === "row" || kind === "column") ?? {};
    const query = asked.query ?? asked.key;
    this.tell(String(asked.kind), {
      number: asked.number,
      layer: 0,
      head: 1,
      query,
      links,
      tokens,
      rest,
      second: false,
    });
  }
}

const opened: (() => void)[] = [];

/** Close what a test opened, so that no timer outlives it. */
export function closeAll(): void {
  for (const close of opened.splice(0)) close();
  document.body.replaceChildren();
}

/** Draw an explorer and wait until its second part has come. */
export async function open(changes: Partial<AttentionExplorerTraits> = {}) {
  const model = new Kernel({
    head: HEAD,
    tokens: { start: 0, texts: TEXTS, special: [0] },
    view: VIEW,
    thumbs: bytes(Array(4 * n * n).fill(9)),
    thumbs_info: { layer: 0, side: n, heads: 4 },
    tile: bytes(map),
    tile_info: {
      ...{ number: 1, layer: 0, head: 1, rows: [0, n], cols: [0, n], height: n, width: n, band: [0, n] },
      ...{ peak: 1, pool: "max", done: 1, signed: false },
    },
    tile2: bytes([]),
    tile2_info: {},
    effect: {},
    status: "",
    error: "",
    twin: {},
    ...changes,
  });
  const el = document.createElement("div");
  document.body.append(el);
  const close = widget.render({ model: model as unknown as AttentionModel, el });
  opened.push(close);
  await import("../widgets/attention_more"); // which takes a while the first time
  model.tell("code", { text: "the part" });
  const drawn = async () => {
    await new Promise((resolve) => setTimeout(resolve, 0));
    await new Promise((resolve) => requestAnimationFrame(resolve));
    await new Promise((resolve) => requestAnimationFrame(resolve));
  };
  const rest = (milliseconds = 250) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  await drawn();
  await drawn();
  const find = <T extends HTMLElement = HTMLElement>(selector: string) => el.querySelector<T>(selector) as T;
  const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
  const button = (text: string) => all("button").find((one) => one.textContent === text) as HTMLButtonElement;
  const press = (target: HTMLElement, key: string, options = {}) => {
    target.focus();
    target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...options }));
  };
  return { model, el, close, find, all, button, press, drawn, rest };
}
