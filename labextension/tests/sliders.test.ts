import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Control } from "../widgets/shapes";
import { EVERY_MS, read, said, sliders, stopAt, stopsOf } from "../widgets/sliders";

const TEMPERATURE: Control = {
  name: "temperature",
  label: "temperature",
  meaning: "0 is greedy; higher is more random",
  group: "Sampling",
  low: 0,
  high: 2,
  step: 0.05,
  scale: "linear",
  off: 1,
  can_be_off: true,
  off_end: "high",
  value: 0.6,
  default: 0.6,
  idle: "",
  least: 0,
  most: 100,
  open: false,
  whole: false,
  words: [
    [0, "greedy"],
    [1, "1"],
  ],
};
const TOP_K: Control = {
  ...TEMPERATURE,
  name: "top_k",
  label: "top-k",
  low: 1,
  high: 1000,
  step: 0.01,
  scale: "log",
  off: 0,
  value: 0,
  default: 0,
  most: null,
  whole: true,
  words: [],
};
const MAX_TOKENS: Control = { ...TOP_K, name: "max_tokens", off: null, value: null, default: 256, least: 1 };

let owner: AbortController;
let said_: [string, number | null][];

function opened(...controls: Control[]) {
  const made = sliders((name, value) => said_.push([name, value]), owner.signal);
  document.body.append(made.root);
  made.update(controls);
  const range = (name: string) => made.root.querySelector(`[aria-label="${name}"]`) as HTMLInputElement;
  const field = (name: string) =>
    made.root.querySelector(`[aria-label="${name}, value"]`) as HTMLInputElement;
  const drag = (name: string, position: number) => {
    range(name).value = String(position);
    range(name).dispatchEvent(new Event("input"));
  };
  const type = (name: string, text: string) => {
    field(name).focus();
    field(name).value = text;
    field(name).dispatchEvent(new Event("input"));
    field(name).dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  };
  return { ...made, range, field, drag, type };
}

beforeEach(() => {
  vi.useFakeTimers();
  owner = new AbortController();
  said_ = [];
});
afterEach(() => {
  owner.abort();
  document.body.replaceChildren();
  vi.useRealTimers();
});

describe("the values of a slider", () => {
  it("stops at round values, at each whole number once, and at off beyond its end", () => {
    expect(stopsOf(TEMPERATURE).slice(0, 3)).toEqual([0, 0.05, 0.1]);
    const stops = stopsOf(TOP_K);
    expect(stops.slice(0, 3)).toEqual([1, 2, 3]);
    expect(stops.slice(-2)).toEqual([1000, 0]);
    expect(new Set(stops).size).toBe(stops.length);
    expect(stopsOf({ ...TOP_K, off_end: "low" })[0]).toBe(0);
    expect(stopsOf(MAX_TOKENS).at(-1)).toBeNull();
  });

  it("finds the nearest stop of any value, and never takes off for one", () => {
    const stops = stopsOf(TOP_K);
    expect(stops[stopAt(stops, 0, "log")]).toBe(0);
    expect(stops[stopAt(stops, 1_000_000, "log")]).toBe(1000);
    expect(stopsOf(TEMPERATURE)[stopAt(stopsOf(TEMPERATURE), 0.61, "linear")]).toBe(0.6);
  });

  it("says what a value is called", () => {
    expect(said(TEMPERATURE, 0)).toBe("greedy");
    expect(said(TEMPERATURE, 0.8)).toBe("0.8");
    expect(said(TOP_K, 0)).toBe("off");
    expect(said({ ...TOP_K, whole: false }, 0.00003)).toBe("3e-5");
  });

  it("reads what is typed, and refuses what is not allowed", () => {
    expect(read(TEMPERATURE, "0,7")).toBe(0.7);
    expect(read(TEMPERATURE, "greedy")).toBe(0);
    expect(read(TEMPERATURE, "")).toBe(0.6);
    expect(read(TOP_K, "off")).toBe(0);
    expect(read(TOP_K, "5000")).toBe(5000);
    for (const wrong of ["-1", "101", "hot", "1e999"]) expect(read(TEMPERATURE, wrong)).toBeUndefined();
    expect(read(TOP_K, "2.5")).toBeUndefined();
    expect(read({ ...TEMPERATURE, open: true }, "0")).toBeUndefined();
  });
});

describe("a slider", () => {
  it("shows off as off, and greys what has no effect with the reason", () => {
    const { root, field, range } = opened(TEMPERATURE, { ...TOP_K, idle: "it is greedy" });
    expect(field("top-k").value).toBe("off");
    expect(range("top-k").getAttribute("aria-valuetext")).toBe("off");
    expect(range("top-k").getAttribute("aria-description")).toContain("it is greedy");
    expect(root.textContent).toContain("No effect: top-k (it is greedy).");
    expect(root.querySelectorAll("[data-idle=true]").length).toBe(1);
  });

  it("tells at once, then at most every 60 ms, and always the last value", () => {
    const { drag } = opened(TEMPERATURE);
    for (const position of [10, 11, 12, 13]) drag("temperature", position);
    expect(said_).toEqual([["temperature", 0.5]]);
    vi.advanceTimersByTime(EVERY_MS);
    expect(said_).toEqual([
      ["temperature", 0.5],
      ["temperature", 0.65],
    ]);
  });

  it("does not jump back to an answer that is older than the hand", () => {
    const { drag, update, range } = opened(TEMPERATURE);
    drag("temperature", 20);
    update([{ ...TEMPERATURE, value: 0.7 }]);
    expect(range("temperature").value).toBe("20");
    vi.advanceTimersByTime(500);
    expect(range("temperature").value).toBe("14");
  });

  it("goes back to the default by Delete and by a double click", () => {
    const { range, root } = opened({ ...TEMPERATURE, value: 1.5 });
    range("temperature").dispatchEvent(new KeyboardEvent("keydown", { key: "Delete", cancelable: true }));
    root
      .querySelector(".llama-nb-slider-label")
      ?.dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
    expect(said_).toEqual([
      ["temperature", null],
      ["temperature", null],
    ]);
  });

  it("takes a typed number beyond its ends, and marks one that is not allowed without sending it", () => {
    const { type, field } = opened(TEMPERATURE);
    type("temperature", "3.25");
    expect(said_).toEqual([["temperature", 3.25]]);
    type("temperature", "-2");
    expect(said_.length).toBe(1);
    expect(field("temperature").getAttribute("aria-invalid")).toBe("true");
    expect(field("temperature").title).toBe("Allowed: 0 to 100");
    field("temperature").dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    expect(field("temperature").value).not.toBe("-2");
  });

  it("keeps its element when others come and go", () => {
    const { range, update } = opened(TEMPERATURE, TOP_K);
    const before = range("top-k");
    update([TOP_K]);
    expect(range("top-k")).toBe(before);
    expect(range("temperature")).toBeNull();
  });
});
