/**
 * What stands around and over a map: names or numbers of tokens, the row that is read, cross-hair, prompt's end.
 *
 * Drawn as SVG so that themes reach it; texts of tokens are untrusted and only ever become text.
 */

import type { TokenTexts } from "./attention_asked";
import { type Place, ticks } from "./attention_window";
import { svg } from "./svg";
import { visible } from "./token_strip";

/** Where the square of cells lies in its box, in pixels. */
export interface Plot {
  left: number;
  top: number;
  side: number;
  cell: number;
  /** Whether every token has room for its text. */
  worded: boolean;
}

/** So many pixels a token needs to be named beside the map. */
const WORD = 8.2;
const LONGEST = 9;

export interface Marks {
  tokens: number;
  /** Where the prompt ends; null when the model wrote nothing. */
  prompt: number | null;
  /** The row (or column) whose links are shown. */
  line: { by: "row" | "column"; at: number } | null;
  cell: { row: number; col: number } | null;
  texts: TokenTexts;
}

/** Fit a square of cells into a box, with room for the axes. */
export function plotOf(width: number, height: number, place: Place): Plot {
  const close = (Math.min(width - 62, height - 50) || 0) / place.span >= WORD;
  const left = close ? 66 : place.row + place.span > 9999 ? 45 : 38;
  const below = close ? 52 : 19;
  const side = Math.max(40, Math.floor(Math.min(width - left - 4, height - below - 6)));
  // What is left over stands on both sides.
  const spare = Math.max(0, Math.floor((width - left - 4 - side) / 2));
  return { left: left + spare, top: 5, side, cell: side / place.span, worded: close };
}

/** Draw all of it anew. */
export function drawAxes(into: SVGSVGElement, plot: Plot, place: Place, marks: Marks): void {
  const { left, top, side, cell } = plot;
  const x = (col: number) => left + (col - place.col) * cell;
  const y = (row: number) => top + (row - place.row) * cell;
  const parts: SVGElement[] = [];
  const frame = { x: left - 0.5, y: top - 0.5, width: side + 1, height: side + 1 };
  parts.push(svg("rect", { class: "llama-nb-att-frame", ...frame }));
  if (marks.prompt !== null) parts.push(...boundary(marks.prompt, plot, place, x, y));
  if (marks.line) parts.push(...line(marks.line, plot, place, x, y));
  if (marks.cell) parts.push(...cross(marks.cell, plot, x, y));
  parts.push(...(plot.worded ? words(marks, plot, place, x, y) : numbers(plot, place, x, y)));
  into.replaceChildren(...parts);
}

type To = (position: number) => number;

function boundary(prompt: number, { left, top, side }: Plot, place: Place, x: To, y: To): SVGElement[] {
  const found: SVGElement[] = [];
  const rule = (ends: Record<string, number>) => svg("line", { class: "llama-nb-att-prompt", ...ends });
  if (prompt > place.row && prompt < place.row + place.span)
    found.push(rule({ x1: left, x2: left + side, y1: y(prompt), y2: y(prompt) }));
  if (prompt > place.col && prompt < place.col + place.span)
    found.push(rule({ x1: x(prompt), x2: x(prompt), y1: top, y2: top + side }));
  return found;
}

function line({ by, at }: NonNullable<Marks["line"]>, plot: Plot, place: Place, x: To, y: To): SVGElement[] {
  const { left, top, side, cell } = plot;
  const from = by === "row" ? place.row : place.col;
  if (at < from || at >= from + place.span) return [];
  const thick = Math.max(3, cell);
  const middle = (by === "row" ? y(at + 0.5) : x(at + 0.5)) - thick / 2;
  const box =
    by === "row"
      ? { x: left - 1, y: middle, width: side + 2, height: thick }
      : { x: middle, y: top - 1, width: thick, height: side + 2 };
  return [svg("rect", { class: "llama-nb-att-line", rx: 1.5, ...box })];
}

function cross({ row, col }: NonNullable<Marks["cell"]>, plot: Plot, x: To, y: To): SVGElement[] {
  const { left, top, side, cell } = plot;
  const rule = (ends: Record<string, number>) => svg("line", { class: "llama-nb-att-cross", ...ends });
  const across = Math.max(top, Math.min(top + side, y(row + 0.5)));
  const down = Math.max(left, Math.min(left + side, x(col + 0.5)));
  const found: SVGElement[] = [
    rule({ x1: left, x2: left + side, y1: across, y2: across }),
    rule({ x1: down, x2: down, y1: top, y2: top + side }),
  ];
  if (cell >= 5) {
    const box = { x: x(col), y: y(row), width: cell, height: cell };
    found.push(svg("rect", { class: "llama-nb-att-cell", ...box }));
  }
  return found;
}

function words(marks: Marks, plot: Plot, place: Place, x: To, y: To): SVGElement[] {
  const { left, top, side } = plot;
  const found: SVGElement[] = [];
  const shown = (position: number) => {
    const text = visible(marks.texts.text(position) ?? "");
    return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
  };
  const looks = (position: number, on: boolean) =>
    `llama-nb-att-word${marks.texts.special(position) ? " llama-nb-att-special" : ""}${on ? " llama-nb-att-on" : ""}`;
  const last = (from: number) => Math.min(marks.tokens, Math.ceil(from + place.span));
  for (let row = Math.floor(place.row); row < last(place.row); row++) {
    const at = y(row + 0.5);
    if (at < top || at > top + side) continue;
    const on = marks.cell?.row === row || (marks.line?.by === "row" && marks.line.at === row);
    found.push(
      svg("text", { class: looks(row, on), x: left - 5, y: at + 3, "text-anchor": "end" }, shown(row)),
    );
  }
  for (let col = Math.floor(place.col); col < last(place.col); col++) {
    const at = x(col + 0.5);
    if (at < left || at > left + side) continue;
    const on = marks.cell?.col === col || (marks.line?.by === "column" && marks.line.at === col);
    const turn = `translate(${at + 3} ${top + side + 6}) rotate(-62)`;
    found.push(svg("text", { class: looks(col, on), transform: turn, "text-anchor": "end" }, shown(col)));
  }
  return found;
}

function numbers(plot: Plot, place: Place, x: To, y: To): SVGElement[] {
  const { left, top, side } = plot;
  const found: SVGElement[] = [];
  const said = (position: number) => position.toLocaleString("en");
  // Where a token is wide enough to have a middle, its number stands there.
  const centre = plot.cell > 3 ? 0.5 : 0;
  for (const row of ticks(place.row, place.span, side / 42)) {
    const at = y(row + centre);
    found.push(svg("line", { class: "llama-nb-att-tick", x1: left - 4, x2: left - 1, y1: at, y2: at }));
    const label = { class: "llama-nb-att-number", x: left - 6, y: at + 3.5, "text-anchor": "end" };
    found.push(svg("text", label, said(row)));
  }
  for (const col of ticks(place.col, place.span, side / 60)) {
    const at = x(col + centre);
    found.push(
      svg("line", { class: "llama-nb-att-tick", x1: at, x2: at, y1: top + side + 1, y2: top + side + 4 }),
    );
    const label = { class: "llama-nb-att-number", x: at, y: top + side + 15, "text-anchor": "middle" };
    found.push(svg("text", label, said(col)));
  }
  return found;
}
