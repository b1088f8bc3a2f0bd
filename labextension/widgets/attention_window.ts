/**
 * The part of a map that is looked at, as arithmetic: zoom, pan, and which tile of the map shows it.
 *
 * Positions are tokens, as fractions where a gesture ends between two. Knows no canvas and no kernel.
 */

export type Span = [number, number];

/** A square of the map: `span` tokens from `row` downwards and from `col` to the right. */
export interface Place {
  row: number;
  col: number;
  span: number;
}

/** The pixels of a tile along one side. */
export const TILE = 512;
/** So few tokens fill the map when it is zoomed in completely. */
export const CLOSEST = 6;

export function whole(tokens: number): Place {
  return { row: 0, col: 0, span: Math.max(1, tokens) };
}

export function isWhole(place: Place, tokens: number): boolean {
  return place.span >= tokens;
}

const between = (value: number, low: number, high: number) => Math.max(low, Math.min(value, high));

/** The same place, moved and shrunk so that it lies in a text of `tokens`. */
export function inside(place: Place, tokens: number): Place {
  const span = between(place.span, Math.min(CLOSEST, tokens), Math.max(1, tokens));
  return { span, row: between(place.row, 0, tokens - span), col: between(place.col, 0, tokens - span) };
}

/** Zoom by `factor` (above 1: closer) so that the point at (`row`, `col`) stays where it is. */
export function zoomed(place: Place, factor: number, row: number, col: number, tokens: number): Place {
  const span = between(place.span / factor, Math.min(CLOSEST, tokens), tokens);
  const scale = span / place.span;
  return inside({ span, row: row - (row - place.row) * scale, col: col - (col - place.col) * scale }, tokens);
}

export function moved(place: Place, rows: number, cols: number, tokens: number): Place {
  return inside({ ...place, row: place.row + rows, col: place.col + cols }, tokens);
}

/** The least move that brings a cell into the place. */
export function showing(place: Place, row: number, col: number, tokens: number): Place {
  const into = (from: number, at: number) => between(from, at + 1 - place.span, at);
  return inside({ ...place, row: into(place.row, row), col: into(place.col, col) }, tokens);
}

/** The place of a window that the kernel names. */
export function placeOf(rows: Span, cols: Span, tokens: number): Place {
  const span = Math.max(rows[1] - rows[0], cols[1] - cols[0]);
  return inside({ row: rows[0], col: cols[0], span }, tokens);
}

/**
 * The window whose tile shows a place: a power of two of tokens from a multiple of an eighth of it, so that moving
 * a little asks for nothing and coming back finds what was computed.
 */
export function windowOf(place: Place, tokens: number): { rows: Span; cols: Span } {
  let size = 64;
  while (size * 0.875 < place.span) size *= 2;
  if (size >= tokens || tokens <= TILE) return { rows: [0, tokens], cols: [0, tokens] };
  const step = size / 8;
  const from = (start: number): Span => {
    const first = Math.floor(start / step) * step;
    return [first, Math.min(tokens, first + size)];
  };
  return { rows: from(place.row), cols: from(place.col) };
}

/** The pixel of a tile that holds a token: `count` tokens from `first` stand on `pixels` pixels. */
export function pixelOf(token: number, [first, end]: Span, pixels: number): number {
  return Math.floor(((token - first) * pixels) / Math.max(1, end - first));
}

/** Positions to mark on an axis: about `most` round ones. */
export function ticks(from: number, span: number, most: number): number[] {
  const rough = Math.max(1, span / Math.max(1, most));
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough) ?? rough;
  const found: number[] = [];
  for (let at = Math.ceil(from / step) * step; at < from + span; at += step) found.push(at);
  return found;
}
