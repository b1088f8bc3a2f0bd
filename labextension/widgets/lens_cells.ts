/** A window of a lens trace, read from its bytes: what stands in a cell, and in a column. */

import type { LensGround, LensWindow } from "./shapes";
import { visible } from "./token_strip";

export interface LensToken {
  id: number;
  text: string;
  special: boolean;
  probability: number;
}
export interface LensCell {
  /** The likeliest tokens, most likely first. */
  top: LensToken[];
  /** Probability and rank of the last layer's token. */
  final: number;
  finalRank: number;
  /** Those of the token that comes next in the text; NaN and 0 where none does. */
  next: number;
  nextRank: number;
  entropy: number;
  kl: number;
}
export interface LensColumn {
  position: number;
  token: LensName;
  /** What comes next in the text; null behind its last token. */
  ahead: LensName | null;
  /** What the model says: the last layer's likeliest token. */
  final: LensName;
  settled: number;
  cells: LensCell[];
}
export interface LensName {
  text: string;
  special: boolean;
}

const FIGURES = 6; // behind the tokens of a cell, as lens_view.py packs them

export class LensCells {
  readonly start: number;
  readonly end: number;
  private readonly names: Map<number, LensName>;
  private readonly floats: Float32Array;

  constructor(
    private readonly window: LensWindow,
    bytes: DataView,
    private readonly rows: number,
    private readonly top: number,
  ) {
    this.start = window.start ?? 0;
    this.names = new Map((window.names ?? []).map(([id, text, special]) => [id, { text, special }]));
    const end = window.end ?? 0;
    const whole = bytes.byteLength === 4 * rows * (end - this.start) * (2 * top + FIGURES);
    // A window and its bytes come in one message; should they ever not fit, nothing is better than something wrong.
    this.end = whole ? end : this.start;
    this.floats = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  }

  has(column: number): boolean {
    return column >= this.start && column < this.end;
  }

  cell(row: number, column: number): LensCell {
    const width = 2 * this.top + FIGURES;
    const from = (row * (this.end - this.start) + column - this.start) * width;
    const at = (index: number) => this.floats[from + index] ?? Number.NaN;
    const top = Array.from({ length: this.top }, (_, index) => {
      const id = at(index);
      return { id, ...this.name(id), probability: at(this.top + index) };
    });
    const [final, finalRank, next, nextRank, entropy, kl] = Array.from({ length: FIGURES }, (_, index) =>
      at(2 * this.top + index),
    ) as [number, number, number, number, number, number];
    return { top, final, finalRank, next, nextRank, entropy, kl };
  }

  column(column: number): LensColumn {
    const at = column - this.start;
    const ahead = this.window.ahead?.[at] ?? null;
    const cells = Array.from({ length: this.rows }, (_, row) => this.cell(row, column));
    const [text, special] = this.window.tokens?.[at] ?? ["", false];
    const last = cells[cells.length - 1]?.top[0];
    return {
      position: this.window.positions?.[at] ?? 0,
      token: { text, special },
      ahead: ahead === null ? null : this.name(ahead),
      final: last ?? { text: "", special: false },
      settled: this.window.settled?.[at] ?? 0,
      cells,
    };
  }

  private name(id: number): LensName {
    return this.names.get(id) ?? { text: `#${id}`, special: false };
  }
}

/** The value that colours a cell. */
export function ground(cell: LensCell, by: LensGround): number {
  return by === "probability" ? (cell.top[0]?.probability ?? 0) : cell[by];
}

/** A column as tab-separated values, a row a layer. */
export function asData(layers: string[], column: LensColumn): string {
  const names = ["layer", "position", "says", "probability", "final", "final rank", "next", "next rank"];
  const rows = column.cells.map((cell, row) =>
    [
      layers[row],
      column.position,
      JSON.stringify(cell.top[0]?.text ?? ""),
      cell.top[0]?.probability,
      cell.final,
      cell.finalRank,
      column.ahead ? cell.next : "",
      column.ahead ? cell.nextRank : "",
      cell.entropy,
      cell.kl,
    ].join("\t"),
  );
  return [[...names, "entropy", "kl"].join("\t"), ...rows].join("\n");
}

/** A token in quotes of its own look: monospaced, spaces to be seen. */
export function tokenElement(name: LensName, tag = "code"): HTMLElement {
  const made = document.createElement(tag);
  made.className = name.special ? "llama-nb-lens-token llama-nb-pill" : "llama-nb-lens-token";
  made.textContent = visible(name.text);
  return made;
}
