import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import extensions from "../src/mime";
import planWidget from "../widgets/plan";
import { PLAN_MIME, readPlan } from "../widgets/plan_record";
import { drawPlan, tsv } from "../widgets/plan_view";
import record from "./plan.json";

function draw(changes: Record<string, unknown> = {}) {
  const root = drawPlan({ ...record, ...changes });
  document.body.replaceChildren(root);
  const find = <T extends HTMLElement>(selector: string) => root.querySelector<T>(selector) as T;
  const all = (selector: string) => [...root.querySelectorAll<HTMLElement>(selector)];
  const slider = find<HTMLInputElement>("input[type=range]");
  const move = (to: number) => {
    slider.value = String(to);
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  };
  return { root, find, all, slider, move };
}

const key = (name: string) => new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true });

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a plan", () => {
  it("shows name, quantisation, device, verdict and the sentence", () => {
    const { root, find } = draw();
    expect(find(".llama-nb-title").textContent).toBe("llama-3.3-70b-instruct");
    expect(find(".llama-nb-plan-quant").textContent).toBe("nf4 (bitsandbytes)");
    expect(find(".llama-nb-plan-title").textContent).toContain("on 2 x RTX 4090");
    expect(find(".llama-nb-verdict").textContent).toBe("✓ fits");
    expect(find(".llama-nb-plan-sentence").textContent).toBe(record.sentence);
    expect(root.getAttribute("aria-label")).toBe("Memory plan of llama-3.3-70b-instruct");
  });

  it("moves the context without a kernel, and says where it stands when it rests", () => {
    const { find, all, slider, move } = draw();
    expect(slider.max).toBe("7");
    expect(slider.getAttribute("aria-valuetext")).toBe("8,192 tokens");
    move(7);
    expect(slider.getAttribute("aria-valuetext")).toBe("131,072 tokens");
    expect(find(".llama-nb-verdict").dataset.verdict).toBe("does not fit");
    expect(find(".llama-nb-legend").textContent).toContain("KV cache 42.9 GB");
    expect(find("[role=img]").getAttribute("aria-label")).toContain("too much");
    expect(find("[role=status]").textContent).toBe("");
    vi.advanceTimersByTime(1000);
    expect(find("[role=status]").textContent).toBe("81.7 GB, does not fit");
    expect(all(".llama-nb-bar-stack > *").length).toBe(4);
  });

  it("has a slider with a name, which arrows, Home and End move by themselves", () => {
    const { slider } = draw();
    expect(slider.type).toBe("range");
    expect(slider.closest("label")?.textContent).toContain("Context");
    expect(slider.disabled).toBe(false);
    expect(draw({ stops: record.stops.slice(3, 4), at: 0 }).slider.disabled).toBe(true);
  });

  it("shows another quantisation on a click anywhere in its row", () => {
    const { find, all, slider, move } = draw();
    move(7);
    all(".llama-nb-quants tbody tr")[0]?.click();
    expect(find(".llama-nb-plan-quant").textContent).toBe("bfloat16");
    expect(find(".llama-nb-legend").textContent).toContain("weights 141 GB");
    expect(find(".llama-nb-verdict").dataset.verdict).toBe("does not fit");
    expect(find(".llama-nb-quant-command").textContent).toBe("%llama load meta-llama/Llama-3.3-70B-Instruct");
    expect(slider.disabled).toBe(true);
    expect(slider.value).toBe("3");
    all(".llama-nb-quants tbody tr")[2]?.click();
    expect(slider.disabled).toBe(false);
    expect(find(".llama-nb-plan-quant").textContent).toBe("nf4 (bitsandbytes)");
  });

  it("is used by keyboard: one stop for Tab, arrows between the rows, Enter chooses", () => {
    const { all } = draw();
    const buttons = all(".llama-nb-row-button") as HTMLButtonElement[];
    expect(buttons.filter((button) => button.tabIndex === 0).map((button) => button.textContent)).toEqual([
      "nf4 (bitsandbytes)",
    ]);
    buttons[2]?.focus();
    buttons[2]?.dispatchEvent(key("ArrowUp"));
    expect(document.activeElement).toBe(buttons[1]);
    buttons[1]?.dispatchEvent(key("End"));
    expect(document.activeElement).toBe(buttons.at(-1));
    buttons.at(-1)?.dispatchEvent(key("ArrowDown"));
    expect(document.activeElement).toBe(buttons.at(-1));
    buttons.at(-1)?.dispatchEvent(key("Home"));
    expect(document.activeElement).toBe(buttons[0]);
    buttons[0]?.click();
    expect(buttons.map((button) => button.getAttribute("aria-pressed")).slice(0, 3)).toEqual([
      "true",
      "false",
      "false",
    ]);
    expect(buttons[0]?.tabIndex).toBe(0);
  });

  it("keeps JupyterLab's shortcuts from whatever has the focus in it", () => {
    const { root, slider, all } = draw();
    for (const focused of [slider, all(".llama-nb-row-button")[0]]) {
      focused?.dispatchEvent(new FocusEvent("focusin", { bubbles: true }));
      expect(focused?.dataset.lmSuppressShortcuts).toBe("true");
    }
    expect(root.dataset.lmSuppressShortcuts).toBe("true");
  });

  it("keeps keys that it knows from the notebook, and lets the others through", () => {
    const { all } = draw();
    const down = key("ArrowDown");
    all(".llama-nb-row-button")[0]?.dispatchEvent(down);
    expect(down.defaultPrevented).toBe(true);
    const other = key("x");
    all(".llama-nb-row-button")[0]?.dispatchEvent(other);
    expect(other.defaultPrevented).toBe(false);
  });

  it("opens what would make it fit when it does not, else the quantisations", () => {
    const open = (changes: Record<string, unknown>) =>
      draw(changes)
        .all("details[open] > summary")
        .map((summary) => summary.textContent);
    expect(open({})).toEqual(["Quantisations at 8,192 tokens"]);
    expect(open({ at: 7 })).toEqual(["What fits, cheapest first"]);
    expect(open({ at: 7, options: [] })).toEqual(["Quantisations at 131,072 tokens"]);
  });

  it("has commands to copy, speed, notes and sources", () => {
    const { root, find, all } = draw();
    expect(all(".llama-nb-options code").map((code) => code.textContent)).toContain(
      "%llama plan llama-3.3-70b-instruct --quant nf4-double",
    );
    expect(root.textContent).toContain("27.9 tokens/s");
    expect(root.textContent).toContain("Split over 2 GPUs");
    const link = find<HTMLAnchorElement>(".llama-nb-lines a");
    expect(link.href).toContain("https://images.nvidia.com/");
    expect(link.rel).toContain("noopener");
  });

  it("copies its figures as a table that no spreadsheet takes for a formula", () => {
    const plan = readPlan({
      ...record,
      parts: record.parts.map((part, index) => (index ? part : { ...part, label: "=cmd()" })),
    });
    if (typeof plan === "string") throw new Error(plan);
    const lines = tsv(plan).split("\n");
    const parts = ["'=cmd()", "KV cache", "activations", "overhead"].map((label) => `${label} (bytes)`);
    expect(lines[0]?.split("\t")).toEqual(["context", ...parts, "total (bytes)", "verdict"]);
    expect(lines.length).toBe(9);
    expect(lines[1]).toContain("1024\t36120000000\t335544320");
  });
});

describe("records that nobody of ours wrote", () => {
  const parts = record.parts;
  const stop = record.stops[0];
  const complaints: [unknown, string][] = [
    [null, "not an object"],
    ["<script>alert(1)</script>", "not an object"],
    [[], "not an object"],
    [{}, "schema unknown"],
    [{ ...record, schema: 2 }, "schema 2"],
    [{ ...record, schema: "<img src=x>" }, "schema unknown"],
    [{ ...record, parts: undefined }, "no parts"],
    [{ ...record, parts: [{ key: "weights" }, 3, null] }, "no parts"],
    [{ ...record, stops: [] }, "no figures"],
    [{ ...record, stops: "x" }, "no figures"],
    [{ ...record, stops: [{ ...stop, bytes: [1, 2] }] }, "no figures"],
    [{ ...record, stops: [{ ...stop, bytes: [1, 2, 3, "4"] }] }, "no figures"],
    [{ ...record, stops: [{ ...stop, bytes: [1, 2, 3, Number.NaN] }] }, "no figures"],
    [{ ...record, stops: [{ ...stop, bytes: [1, 2, 3, Number.POSITIVE_INFINITY] }] }, "no figures"],
    [{ ...record, stops: [{ ...stop, bytes: [1, 2, 3, -4] }] }, "no figures"],
    [{ ...record, stops: [{ ...stop, context: "many" }] }, "no figures"],
  ];
  it.each(complaints)("%# becomes one sentence", (data, reason) => {
    const root = drawPlan(data);
    expect(root.textContent).toContain(reason);
    expect(root.children.length).toBe(1);
    expect(root.querySelector("img, script")).toBeNull();
  });

  it("shows what is left of wrong parts", () => {
    const odd = {
      name: 3,
      quant: {},
      quant_label: [],
      device: "here",
      at: -7,
      batch: "x",
      train: 4,
      quants: [3, { label: "x" }, { label: "y", bytes: [1, 2, 3, 4], bits: "many", verdict: "__proto__" }],
      options: "x",
      speed: [{ value: "fast" }, null],
      notes: [3, {}, "a note"],
      sources: 9,
    };
    const { root, all } = draw(odd);
    expect(root.textContent).toContain("A model");
    expect(all(".llama-nb-quants tbody tr").length).toBe(1);
    expect(all(".llama-nb-quants .llama-nb-verdict")[0]?.dataset.verdict).toBe("unknown");
    expect(all(".llama-nb-lines li").map((item) => item.textContent)).toEqual(["a note"]);
    expect(readPlan({ ...record, at: 1e9 })).toMatchObject({ at: 7 });
    expect(readPlan({ ...record, at: 2.7 })).toMatchObject({ at: 2 });
    expect(readPlan({ ...record, device: { memory: "x" } })).toMatchObject({
      device: { memory: null, count: 1 },
    });
  });

  it("adds the parts itself and believes no total", () => {
    expect(readPlan({ ...record, stops: [{ ...stop, total: 1 }] })).toMatchObject({
      stops: [{ total: (stop?.bytes ?? []).reduce((sum, each) => sum + each, 0) }],
    });
  });

  it("keeps scripts in every part inert", () => {
    const attack = "<img src=x onerror=alert(1)><script>alert(1)</script>";
    const { root } = draw({
      name: attack,
      quant_label: attack,
      dtype: attack,
      train: attack,
      device: { name: attack, memory: 1, count: 2 },
      parts: parts.map((part) => ({ ...part, label: attack, detail: attack })),
      stops: record.stops.map((one) => ({ ...one, sentence: attack })),
      quants: record.quants.map((one) => ({ ...one, label: attack, command: attack })),
      options: [{ what: attack, command: attack, bytes: 1 }],
      speed: [{ label: attack, value: attack, detail: attack }],
      notes: [attack, 'https://evil.example/"onmouseover=alert(1)'],
      sources: ["javascript:alert(1)", attack],
    });
    expect(root.querySelector("img, script, [onerror], [onmouseover]")).toBeNull();
    expect([...root.querySelectorAll("a")].filter((link) => link.hasAttribute("href"))).toEqual([]);
  });

  it("takes hidden characters out of what is copied", () => {
    const command = "%llama load x\n!rm -rf ~\u202e\u200b";
    const plan = readPlan({ ...record, options: [{ what: "x", command, bytes: 1 }] });
    expect(plan).toMatchObject({ options: [{ command: "%llama load x !rm -rf ~" }] });
  });

  it("limits how much it draws", () => {
    const { all } = draw({
      quants: Array.from({ length: 5000 }, () => record.quants[0]),
      notes: Array.from({ length: 5000 }, () => "x".repeat(10_000)),
      stops: Array.from({ length: 5000 }, () => stop),
    });
    expect(all(".llama-nb-quants tbody tr").length).toBe(64);
    expect(all(".llama-nb-lines li").length).toBe(52);
    expect(all(".llama-nb-lines li")[0]?.textContent?.length).toBe(500);
  });
});

describe("the two ways to a plan", () => {
  it("is drawn from a notebook's output, also of an untrusted one", async () => {
    const extension = [extensions]
      .flat()
      .find(({ rendererFactory }) => rendererFactory.mimeTypes.includes(PLAN_MIME));
    expect(extension?.rendererFactory.safe).toBe(true);
    expect(extension?.rank).toBeLessThan(50);
    const renderer = extension?.rendererFactory.createRenderer({ mimeType: PLAN_MIME } as never);
    const model = { data: { [PLAN_MIME]: record }, trusted: false, metadata: {} } as never;
    await renderer?.renderModel(model);
    await renderer?.renderModel(model);
    expect(renderer?.node.querySelectorAll(".llama-nb-plan").length).toBe(1);
  });

  it("is drawn by the widget, and again when its record changes", () => {
    const el = document.createElement("div");
    let held: unknown = record;
    const listeners = new Set<() => void>();
    const model = {
      get: () => held,
      on: (_event: string, callback: () => void) => listeners.add(callback),
      off: (_event: string, callback: () => void) => listeners.delete(callback),
    };
    const end = planWidget.render({ model: model as never, el });
    expect(el.querySelector(".llama-nb-title")?.textContent).toBe("llama-3.3-70b-instruct");
    held = { ...record, name: "another" };
    for (const listener of listeners) listener();
    expect(el.querySelector(".llama-nb-title")?.textContent).toBe("another");
    end();
    expect(listeners.size).toBe(0);
  });
});
