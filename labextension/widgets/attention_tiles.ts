/**
 * The maps that have arrived, as pictures that can be drawn at any zoom: bytes in, coloured pixels out.
 *
 * A map that takes long comes in bands. Cells where no token may read (it comes later) stay transparent.
 */

import type { Place, Span } from "./attention_window";
import { pixelOf } from "./attention_window";
import { CIVIDIS, colourInto, DIVERGING } from "./colour_maps";
import type { AttentionTile } from "./shapes";

/** How many maps are kept, the overview of the shown head among them. */
const KEPT = 12;

export interface Tile {
  key: string;
  layer: number;
  head: number;
  rows: Span;
  cols: Span;
  height: number;
  width: number;
  values: Uint8Array;
  /** How many pixel rows have arrived; `done` is the share that is exact. */
  filled: number;
  done: number;
  peak: number;
  signed: boolean;
  /** Whether it is coloured so that faint weights are seen. */
  faint: boolean;
  number: number;
  picture: HTMLCanvasElement;
}

/** What of a map lies where: `height` x `width` pixels for these rows and columns. */
export type Frame = Pick<Tile, "rows" | "cols" | "height" | "width" | "signed" | "faint">;

/** Bytes are roots of weights; the roots of those lift a weight of 0.001 from 3 % of the colours to 18 %. */
const FAINT = Uint8Array.from({ length: 256 }, (_, byte) => Math.round(Math.sqrt(255 * byte)));
const FAINT_SIGNED = Uint8Array.from({ length: 256 }, (_, byte) => {
  const from = byte - 128;
  return 128 + Math.sign(from) * Math.min(127, Math.round(Math.sqrt(127 * Math.abs(from))));
});

/** Colour the pixel rows of `band` into an image of that height; nothing where every key comes after the queries. */
export function paint(values: Uint8Array, frame: Frame, image: ImageData, band: Span): void {
  const { rows, cols, height, width, signed, faint } = frame;
  const lift = signed ? FAINT_SIGNED : FAINT;
  const plain = values.subarray(band[0] * width, band[1] * width);
  colourInto(faint ? plain.map((byte) => lift[byte] ?? 0) : plain, signed ? DIVERGING : CIVIDIS, image);
  const perRow = (rows[1] - rows[0]) / height;
  const perCol = (cols[1] - cols[0]) / width;
  for (let y = band[0]; y < band[1]; y++) {
    const lastQuery = Math.ceil(rows[0] + (y + 1) * perRow) - 1;
    for (let x = width - 1; x >= 0 && Math.floor(cols[0] + x * perCol) > lastQuery; x--)
      image.data[4 * ((y - band[0]) * width + x) + 3] = 0;
  }
}

/** A picture of bytes. */
export function picture(values: Uint8Array, frame: Frame): HTMLCanvasElement {
  const made = canvas(frame.width, frame.height);
  draw(made, values, frame, [0, frame.height]);
  return made;
}

function draw(into: HTMLCanvasElement, values: Uint8Array, frame: Frame, band: Span): void {
  const context = into.getContext("2d");
  if (!context || band[1] <= band[0]) return;
  const image = context.createImageData(frame.width, band[1] - band[0]);
  paint(values, frame, image, band);
  context.putImageData(image, 0, band[0]);
}

function keyOf(layer: number, head: number, rows: Span, cols: Span): string {
  return [layer, head, ...rows, ...cols].join();
}

export interface Tiles {
  /** Take what arrived; false when a band before it was missed. */
  take(info: AttentionTile, bytes: DataView): boolean;
  has(layer: number, head: number, rows: Span, cols: Span): boolean;
  /** The maps of a head that touch a place, the coarsest first. */
  under(layer: number, head: number, place: Place): Tile[];
  /** The weight at a cell as its byte says, from the finest map that has it; null where none has. */
  near(layer: number, head: number, row: number, col: number): number | null;
  forget(): void;
  /** Colour all so that faint weights are seen, or as they are. */
  colour(faint: boolean): void;
}

export function tiles(signed = false): Tiles {
  let kept: Tile[] = [];
  let faint = false;
  const covers = (tile: Tile, row: number, col: number) =>
    row >= tile.rows[0] && row < tile.rows[1] && col >= tile.cols[0] && col < tile.cols[1];
  const size = (tile: Tile) => tile.rows[1] - tile.rows[0];

  return {
    take(info, bytes) {
      const made = fill(
        kept.find((tile) => tile.number === info.number),
        info,
        bytes,
        faint,
      );
      if (!made || made === "missed") return made === null;
      kept = kept.filter((tile) => tile.key !== made.key && tile.number !== made.number);
      kept.push(made);
      if (kept.length > KEPT) {
        const last = kept[kept.length - 1] as Tile;
        const spare = kept.findIndex((tile) => tile.head !== last.head || tile.layer !== last.layer);
        kept.splice(Math.max(0, spare), 1);
      }
      return true;
    },
    has: (layer, head, rows, cols) => {
      const tile = kept.find((one) => one.key === keyOf(layer, head, rows, cols));
      return tile !== undefined && tile.done >= 1;
    },
    under: (layer, head, place) =>
      kept
        .filter(
          (tile) =>
            tile.layer === layer &&
            tile.head === head &&
            tile.signed === signed &&
            tile.rows[0] < place.row + place.span &&
            tile.rows[1] > place.row &&
            tile.cols[0] < place.col + place.span &&
            tile.cols[1] > place.col,
        )
        .sort((a, b) => size(b) - size(a)),
    near(layer, head, row, col) {
      const holding = kept.filter(
        (tile) => tile.layer === layer && tile.head === head && covers(tile, row, col),
      );
      const tile = holding.sort((a, b) => size(a) - size(b))[0];
      if (!tile) return null;
      const y = pixelOf(row, tile.rows, tile.height);
      const value = tile.values[y * tile.width + pixelOf(col, tile.cols, tile.width)] ?? 0;
      const share = tile.signed ? (value - 128) / 127 : value / 255;
      return Math.sign(share) * share * share;
    },
    forget: () => {
      kept = [];
    },
    colour(now) {
      if (now === faint) return;
      faint = now;
      for (const tile of kept) {
        tile.faint = faint;
        draw(tile.picture, tile.values, tile, [0, tile.filled]);
      }
    },
  };
}

/** The tile with a band more; null when the message is no map, "missed" when an earlier band is not there. */
function fill(
  known: Tile | undefined,
  info: AttentionTile,
  bytes: DataView,
  faint: boolean,
): Tile | null | "missed" {
  const { rows, cols, height = 0, width = 0 } = info;
  const band = info.band ?? [0, height];
  if (!rows || !cols || bytes.byteLength === 0 || bytes.byteLength !== (band[1] - band[0]) * width)
    return null;
  const same = known && known.height === height && known.width === width ? known : undefined;
  if (band[0] > (same?.filled ?? 0)) return "missed";
  const tile = same ?? begun(info, rows, cols, faint);
  // A map that grows from bands is drawn over its coarse forerunner until it is whole.
  if (!same && known && band[1] < height)
    tile.picture.getContext("2d")?.drawImage(known.picture, 0, 0, width, height);
  tile.values.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), band[0] * width);
  Object.assign(tile, { filled: Math.max(tile.filled, band[1]), done: info.done ?? 1, peak: info.peak ?? 0 });
  draw(tile.picture, tile.values, tile, band);
  return tile;
}

function begun(info: AttentionTile, rows: Span, cols: Span, faint: boolean): Tile {
  const { number = -1, layer = -1, head = -1, height = 0, width = 0, signed = false } = info;
  return {
    ...{ key: keyOf(layer, head, rows, cols), layer, head, rows, cols, height, width, number, signed, faint },
    ...{ values: new Uint8Array(height * width), filled: 0, done: 0, peak: 0 },
    picture: canvas(width, height),
  };
}

function canvas(width: number, height: number): HTMLCanvasElement {
  return Object.assign(document.createElement("canvas"), { width, height });
}
