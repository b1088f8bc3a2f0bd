/** Brings the kernel's view into the page's look, but never back to what the reader has left. */

import type { AttentionModel } from "./attention";
import { type Ask, type TokenTexts, tokenTexts } from "./attention_asked";
import type { Look } from "./attention_look";
import { placeOf, whole } from "./attention_window";
import type { AttentionView } from "./shapes";

export interface Follower {
  head(): void;
  view(): void;
}

/** `forgetSecond` drops the maps of what was compared before. */
export function follower(model: AttentionModel, look: Look, ask: Ask, forgetSecond: () => void): Follower {
  /** What the kernel said last. */
  let said = { layer: -1, number: -1, query: -1, other: "" };
  let beside: { trace: string; texts: TokenTexts } | null = null;

  const tokensOf = (trace: string) => look.head.others?.find((one) => one.id === trace)?.tokens ?? 0;
  const other = () => {
    const trace = look.view.other?.trace ?? "";
    if (!trace || trace === look.head.id) {
      Object.assign(look, { others: look.texts, otherTokens: look.tokens });
      return;
    }
    if (beside?.trace !== trace) {
      const texts = tokenTexts(
        (start, end) => ask({ kind: "tokens", start, end, trace }),
        () => tokensOf(trace),
      );
      beside = { trace, texts };
    }
    Object.assign(look, { others: beside.texts, otherTokens: tokensOf(trace) });
  };
  /** What the kernel changed by itself is taken; the echo of a choice that was left since is not. */
  const adopt = (now: typeof said, first: boolean) => {
    const followed = first || (look.layer === said.layer && look.number === said.number);
    const moved = now.layer !== said.layer || now.number !== said.number;
    const beside = now.other !== said.other;
    if (moved && followed) Object.assign(look, { layer: now.layer, number: now.number });
    if (beside) {
      forgetSecond();
      look.cell = null; // which the other text may not have
    }
    if (beside || (moved && followed)) look.asked.forget();
    if (first || look.pinned === said.query) look.pinned = now.query;
  };
  return {
    head() {
      const now = model.get("head");
      const all = look.place.span >= look.tokens;
      if (now.tokens !== look.tokens) look.asked.forget();
      look.head = now;
      look.tokens = now.tokens ?? 0;
      if (all) look.place = whole(look.tokens);
      other();
    },
    view() {
      const view = model.get("view");
      if (view.layer === undefined) return;
      const first = said.layer < 0;
      look.view = view;
      const now = spoken(view, look.tokens);
      adopt(now, first);
      if (first && view.rows && view.cols) look.place = placeOf(view.rows, view.cols, look.tokens);
      said = now;
      other();
    },
  };
}

function spoken(view: AttentionView, tokens: number) {
  const { layer = 0, head = 0, query, other } = view;
  return {
    layer,
    number: head,
    query: query ?? Math.max(0, tokens - 1),
    other: JSON.stringify(other ?? null),
  };
}
