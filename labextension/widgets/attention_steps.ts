/**
 * What the reader of an attention explorer does: to another head, token, window. The look changes at once, and the
 * kernel is told when the choice rests.
 */

import type { Ask } from "./attention_asked";
import type { Look } from "./attention_look";
import { windowOf } from "./attention_window";
import type { Later } from "./timers";

/** A choice that rests so long is meant: arrows through heads ask for the last one only. */
const MEANT_MS = 90;
/** A gesture has a place a frame: the map of the place where it rests is asked for. */
const STILL_MS = 50;

export interface Steps {
  go(layer: number, head: number): void;
  /** To the layer that many further on. */
  step(by: number): void;
  /** Tell the kernel of another head now: before any question about it. */
  settle(): void;
  /** Keep the links of a token. */
  pin(token: number): void;
  /** Show those of the token that is pointed at, or of the kept one again. */
  point(token: number | null): void;
  /** Point at the cell of a link of the kept token. */
  pointLink(token: number | null): void;
  /** Point at a cell of the map, the second one's perhaps. */
  pointCell(cell: { row: number; col: number } | null, second: boolean): void;
  /** From what a token reads to who reads it, and back. */
  turn(by: Look["by"]): void;
  move(place: Look["place"]): void;
}

export function steps(look: Look, ask: Ask, later: Later, draw: () => void): Steps {
  let leaving = false;
  /** The window that was asked for last. */
  let wanted = "";
  const change = (changes: Partial<Look>) => {
    Object.assign(look, changes);
    draw();
  };
  const settle = () => {
    if (leaving) ask({ kind: "look", layer: look.layer, head: look.number });
    leaving = false;
  };
  const sharpen = () => {
    const window = windowOf(look.place, look.tokens);
    const { rows, cols } = look.view;
    wanted ||= JSON.stringify({ rows, cols });
    const now = JSON.stringify(window);
    if (now !== wanted && look.tokens) ask({ kind: "zoom", ...window });
    wanted = now;
  };
  const go = (layer: number, number: number) => {
    if (layer === look.layer && number === look.number) return;
    look.asked.forget();
    leaving = true;
    later("look", MEANT_MS, settle);
    change({ layer, number });
  };
  return {
    go,
    settle,
    step(by) {
      const layers = look.head.layers ?? [];
      const next = layers[layers.indexOf(look.layer) + by];
      if (next !== undefined) go(next, look.number);
    },
    pin(token) {
      if (token !== look.pinned) later("query", MEANT_MS, () => ask({ kind: "query", query: look.pinned }));
      change({ pinned: token, hovered: null });
    },
    point(token) {
      if (look.hovered !== token || look.cell !== null) change({ hovered: token, cell: null });
    },
    pointLink(token) {
      const [row, col] = look.by === "row" ? [look.pinned, token] : [token, look.pinned];
      change({ hovered: null, cell: row === null || col === null ? null : { row, col, second: false } });
    },
    pointCell(cell, second) {
      const hovered = cell && !second ? (look.by === "row" ? cell.row : cell.col) : null;
      change({ cell: cell && { ...cell, second }, hovered });
    },
    turn: (by) => change({ by, hovered: null }),
    move(place) {
      later("zoom", STILL_MS, sharpen);
      change({ place });
    },
  };
}
