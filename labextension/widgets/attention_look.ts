/** What this page looks at: the kernel's view of a trace, and what only this page knows (pointer, zoom, direction). */

import type { Links, Questions, TokenTexts } from "./attention_asked";
import type { Place } from "./attention_window";
import { element } from "./element";
import type { AttentionHead, AttentionView } from "./shapes";
import { visible, write } from "./token_strip";

export interface Look {
  head: AttentionHead;
  view: AttentionView;
  layer: number;
  number: number;
  tokens: number;
  place: Place;
  /** "row": what the token reads. "column": who reads it. */
  by: "row" | "column";
  /** Whether the map is coloured so that faint weights are seen. */
  faint: boolean;
  /** The token whose links are kept, and the one that is pointed at now. */
  pinned: number;
  hovered: number | null;
  /** The cell of the map that is pointed at; `second` when it is on the second map. */
  cell: { row: number; col: number; second: boolean } | null;
  texts: TokenTexts;
  /** Texts of the other trace's tokens, which may be the same ones, and how many there are. */
  others: TokenTexts;
  otherTokens: number;
  asked: Questions;
}

/** The token whose links are shown. */
export function chosen(look: Look): number {
  return Math.min(look.hovered ?? look.pinned, look.tokens - 1);
}

export function linksOf(look: Look): Links | undefined {
  return look.tokens > 0 ? look.asked.links(look.by, chosen(look)) : undefined;
}

/** A token as it is named in sentences: spaces to be seen, not longer than `most`. */
export function named(texts: TokenTexts, position: number, most = 16): string {
  const text = visible(texts.text(position) ?? "…");
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** The same as an element: spaces faint, a control token as a pill. */
export function tokenText(texts: TokenTexts, position: number, most = 16): HTMLElement {
  const made = element("span", "llama-nb-att-token");
  const text = texts.text(position) ?? "…";
  write(made, text.length > most ? `${text.slice(0, most - 1)}…` : text);
  made.classList.toggle("llama-nb-pill", texts.special(position));
  return made;
}

export function group(head: number, { heads = 1, kv_heads = 1 }: AttentionHead): number {
  return Math.floor((head * kv_heads) / heads);
}

/** A weight in four digits behind the point, as exact as is read off a map. */
export function weight(value: number): string {
  if (value !== 0 && Math.abs(value) < 0.00005) return value > 0 ? "< 0.0001" : "> −0.0001";
  return value.toFixed(4).replace("-", "−");
}

export function name(layer: number, head: number): string {
  return `L${layer} H${head}`;
}
