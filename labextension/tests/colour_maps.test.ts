import { describe, expect, it } from "vitest";
import { CIVIDIS, colourInto, css, DIVERGING, ink } from "../widgets/colour_maps";
import tables from "./colour_maps.json";

const hex = (table: Uint8ClampedArray) =>
  [...table].map((value) => value.toString(16).padStart(2, "0")).join("");

describe("the colour maps", () => {
  it("are Python's to the last digit", () => {
    expect(hex(CIVIDIS)).toBe(tables.CIVIDIS);
    expect(hex(DIVERGING)).toBe(tables.DIVERGING);
  });

  it("colour a picture, a byte a pixel", () => {
    const image = { data: new Uint8ClampedArray(12), width: 3, height: 1 } as ImageData;
    colourInto(Uint8Array.of(0, 255, 128), CIVIDIS, image);
    expect([...image.data]).toEqual([0, 34, 78, 255, 254, 232, 56, 255, ...CIVIDIS.slice(384, 387), 255]);
  });

  it("name a colour and a text that can be read on it", () => {
    expect(css(CIVIDIS, 0)).toBe("rgb(0,34,78)");
    expect(css(CIVIDIS, 9)).toBe("rgb(254,232,56)");
    expect(css(CIVIDIS, Number.NaN)).toBe("rgb(0,34,78)");
    expect([ink(CIVIDIS, 0), ink(CIVIDIS, 1), ink(DIVERGING, 0.5)]).toEqual(["#fff", "#000", "#000"]);
  });
});
