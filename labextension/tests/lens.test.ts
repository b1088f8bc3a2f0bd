import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CIVIDIS, css } from "../widgets/colour_maps";
import widget, { type LensModel } from "../widgets/lens";
import { asData, ground, LensCells } from "../widgets/lens_cells";
import { klEnd, named } from "../widgets/lens_chart";
import { MARK } from "../widgets/live_mark";
import type { LensWindow } from "../widgets/shapes";
import type { LensViewTraits } from "../widgets/traits";
import { FakeModel } from "./fake_model";

const HOSTILE = "<img src=x onerror=alert(1)>";
const LAYERS = ["embedding", "L0", "L1"];
const TOP = 2;
const COLUMNS = 4;
const TOKENS: [string, boolean][] = [
  ["<|begin_of_text|>", true],
  ["Once", false],
  [HOSTILE, false],
  [" sun", false],
];
const NAMES: [number, string, boolean][] = [
  [7, " upon", false],
  [8, HOSTILE, false],
  [9, "<|eot_id|>", true],
];

beforeEach(() => {
  vi.useFakeTimers();
  Object.defineProperty(HTMLElement.prototype, "clientWidth", { configurable: true, get: () => 574 });
  vi.stubGlobal(
    "ResizeObserver",
    class {
      observe() {}
      disconnect() {}
    },
  );
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  Reflect.deleteProperty(HTMLElement.prototype, "clientWidth");
  document.body.replaceChildren();
});

/** Probability of a cell's first token, told apart by its place. */
const chance = (row: number, column: number) => (row + 1) / 4 + column / 16;

function bytes(start: number, end: number): DataView {
  const rows = LAYERS.map((_, row) =>
    Array.from({ length: end - start }, (_none, at) => {
      const column = start + at;
      const last = column === COLUMNS - 1;
      const ids = row === 0 ? [8, 7] : [7, 9];
      const figures = [0.5, row === 0 ? 3 : 1, last ? Number.NaN : 0.125, last ? 0 : 2, row + 0.5, 2 - row];
      return [...ids, chance(row, column), 0.03125, ...figures];
    }),
  );
  return new DataView(Float32Array.from(rows.flat(2)).buffer);
}

function window_(start = 0, end = COLUMNS): LensWindow {
  const places = Array.from({ length: end - start }, (_, at) => start + at);
  return {
    start,
    end,
    positions: places,
    tokens: places.map((at) => TOKENS[at] ?? ["x", false]),
    ahead: places.map((at) => (at === COLUMNS - 1 ? null : 8)),
    settled: places.map(() => 1),
    names: NAMES,
  };
}

function open(changes: Partial<LensViewTraits> = {}) {
  const ends = { probability: 1, entropy: 2.5, kl: 2 };
  const model = new FakeModel<LensViewTraits>({
    head: {
      title: "Logit lens: text of cria",
      layers: LAYERS,
      columns: COLUMNS,
      tokens: 4,
      prompt: 3,
      top: TOP,
      ends,
      notes: [],
    },
    window: window_(),
    cells: bytes(0, COLUMNS),
    place: { row: 2, column: 3, by: "probability" },
    error: "",
    twin: {},
    ...changes,
  });
  const el = document.createElement("div");
  document.body.append(el);
  const close = widget.render({ model: model as unknown as LensModel, el });
  const find = (selector: string) => el.querySelector<HTMLElement>(selector) as HTMLElement;
  const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
  const cell = (row: number, column: number) => find(`[data-row="${row}"][data-column="${column}"]`);
  const press = (key: string, options = {}) =>
    find("[role=grid]").dispatchEvent(
      new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...options }),
    );
  return { model, el, close, find, all, cell, press };
}

describe("a lens", () => {
  it("draws a cell a layer and position, coloured by its probability, and texts stay text", () => {
    const { el, all, cell, find } = open();
    expect(all("[role=row]").length).toBe(LAYERS.length + 2);
    expect(all("[data-row]").length).toBe(LAYERS.length * COLUMNS);
    expect(cell(0, 1).textContent).toBe("<img·src=x·onerror=alert(1)>");
    expect(cell(1, 2).textContent).toBe("·upon");
    const wanted = document.createElement("i");
    wanted.style.background = css(CIVIDIS, chance(1, 2));
    expect(cell(1, 2).style.background).toBe(wanted.style.background);
    expect(cell(1, 2).getAttribute("aria-label")).toContain("·upon 62.5 %");
    expect(cell(1, 2).dataset.settled).toBe("true");
    expect(find(".llama-nb-lens-top").textContent).toContain("<|begin_of_text|>");
    expect(find(".llama-nb-lens-top [data-written=true]").textContent).toBe("·sun");
    expect(find(".llama-nb-lens-bottom").textContent).toContain("–");
    expect(el.querySelector("img")).toBeNull();
    expect(el.hasAttribute(MARK)).toBe(true);
  });

  it("shows the figures of the active cell, and of the one that is pointed at", () => {
    const { find, cell, all } = open();
    expect(find(".llama-nb-lens-where").textContent).toContain("L1 after ·sun 3");
    expect(all(".llama-nb-lens-said li").map((one) => one.textContent)).toEqual([
      "·upon93.8 %",
      "<|eot_id|>3.13 %",
    ]);
    expect(find("[data-figure=text]").textContent).toContain("ends here");
    const moved = { bubbles: true, pointerType: "mouse", clientX: 150, clientY: 40 };
    cell(0, 1).dispatchEvent(new PointerEvent("pointermove", moved));
    expect(find(".llama-nb-lens-where").textContent).toContain("embedding after Once 1");
    expect(find("[data-kind=entropy]").textContent).toBe("0.5");
    expect(find("[data-kind=kl]").textContent).toBe("2");
    expect(find("[data-figure=text] [data-kind=next]").textContent).toBe("12.5 %");
    expect(find("[data-figure=text]").textContent).toContain("rank 2");
    expect(find("[data-figure=model]").textContent).toContain("rank 3 · from L0");
    find("[role=grid]").dispatchEvent(new PointerEvent("pointerleave"));
    expect(find(".llama-nb-lens-where").textContent).toContain("L1 after ·sun");
    // The mouse rests where keys have scrolled another cell.
    cell(0, 2).dispatchEvent(new PointerEvent("pointermove", moved));
    expect(find(".llama-nb-lens-where").textContent).toContain("L1 after ·sun");
  });

  it("is walked through by keys, and tells the kernel once where one rests", () => {
    const { press, cell, model, find } = open();
    press("ArrowUp");
    press("ArrowLeft");
    expect(cell(1, 2).getAttribute("aria-selected")).toBe("true");
    expect(find("[role=grid]").getAttribute("aria-activedescendant")).toBe(cell(1, 2).id);
    press("Home", { ctrlKey: true });
    expect(cell(0, 0).getAttribute("aria-selected")).toBe("true");
    press("ArrowUp");
    press("End");
    press("PageDown");
    expect(cell(2, 3).getAttribute("aria-selected")).toBe("true");
    expect(model.said("look")).toEqual([]);
    vi.advanceTimersByTime(200);
    expect(model.said("look")).toEqual([{ kind: "look", row: 2, column: 3, by: "probability" }]);
    press("x");
    cell(0, 2).click();
    vi.advanceTimersByTime(200);
    expect(model.said("look")[1]).toMatchObject({ row: 0, column: 2 });
  });

  it("colours by entropy or divergence instead, on their own scales", () => {
    const { find, cell, model } = open();
    const select = find("select") as HTMLSelectElement;
    select.value = "kl";
    select.dispatchEvent(new Event("change"));
    const wanted = document.createElement("i");
    wanted.style.background = css(CIVIDIS, 0.5);
    expect(cell(1, 0).style.background).toBe(wanted.style.background);
    expect(find(".llama-nb-lens-scale").textContent).toBe("02");
    expect(cell(1, 0).getAttribute("aria-label")).toContain("kl 1.00 nats");
    vi.advanceTimersByTime(200);
    expect(model.said("look")[0]).toMatchObject({ by: "kl" });
  });

  it("asks once for columns that it has not, and shows what comes", () => {
    const { model, cell, find } = open({ window: window_(0, 2), cells: bytes(0, 2) });
    expect(model.said("columns")).toEqual([{ kind: "columns", start: 0 }]);
    expect(cell(1, 3).textContent).toBe("");
    model.set("place", { row: 1, column: 1, by: "entropy" });
    expect(model.said("columns").length).toBe(1);
    vi.advanceTimersByTime(2000);
    expect(find("[role=status]").textContent).toContain("not answered yet");
    model.set("window", window_());
    model.set("cells", bytes(0, COLUMNS));
    expect(cell(1, 3).textContent).toBe("·upon");
    expect(find("[role=status]").textContent).toBe("");
    expect(cell(1, 1).getAttribute("aria-selected")).toBe("true");
  });

  it("follows another view of the same lens, errors, and leaves nothing behind", () => {
    const { model, cell, close, el, find } = open();
    model.set("place", { row: 0, column: 1, by: "kl" });
    expect(cell(0, 1).getAttribute("aria-selected")).toBe("true");
    model.set("error", `no ${HOSTILE}`);
    expect(find("[role=alert]").textContent).toBe(`no ${HOSTILE}`);
    close();
    expect(el.childElementCount).toBe(0);
    expect(el.hasAttribute(MARK)).toBe(false);
    expect(model.listening).toBe(0);
  });

  it("has a chart whose layers can be picked", () => {
    const { find, cell, all } = open();
    expect(all(".llama-nb-lens-path").length).toBe(2);
    const drawing = find(".llama-nb-lens-chart svg");
    drawing.getBoundingClientRect = () => new DOMRect(0, 0, 300, 132);
    drawing.dispatchEvent(new MouseEvent("click", { bubbles: true, clientX: 160, clientY: 20 }));
    expect(cell(1, 3).getAttribute("aria-selected")).toBe("true");
    cell(1, 0).click();
    expect(all(".llama-nb-lens-path.llama-nb-lens-next").length).toBe(1);
  });
});

describe("a window of cells", () => {
  it("reads what the kernel packed, wherever the bytes begin", () => {
    const packed = new Uint8Array(bytes(1, 3).buffer);
    const shifted = new Uint8Array(packed.length + 3);
    shifted.set(packed, 3);
    const cells = new LensCells(window_(1, 3), new DataView(shifted.buffer, 3), LAYERS.length, TOP);
    const found = cells.cell(2, 2);
    expect(found.top[0]).toEqual({ id: 7, text: " upon", special: false, probability: chance(2, 2) });
    expect([ground(found, "entropy"), ground(found, "kl")]).toEqual([2.5, 0]);
    expect(cells.has(0)).toBe(false);
    expect(asData(LAYERS, cells.column(2)).split("\n")[3]).toContain(`L1\t2\t" upon"\t${chance(2, 2)}\t0.5`);
  });

  it("shows nothing of bytes that do not fit their window", () => {
    const cells = new LensCells(window_(), bytes(0, 2), LAYERS.length, TOP);
    expect(cells.has(0)).toBe(false);
  });
});

describe("the axes of the chart", () => {
  it("end at round values", () => {
    expect([0, 0.07, 1, 12, 53, 1e-9].map(klEnd)).toEqual([1, 0.1, 1, 20, 100, 1e-9]);
  });

  it("name the ends, a few layers and the one that is looked at", () => {
    expect(named(6, 6)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(named(80, 40)).toContain(40);
    expect(named(80, 40)).not.toContain(1);
    expect(named(80, 40).length).toBeLessThan(11);
    expect(named(80, 2)).not.toContain(1);
  });
});
