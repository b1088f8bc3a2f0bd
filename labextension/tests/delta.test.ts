import { describe, expect, it } from "vitest";
import { apply, type Delta } from "../widgets/delta";
import type { Tree } from "../widgets/nodes";
import cases from "./deltas.json";

describe("the kernel's deltas", () => {
  // deltas.json is made and checked by tests/widgets/test_delta.py.
  it.each(cases as unknown as { old: Tree[]; change: Delta; new: Tree[] }[])("gives the new tree", (one) => {
    const before = JSON.stringify(one.old);
    expect(apply(one.old, one.change)).toEqual(one.new);
    expect(JSON.stringify(one.old)).toBe(before);
  });

  it("refuses what does not fit", () => {
    expect(apply(["x"], { path: [3], keep: 0, grow: "", add: [] })).toBeNull();
    expect(apply(["x"], { path: [0], keep: 0, grow: "", add: [] })).toBeNull();
    expect(apply(["x"], { path: [], keep: 2, grow: "", add: [] })).toBeNull();
    expect(apply([{ t: "p" }], { path: [], keep: 1, grow: "y", add: [] })).toBeNull();
    expect(apply([], { path: [], keep: 0, grow: "y", add: [] })).toBeNull();
  });
});
