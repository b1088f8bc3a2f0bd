import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import widget, { changed } from "../widgets/compare";
import { MARK } from "../widgets/live_mark";
import type { CompareCell } from "../widgets/shapes";

const HOSTILE = "<img src=x onerror=alert(1)>";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  document.body.replaceChildren();
});

function cell(number: number, changes: Partial<CompareCell> = {}): CompareCell {
  const place = { row: 0, column: number - 1, span: 1, state: "done" as const };
  const text = { common: "", mark: "", rest: "", place: null, reference: number === 1 ? null : 1 };
  const lines = { status: "3 tokens", verdict: "", error: "", hint: "", kl: null, mean_kl: null };
  return { number, label: `cell ${number}`, ...place, ...text, ...lines, ...changes };
}

const PIECES: [string, boolean][] = [
  ["A", false],
  [" llama", false],
  ["<|eot_id|>", true],
];
const CELLS = [
  cell(1, { common: "A llama", pieces: PIECES }),
  cell(2, { common: "A", mark: " goat", rest: " eats", place: 1, verdict: "differs from 1 at token 1" }),
  cell(3, { common: "A llama", kl: [0.0002, 0.5, null], mean_kl: 0.2, verdict: "the same as 1" }),
];

function open(cells = CELLS, changes: Record<string, unknown> = {}) {
  const state: Record<string, unknown> = {
    grid: {
      title: "3 answers of cria to “hi”",
      message: "hi",
      system: "",
      columns: ["a", "b", "c"],
      rows: [""],
    },
    cells: { cells },
    revision: 0,
    status: "3 of 3 answered",
    notes: [],
    running: false,
    stoppable: false,
    error: "",
    twin: {},
    ...changes,
  };
  const listeners = new Map<string, Set<(message?: unknown) => void>>();
  const emit = (event: string, message?: unknown) => {
    for (const callback of listeners.get(event) ?? []) callback(message);
  };
  const sent: Record<string, unknown>[] = [];
  const model = {
    get: (name: string) => state[name],
    set: (name: string, value: unknown) => {
      state[name] = value;
      emit(`change:${name}`);
    },
    send: (message: Record<string, unknown>) => sent.push(message),
    on: (event: string, callback: () => void) =>
      listeners.set(event, (listeners.get(event) ?? new Set()).add(callback)),
    off: (event: string, callback: () => void) => listeners.get(event)?.delete(callback),
  };
  const el = document.createElement("div");
  document.body.append(el);
  const forget = widget.initialize({ model: model as never });
  const close = widget.render({ model: model as never, el });
  const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
  const shading = () => all(".llama-nb-compare-shading")[0] as HTMLButtonElement;
  const listening = () => [...listeners.values()].reduce((sum, set) => sum + set.size, 0);
  return { el, model, emit, sent, forget, close, all, shading, listening };
}

describe("a comparison", () => {
  it("is a table with named columns, marks itself as live and leaves nothing behind", () => {
    const { el, all, close, forget, listening } = open();
    expect(all("thead th").map((head) => head.textContent)).toEqual(["a", "b", "c"]);
    expect(all("thead th").every((head) => head.getAttribute("scope") === "col")).toBe(true);
    expect(all("td.llama-nb-compare-cell").length).toBe(3);
    expect(el.hasAttribute(MARK)).toBe(true);
    expect(el.querySelector("[role=region]")?.getAttribute("tabindex")).toBe("0");
    close();
    forget();
    expect(listening()).toBe(0);
    expect(el.childElementCount).toBe(0);
  });

  it("names rows, and lets a greedy cell span them", () => {
    const grid = { title: "", message: "", system: "", columns: ["t 0", "t 1"], rows: ["seed 1", "seed 2"] };
    const cells = [
      cell(1, { span: 2 }),
      cell(2, { column: 1 }),
      cell(3, { row: 1, column: 1, label: "t 1, seed 2" }),
    ];
    const { all } = open(cells, { grid });
    expect(all("tbody th").map((head) => head.textContent)).toEqual(["seed 1", "seed 2"]);
    expect((all("td.llama-nb-compare-cell")[0] as HTMLTableCellElement).rowSpan).toBe(2);
    expect(all("tbody tr").map((row) => row.querySelectorAll("td").length)).toEqual([2, 1]);
  });

  it("marks the first token that differs, without its space, and says where", () => {
    const { all } = open();
    const [, second] = all("td.llama-nb-compare-cell");
    expect(second?.querySelector(".llama-nb-compare-mark")?.textContent).toBe("goat");
    expect(second?.querySelector(".llama-nb-compare-answer")?.textContent).toBe("A goat eats");
    expect(second?.textContent).toContain("differs from 1 at token 1");
    expect(all("td .llama-nb-compare-mark").filter((mark) => mark.textContent).length).toBe(1);
  });

  it("says so where an answer ends and its reference goes on", () => {
    const { all } = open([CELLS[0] as CompareCell, cell(2, { common: "A", place: 1 })]);
    expect(all("td .llama-nb-compare-mark")[1]?.textContent).toContain("ends here");
  });

  it("shows white space that differs", () => {
    const { all } = open([CELLS[0] as CompareCell, cell(2, { common: "A", mark: "\n", place: 1 })]);
    expect(all("td .llama-nb-compare-mark")[1]?.textContent).toBe("⏎");
  });

  it("shades the reference's tokens by divergence, with their values, when asked to", () => {
    const { all, shading } = open();
    expect(all("[role=option]").filter((chip) => !chip.closest("[hidden]"))).toEqual([]);
    shading().click();
    expect(shading().getAttribute("aria-pressed")).toBe("true");
    const chips = all("[role=option]");
    expect(chips.map((chip) => chip.dataset.level)).toEqual(["0", "3", "4"]);
    expect(chips[1]?.title).toContain("KL 0.5 nats");
    expect(chips[2]?.title).toContain("∞");
    chips[1]?.click();
    expect(all(".llama-nb-compare-readout").map((line) => line.textContent)).toContain(
      "token 1 ·llama: 0.5 nats",
    );
    chips[1]?.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    expect(document.activeElement).toBe(chips[2]);
    shading().click();
    expect(all("[role=option]").every((chip) => chip.closest("[hidden]"))).toBe(true);
  });

  it("offers no shades where nothing was measured", () => {
    const { shading } = open(CELLS.slice(0, 2));
    expect(shading().hidden).toBe(true);
  });

  it("takes what models wrote as text", () => {
    const { el } = open([
      cell(1, { common: HOSTILE, pieces: [[HOSTILE, false]], error: HOSTILE, hint: HOSTILE, label: HOSTILE }),
      cell(2, { mark: HOSTILE, rest: HOSTILE, place: 0, kl: [1], status: HOSTILE, verdict: HOSTILE }),
    ]);
    expect(el.querySelector("img")).toBeNull();
    expect(el.textContent).toContain(HOSTILE);
  });

  it("can be copied as a table", async () => {
    const writeText = vi.fn(() => Promise.resolve());
    vi.stubGlobal("navigator", { clipboard: { writeText } });
    const { all } = open();
    all("button")
      .find((button) => button.textContent === "Copy data")
      ?.click();
    const [text] = writeText.mock.calls[0] as unknown as [string];
    expect(text.split("\n")[2]).toBe('2\tcell 2\t1\t\t"A goat eats"');
    vi.unstubAllGlobals();
  });
});

describe("a comparison on its way", () => {
  const waiting = [cell(1, { state: "writing" }), cell(2, { state: "waiting", status: "waits" })];
  const begun = (changes = {}) => open(waiting, { running: true, status: "0 of 2 answered", ...changes });

  it("grows by deltas, and only the cell that grew is another object", () => {
    const { model, emit, all } = begun();
    const [, second] = (model.get("cells") as { cells: CompareCell[] }).cells;
    const cells = [{ number: 1, grow: { common: "Once " }, set: { status: "1 token" } }];
    emit("msg:custom", { kind: "delta", revision: 1, status: "0 of 2 answered", cells });
    emit("msg:custom", {
      kind: "delta",
      revision: 2,
      status: "1 of 2 answered",
      cells: [{ number: 1, grow: { common: "upon" }, set: { state: "done" } }],
    });
    expect(all(".llama-nb-compare-answer")[0]?.textContent).toBe("Once upon");
    expect(all("td.llama-nb-compare-cell")[0]?.dataset.state).toBe("done");
    expect(all(".llama-nb-compare-progress")[0]?.textContent).toBe("1 of 2 answered");
    expect((model.get("cells") as { cells: CompareCell[] }).cells[1]).toBe(second);
  });

  it("asks once for everything after a gap, and ignores what is old", () => {
    const { emit, sent, model } = begun();
    const lost = () => sent.filter((message) => message.kind === "lost").length;
    emit("msg:custom", { kind: "delta", revision: 3, status: "", cells: [] });
    emit("msg:custom", { kind: "delta", revision: 4, status: "", cells: [] });
    expect(lost()).toBe(1);
    model.set("revision", 4);
    emit("msg:custom", { kind: "delta", revision: 4, status: "old", cells: [] });
    emit("msg:custom", { kind: "delta", revision: 5, status: "new", cells: [] });
    expect([lost(), model.get("status")]).toEqual([1, "new"]);
  });

  it("says hello, and stops once a Stop can arrive", () => {
    const { sent, model, all } = begun();
    const stop = () => all(".llama-nb-compare-stop")[0] as HTMLButtonElement;
    vi.advanceTimersByTime(200);
    expect(sent.filter((message) => message.kind === "hello").length).toBe(2);
    expect(stop().hidden).toBe(true);
    vi.advanceTimersByTime(1000);
    expect(all(".llama-nb-compare-line")[0]?.textContent).toContain("interrupt the kernel");
    model.set("stoppable", true);
    expect(stop().hidden).toBe(false);
    stop().focus();
    stop().click();
    expect(sent.at(-1)).toEqual({ kind: "stop" });
    expect(stop().disabled).toBe(true);
    model.set("running", false);
    expect(stop().hidden).toBe(true);
    expect(document.activeElement?.className).toContain("llama-nb-compare-scroll");
  });

  it("keeps what is written in sight until somebody scrolls, and ends at the top", () => {
    const { all, emit, model } = begun();
    const [scroll] = all(".llama-nb-compare-scroll") as [HTMLElement];
    const [written] = all('[data-state="writing"] .llama-nb-compare-inside') as [HTMLElement];
    vi.spyOn(scroll, "getBoundingClientRect").mockReturnValue(new DOMRect(0, 0, 600, 300));
    const below = vi.spyOn(written, "getBoundingClientRect").mockReturnValue(new DOMRect(0, 250, 200, 100));
    const grow = (revision: number) =>
      emit("msg:custom", {
        kind: "delta",
        revision,
        status: "",
        cells: [{ number: 1, grow: { common: "x" } }],
      });
    grow(1);
    expect(scroll.scrollTop).toBe(58);
    below.mockReturnValue(new DOMRect(0, 10, 200, 100));
    grow(2);
    expect(scroll.scrollTop).toBe(28);
    scroll.dispatchEvent(new Event("wheel"));
    below.mockReturnValue(new DOMRect(0, 250, 200, 100));
    grow(3);
    model.set("running", false);
    expect(scroll.scrollTop).toBe(28);
  });

  it("says no hello when it is done", () => {
    const { sent } = open();
    vi.advanceTimersByTime(10_000);
    expect(sent).toEqual([]);
  });

  it("takes deltas for cells that do not exist as nothing", () => {
    expect(changed(waiting, [{ number: 9, set: { status: "x" } }])).toEqual(waiting);
  });

  it("shows an error of the widget", () => {
    const { model, all } = begun();
    model.set("error", "ZeroDivisionError");
    expect(all(".llama-nb-error").find((box) => box.textContent === "ZeroDivisionError")?.hidden).toBe(false);
  });
});
