import { describe, expect, it } from "vitest";
import {
  CLOSEST,
  inside,
  isWhole,
  moved,
  pixelOf,
  placeOf,
  showing,
  ticks,
  whole,
  windowOf,
  zoomed,
} from "../widgets/attention_window";

describe("a place of a map", () => {
  it("keeps what is under the pointer when it zooms, and never leaves the text", () => {
    const closer = zoomed(whole(1000), 4, 900, 100, 1000);
    expect(closer).toEqual({ row: 675, col: 75, span: 250 });
    expect((900 - closer.row) / closer.span).toBeCloseTo(0.9);
    expect(zoomed(closer, 1e9, 900, 100, 1000).span).toBe(CLOSEST);
    expect(zoomed(closer, 1e-9, 900, 100, 1000)).toEqual(whole(1000));
    expect(moved(closer, 1000, -1000, 1000)).toEqual({ row: 750, col: 0, span: 250 });
    expect(inside({ row: 0, col: 0, span: 9 }, 2)).toEqual(whole(2));
  });

  it("is whole or not, and moves no more than needed to show a cell", () => {
    expect([isWhole(whole(9), 9), isWhole({ row: 0, col: 0, span: 8 }, 9)]).toEqual([true, false]);
    const place = { row: 10, col: 10, span: 10 };
    expect(showing(place, 12, 19, 100)).toEqual(place);
    expect(showing(place, 25, 3, 100)).toEqual({ row: 16, col: 3, span: 10 });
    expect(placeOf([128, 192], [0, 64], 1000)).toEqual({ row: 128, col: 0, span: 64 });
  });

  it("is covered by its window at every zoom and everywhere, and few windows are enough", () => {
    const tokens = 8192;
    const asked = new Set<string>();
    for (let span = CLOSEST; span < tokens; span *= 1.7)
      for (let row = 0; row + span <= tokens; row += span / 3) {
        const { rows, cols } = windowOf({ row, col: row / 2, span }, tokens);
        expect(rows[0] <= row && (rows[1] >= row + span || rows[1] === tokens)).toBe(true);
        expect(cols[0] <= row / 2 && cols[1] >= row / 2 + span).toBe(true);
        expect(rows[1] - rows[0]).toBeLessThanOrEqual(Math.max(64, span * 3));
        asked.add(String(rows));
      }
    const two = [0, 3].map((by) => windowOf({ row: 4000 + by, col: 100 + by, span: 40 }, tokens));
    expect(two[0]).toEqual(two[1]);
    expect(windowOf({ row: 3, col: 3, span: 9 }, 400)).toEqual({ rows: [0, 400], cols: [0, 400] });
  });

  it("has round marks, and pixels that hold their tokens", () => {
    expect(ticks(0, 100, 5)).toEqual([0, 20, 40, 60, 80]);
    expect(ticks(8190.2, 6, 6)).toEqual([8191, 8192, 8193, 8194, 8195, 8196]);
    expect([pixelOf(0, [0, 1024], 512), pixelOf(1023, [0, 1024], 512), pixelOf(7, [4, 8], 4)]).toEqual([
      0, 511, 3,
    ]);
  });
});
