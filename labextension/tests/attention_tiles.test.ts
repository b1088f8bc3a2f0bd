import { describe, expect, it } from "vitest";
import { paint, tiles } from "../widgets/attention_tiles";
import { CIVIDIS, DIVERGING } from "../widgets/colour_maps";
import type { AttentionTile } from "../widgets/shapes";

const image = (height: number, width: number) =>
  ({ data: new Uint8ClampedArray(4 * height * width) }) as unknown as ImageData;
const view = (...bytes: number[]) => new DataView(Uint8Array.from(bytes).buffer);
const info = (changes: Partial<AttentionTile> = {}): AttentionTile => ({
  ...{ number: 1, layer: 0, head: 2, rows: [0, 2], cols: [0, 2], height: 2, width: 2, band: [0, 2] },
  ...{ peak: 1, pool: "max", done: 1, signed: false },
  ...changes,
});

describe("the pixels of a map", () => {
  it("have the colours of their bytes, and none where a token would read a later one", () => {
    const into = image(2, 2);
    const frame = { rows: [0, 2] as [number, number], cols: [0, 2] as [number, number], height: 2, width: 2 };
    paint(Uint8Array.of(255, 0, 16, 128), { ...frame, signed: false, faint: false }, into, [0, 2]);
    const pixel = (at: number) => [...into.data.slice(4 * at, 4 * at + 4)];
    const colour = (byte: number, map = CIVIDIS) => [...map.slice(3 * byte, 3 * byte + 3), 255];
    expect([pixel(0), pixel(2), pixel(3)]).toEqual([colour(255), colour(16), colour(128)]);
    expect(pixel(1)[3]).toBe(0);
    paint(Uint8Array.of(128, 0, 200, 10), { ...frame, signed: true, faint: false }, into, [0, 2]);
    expect([pixel(0), pixel(2)]).toEqual([colour(128, DIVERGING), colour(200, DIVERGING)]);
    paint(Uint8Array.of(255, 0, 16, 0), { ...frame, signed: false, faint: true }, into, [0, 2]);
    expect([pixel(0), pixel(2), pixel(3)]).toEqual([colour(255), colour(64), colour(0)]);
    paint(Uint8Array.of(128, 0, 255, 100), { ...frame, signed: true, faint: true }, into, [0, 2]);
    expect([pixel(0), pixel(2), pixel(3)]).toEqual([
      colour(128, DIVERGING),
      colour(255, DIVERGING),
      colour(68, DIVERGING),
    ]);
  });

  it("of many weights each are empty only where all of those come later", () => {
    const into = image(2, 4);
    // Rows 2 to 6 on two pixels (2, 3 and 4, 5), columns 0 to 8 on four.
    paint(
      new Uint8Array(8).fill(9),
      { rows: [2, 6], cols: [0, 8], height: 2, width: 4, signed: false, faint: false },
      into,
      [0, 2],
    );
    const shown = [...into.data].filter((_, at) => at % 4 === 3).map((alpha) => alpha > 0);
    expect(shown).toEqual([true, true, false, false, true, true, true, false]);
  });
});

describe("the maps that have arrived", () => {
  it("are found by head and place, the coarsest first, and tell a weight's estimate", () => {
    const kept = tiles();
    expect(kept.take(info({ rows: [0, 8], cols: [0, 8] }), view(255, 0, 51, 102))).toBe(true);
    kept.take(info({ number: 2, rows: [4, 8], cols: [0, 4] }), view(51, 51, 51, 102));
    const found = kept.under(0, 2, { row: 3, col: 3, span: 3 });
    expect(found.map(({ number }) => number)).toEqual([1, 2]);
    expect(kept.under(0, 2, { row: 0, col: 6, span: 2 }).length).toBe(1);
    expect(kept.under(0, 1, { row: 0, col: 0, span: 8 }).length).toBe(0);
    expect(kept.near(0, 2, 0, 0)).toBe(1);
    expect(kept.near(0, 2, 5, 1)).toBeCloseTo(0.04);
    expect(kept.near(0, 2, 7, 7)).toBeCloseTo(0.16);
    kept.forget();
    expect(kept.near(0, 2, 0, 0)).toBe(null);
  });

  it("come coarse first, then in bands of the exact map, and a band that was missed is noticed", () => {
    const kept = tiles();
    const whole = { row: 0, col: 0, span: 4 };
    const size = { rows: [0, 4] as [number, number], cols: [0, 4] as [number, number], height: 4, width: 2 };
    kept.take(info({ ...size, height: 2, width: 2, done: 0 }), view(1, 2, 3, 4));
    kept.take(info({ ...size, band: [0, 2], done: 0.5 }), view(10, 11, 12, 13));
    expect(kept.under(0, 2, whole).map(({ height, done, filled }) => [height, done, filled])).toEqual([
      [4, 0.5, 2],
    ]);
    expect(kept.take(info({ ...size, number: 5, band: [2, 4] }), view(1, 1, 1, 1))).toBe(false);
    kept.take(info({ ...size, band: [2, 4] }), view(14, 15, 16, 17));
    expect([...(kept.under(0, 2, whole)[0]?.values ?? [])]).toEqual([10, 11, 12, 13, 14, 15, 16, 17]);
    expect(kept.take(info({ ...size, band: [0, 4] }), view(1))).toBe(true);
    expect(kept.take({}, view())).toBe(true);
    expect(kept.under(0, 2, whole).length).toBe(1);
  });

  it("keep the newest dozen, the shown head's rather than others'", () => {
    const kept = tiles();
    for (let number = 0; number < 15; number++)
      kept.take(info({ number, head: number === 0 ? 1 : 2, rows: [number, number + 2] }), view(1, 2, 3, 4));
    expect(kept.under(0, 1, { row: 0, col: 0, span: 30 }).length).toBe(0);
    expect(kept.under(0, 2, { row: 0, col: 0, span: 30 }).length).toBe(12);
  });
});
