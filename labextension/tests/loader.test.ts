import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { INSERT_EVENT } from "../widgets/insert";
import { MARK } from "../widgets/live_mark";
import widget, { type LoaderModel } from "../widgets/loader";
import { duration } from "../widgets/loader_job";
import { matches } from "../widgets/loader_list";
import { command } from "../widgets/loader_plan";
import type { LoaderEntry, LoaderJob, LoaderPlan, LoaderStop } from "../widgets/shapes";
import type { LoaderPanelTraits } from "../widgets/traits";

const HOSTILE = "<img src=x onerror=alert(1)>";
const MB = 1e6;

class FakeModel {
  sent: Record<string, unknown>[] = [];
  private readonly listeners = new Map<string, Set<(...args: unknown[]) => void>>();
  constructor(private readonly state: LoaderPanelTraits) {}

  get = <K extends keyof LoaderPanelTraits>(name: K): LoaderPanelTraits[K] => this.state[name];
  set = <K extends keyof LoaderPanelTraits>(name: K, value: LoaderPanelTraits[K]): void => {
    this.state[name] = value;
    this.emit(`change:${name}`);
    this.emit("change");
  };
  send = (content: unknown): void => {
    this.sent.push(content as Record<string, unknown>);
  };
  on = (event: string, callback: (...args: never[]) => void): void => {
    if (!this.listeners.has(event)) this.listeners.set(event, new Set());
    this.listeners.get(event)?.add(callback as (...args: unknown[]) => void);
  };
  off = (event: string, callback: (...args: never[]) => void): void => {
    this.listeners.get(event)?.delete(callback as (...args: unknown[]) => void);
  };
  emit(event: string): void {
    for (const listener of this.listeners.get(event) ?? []) listener();
  }
  get listening(): number {
    return [...this.listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }
  said(kind: string): Record<string, unknown>[] {
    return this.sent.filter((message) => message.kind === kind);
  }
}

function entry(source: string, changes: Partial<LoaderEntry> = {}): LoaderEntry {
  const known = { family: "Llama 3.2", size: "1B", kind: "text", date: "2024-09-25", licence: "llama-3.2" };
  const here = { parameters: "1.24 B", gated: true, fits: "fits", quant: "bf16", where: "hub" as const };
  return { source, name: source, ...known, ...here, ...changes };
}

const ENTRIES = [
  entry("cria", {
    where: "bundled",
    family: "",
    size: "",
    parameters: "2.76 M",
    gated: false,
    quant: "float32",
  }),
  entry("meta-llama/Llama-3.2-1B", { name: "llama-3.2-1b" }),
  entry("meta-llama/Llama-3.3-70B", { name: "llama-3.3-70b", fits: "does not fit", quant: "", size: "70B" }),
  entry("meta-llama/Scout", { name: "llama-4-scout", fits: "unknown", quant: "", kind: "mixture" }),
];

function stops(weights: number): LoaderStop[] {
  return [512, 1024, 2048].map((context) => {
    const bytes = [weights, context * 1e4, 5 * MB];
    const total = bytes.reduce((sum, part) => sum + part, 0);
    const verdict = total > 100 * MB ? "does not fit" : "fits";
    return { context, bytes, total, verdict, sentence: verdict === "fits" ? "" : "12 MB more than is free" };
  });
}

function plan(changes: Partial<LoaderPlan> = {}): LoaderPlan {
  return {
    source: "cria",
    name: "cria",
    argument: "cria",
    facts: ["2.76 M parameters"],
    refused: "",
    notes: [],
    devices: [],
    device: "auto",
    memory: 100 * MB,
    parts: [
      { key: "weights", label: "weights" },
      { key: "kv_cache", label: "KV cache" },
      { key: "overhead", label: "other" },
    ],
    quants: [
      { quant: "none", label: "bf16", title: "bfloat16", bits: 16, refused: "", stops: stops(80 * MB) },
      { quant: "nf4", label: "nf4", title: "nf4", bits: 4, refused: "", stops: stops(20 * MB) },
      {
        quant: "int4-torchao",
        label: "int4-torchao",
        title: "",
        bits: 4,
        refused: "needs a GPU",
        stops: stops(19 * MB),
      },
    ],
    ...changes,
  };
}

function open(changes: Partial<LoaderPanelTraits> = {}) {
  const model = new FakeModel({
    catalogue: { entries: ENTRIES, machine: "CPU: 100 MB free", offline: "" },
    choice: { source: "cria", quant: "none", device: "auto", context: 1024 },
    plan: plan(),
    models: { models: [], freed: "" },
    job: {},
    error: "",
    twin: {},
    ...changes,
  });
  const el = document.createElement("div");
  document.body.append(el);
  const close = widget.render({ model: model as unknown as LoaderModel, el });
  const find = <T extends HTMLElement = HTMLElement>(selector: string) => el.querySelector<T>(selector) as T;
  const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
  const search = find<HTMLInputElement>("[role=combobox]");
  const press = (key: string, options = {}) =>
    search.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true, ...options }));
  const type = (text: string) => {
    search.value = text;
    search.dispatchEvent(new Event("input"));
  };
  const options = () =>
    all("[role=option]").map((option) => option.querySelector(".llama-nb-load-name")?.textContent);
  const loadButton = find<HTMLButtonElement>(".llama-nb-primary");
  return { model, el, close, find, all, search, press, type, options, loadButton };
}

beforeEach(() => {
  vi.useFakeTimers();
  document.body.replaceChildren();
});
afterEach(() => vi.useRealTimers());

describe("the list", () => {
  it("shows a skeleton until the kernel has filled it", () => {
    const { model, all, find } = open({ catalogue: {}, choice: {}, plan: {} });
    expect(all(".llama-nb-skeleton").length).toBe(5);
    expect(find("[role=listbox]").getAttribute("aria-busy")).toBe("true");
    model.set("catalogue", { entries: ENTRIES });
    expect(all(".llama-nb-skeleton").length).toBe(0);
    expect(find("[role=listbox]").getAttribute("aria-busy")).toBe("false");
  });

  it("says in groups what is here, what fits, what is too big and what cannot be loaded", () => {
    const { all, options } = open();
    expect(all(".llama-nb-load-heading").map((heading) => heading.textContent)).toEqual([
      "Here already",
      "On the hub: fits here",
      "On the hub: too big for here",
      "On the hub: cannot be loaded yet",
    ]);
    expect(options()).toEqual(["cria", "llama-3.2-1b", "llama-3.3-70b", "llama-4-scout"]);
    expect(all(".llama-nb-load-fit").map((mark) => mark.textContent)).toEqual([
      "✓ float32",
      "✓ bf16",
      "✕",
      "",
    ]);
  });

  it("filters as one types, by name, family, size and place", () => {
    const { type, options, find } = open();
    type("3.3 70B");
    expect(options()).toEqual(["llama-3.3-70b"]);
    type("bundled");
    expect(options()).toEqual(["cria"]);
    type("1.24b");
    expect(options()).toEqual(["llama-3.2-1b", "llama-3.3-70b", "llama-4-scout"]);
    type("banana");
    expect(options()).toEqual([]);
    expect(find(".llama-nb-load-nothing").textContent).toContain("OWNER/NAME");
  });

  it("is a combobox: arrows move, Enter chooses, Escape clears", () => {
    const { model, press, search, type, find, options } = open();
    const active = () =>
      document.getElementById(search.getAttribute("aria-activedescendant") ?? "")?.textContent;
    expect(active()).toContain("cria");
    press("ArrowDown");
    expect(active()).toContain("llama-3.2-1b");
    press("ArrowUp");
    press("ArrowUp");
    expect(active()).toContain("cria");
    press("PageDown");
    expect(active()).toContain("scout");
    type("70b");
    expect(active()).toContain("70b");
    press("Enter");
    expect(model.said("choose")).toEqual([{ kind: "choose", source: "meta-llama/Llama-3.3-70B" }]);
    press("Escape");
    expect(options().length).toBe(4);
    expect(find("[aria-selected=true]").textContent).toContain("cria");
    press("Enter", { ctrlKey: true });
    expect(model.said("choose").length).toBe(1);
  });

  it("keeps JupyterLab's shortcuts away", () => {
    expect(open().find(".llama-nb-loader").getAttribute("data-lm-suppress-shortcuts")).toBe("true");
  });

  it("offers a hub id or a folder as it is typed", () => {
    const { model, type, press, all } = open();
    for (const text of ["someone/model", "./my model", "~/models/x", "C:\\models\\x"]) {
      type(text);
      const last = all("[role=option]").at(-1);
      expect(last?.textContent).toContain(text);
    }
    type("./my model");
    press("Enter");
    expect(model.said("find")).toEqual([{ kind: "find", text: "./my model" }]);
    type("meta-llama/Llama-3.2-1B");
    expect(all("[role=option]").length).toBe(1);
  });

  it("shows hostile names as text", () => {
    const { el, all } = open({
      catalogue: { entries: [entry(HOSTILE, { family: HOSTILE, quant: HOSTILE })] },
    });
    expect(el.querySelector("img")).toBeNull();
    expect(all("[role=option]")[0]?.textContent).toContain(HOSTILE);
  });

  it("matches nothing but what was typed", () => {
    expect(matches(entry("a/b"), "")).toBe(true);
    expect(matches(entry("a/b"), "  LLAMA   3.2 ")).toBe(true);
    expect(matches(entry("a/b"), ".*")).toBe(false);
  });
});

describe("the plan", () => {
  it("moves the memory bar with the slider at once, without the kernel", () => {
    const { model, find } = open();
    const slider = find<HTMLInputElement>("input[type=range]");
    expect(slider.getAttribute("aria-valuetext")).toBe("1,024 tokens");
    expect(find("[role=img]").getAttribute("aria-label")).toContain("95.2 MB of 100 MB");
    slider.value = "2";
    slider.dispatchEvent(new Event("input"));
    expect(find("[role=img]").getAttribute("aria-label")).toContain("105 MB of 100 MB");
    expect(find(".llama-nb-memory > .llama-nb-verdict").textContent).toBe(
      "✕ does not fit: 12 MB more than is free",
    );
    expect(slider.getAttribute("aria-valuetext")).toBe("2,048 tokens");
    expect(model.sent.filter((message) => message.kind !== "hello")).toEqual([]);
    vi.advanceTimersByTime(400);
    expect(model.said("chose")).toEqual([
      { kind: "chose", source: "cria", quant: "none", device: "auto", context: 2048 },
    ]);
  });

  it("changes figures, line and request with the quantisation", () => {
    const { model, find, all, loadButton } = open();
    expect(find(".llama-nb-load-line").textContent).toBe("%llama load cria --context 1024");
    const nf4 = find<HTMLInputElement>("input[value=nf4]");
    nf4.checked = true;
    nf4.dispatchEvent(new Event("change", { bubbles: true }));
    expect(find("[role=img]").getAttribute("aria-label")).toContain("35.2 MB of 100 MB");
    expect(find(".llama-nb-load-line").textContent).toBe("%llama load cria --quant nf4 --context 1024");
    expect(all(".llama-nb-load-total").map((total) => total.textContent)).toEqual([
      "16 bits95.2 MB✓",
      "4 bits35.2 MB✓",
    ]);
    loadButton.click();
    expect(model.said("load")).toEqual([
      { kind: "load", source: "cria", quant: "nf4", device: "auto", context: 1024 },
    ]);
  });

  it("lets one look at what cannot run here, with the reason, and not load it", () => {
    const { find, loadButton } = open();
    const refused = find<HTMLInputElement>("input[value=int4-torchao]");
    expect(refused.disabled).toBe(false);
    expect(refused.getAttribute("aria-description")).toBe("needs a GPU");
    refused.checked = true;
    refused.dispatchEvent(new Event("change", { bubbles: true }));
    expect(find("p.llama-nb-load-refusal").textContent).toBe("needs a GPU");
    expect(loadButton.disabled).toBe(true);
  });

  it("shows gate and licence, links only to pages it knows", () => {
    const gate = {
      sentence: "accept the licence at",
      url: "https://huggingface.co/a/b",
      command: "%llama login",
    };
    const licence = {
      name: "Llama 3.2",
      lines: ["Commercial use is allowed."],
      command: "%llama license x",
      url: "",
    };
    const { find, model, el } = open({ plan: plan({ gate, licence }) });
    expect(find("a").getAttribute("href")).toBe("https://huggingface.co/a/b");
    expect(find("a").getAttribute("rel")).toContain("noopener");
    expect(el.textContent).toContain("%llama license x");
    for (const url of [
      "javascript:alert(1)",
      "https://huggingface.co.evil.example/",
      'https://huggingface.co/"x',
    ]) {
      model.set("plan", plan({ gate: { ...gate, url } }));
      expect(el.querySelector("a")).toBeNull();
      expect(el.textContent).toContain(url);
    }
  });

  it("shows what is hostile as text", () => {
    const hostile = plan({
      name: HOSTILE,
      argument: HOSTILE,
      facts: [HOSTILE],
      notes: [HOSTILE],
      refused: HOSTILE,
    });
    const { el } = open({ plan: hostile });
    expect(el.querySelector("img")).toBeNull();
    expect(el.textContent?.split(HOSTILE).length).toBeGreaterThan(3);
  });

  it("offers nothing to load where a plan refuses or is not there", () => {
    expect(open({ plan: plan({ refused: "It reads images." }) }).loadButton.disabled).toBe(true);
    expect(open({ plan: {}, choice: {} }).loadButton.disabled).toBe(true);
    expect(open({ plan: plan({ quants: [] }) }).loadButton.disabled).toBe(false);
  });

  it("has a device to choose where there are several", () => {
    const devices = [
      { name: "auto", label: "auto: T4" },
      { name: "cpu", label: "cpu: 16 GB free" },
    ];
    const { find, model } = open({ plan: plan({ devices }) });
    const select = find<HTMLSelectElement>("select");
    select.value = "cpu";
    select.dispatchEvent(new Event("change"));
    expect(find(".llama-nb-load-line").textContent).toContain("--device cpu");
    vi.advanceTimersByTime(400);
    expect(model.said("chose")[0]).toMatchObject({ device: "cpu" });
    expect(open().find<HTMLSelectElement>("select").closest("label")?.hidden).toBe(true);
  });

  it("writes the line that does the same", () => {
    const one = plan();
    const [plain, nf4] = one.quants ?? [];
    expect(command(one, plain, plain?.stops.at(-1), "auto")).toBe("%llama load cria");
    expect(command({ ...one, argument: '"my model"' }, nf4, nf4?.stops[0], "cpu")).toBe(
      '%llama load "my model" --quant nf4 --context 512 --device cpu',
    );
    expect(command(one, undefined, undefined, "auto")).toBe("%llama load cria");
  });
});

describe("loading", () => {
  const running: LoaderJob = {
    state: "running",
    source: "cria",
    what: "downloading a/b",
    done: 30 * MB,
    total: 120 * MB,
    unit: "B",
    left_s: 65,
    spent_s: 20,
    cancelling: false,
    notes: [],
  };

  it("shows bytes and the time left, and Cancel in place of Load", () => {
    const { model, find, loadButton, all } = open({ job: running });
    const bar = find("[role=progressbar]");
    expect(bar.getAttribute("aria-valuenow")).toBe("25");
    expect(find(".llama-nb-load-job-text").textContent).toBe(
      "Downloading a/b · 30.0 MB of 120 MB · 25 % · 1 min 05 s left",
    );
    expect(loadButton.hidden).toBe(true);
    const cancel = all("button").find((button) => button.textContent === "Cancel") as HTMLButtonElement;
    cancel.click();
    expect(model.said("cancel").length).toBe(1);
    model.set("job", { ...running, cancelling: true });
    expect(cancel.disabled).toBe(true);
    expect(cancel.textContent).toBe("Cancelling");
    model.set("job", { ...running, state: "cancelled" });
    expect(find(".llama-nb-load-result").textContent).toContain("Cancelled");
    expect(loadButton.hidden).toBe(false);
  });

  it("says what it does where nothing can be counted", () => {
    const { find } = open({
      job: { ...running, what: "starting PyTorch", done: 0, total: null, left_s: null },
    });
    expect(find("[role=progressbar]").hasAttribute("aria-valuenow")).toBe(false);
    expect(find(".llama-nb-load-job-text").textContent).toBe("Starting PyTorch");
  });

  it("hands the focus over from Load to Cancel and back", () => {
    const { model, loadButton } = open();
    loadButton.focus();
    model.set("job", running);
    expect(document.activeElement?.textContent).toBe("Cancel");
    model.set("job", { ...running, state: "done", model: "cria", bytes: 1 });
    expect(document.activeElement).toBe(loadButton);
  });

  it("says the end once, with the next step, and inserts a cell", () => {
    const asked: unknown[] = [];
    document.body.addEventListener(
      INSERT_EVENT,
      (event) => {
        asked.push((event as CustomEvent).detail);
        event.preventDefault();
      },
      { once: true },
    );
    const { model, find, all } = open({ job: running });
    model.set("job", { ...running, state: "done", model: "cria", bytes: 11 * MB, spent_s: 1.5 });
    expect(find(".llama-nb-load-loaded").textContent).toContain("cria is loaded: 11.0 MB in 1.5 s");
    expect(document.getElementById("llama-nb-announcer")?.textContent).toBe("cria is loaded");
    all("button")
      .find((button) => button.textContent === "Insert")
      ?.click();
    expect(asked).toEqual(["%%llama\n"]);
  });

  it("names the other magic for a base model", () => {
    const { find } = open({ job: { ...running, state: "done", model: "stories", chats: false } });
    expect(find(".llama-nb-load-loaded code").textContent).toBe("%%llama complete");
  });

  it("shows an error with what to do, as text", () => {
    const { model, el, find } = open({ job: running });
    model.set("job", { ...running, state: "failed", message: HOSTILE, hint: "Try `%llama load cria`" });
    expect(find("[role=alert]").textContent).toBe(`${HOSTILE}Try %llama load cria`);
    expect(find("[role=alert] code").textContent).toBe("%llama load cria");
    expect(el.querySelector("img")).toBeNull();
  });

  it("shows an error of the panel's own until the next command", () => {
    const { model, find } = open();
    model.set("error", "cria is in use.\nWait for it.");
    expect(find(".llama-nb-load-error [role=alert]").textContent).toBe("cria is in use.Wait for it.");
    model.set("error", "");
    expect(find(".llama-nb-load-error").textContent).toBe("");
  });

  it("says when the kernel is silent", () => {
    const { model, loadButton, find } = open();
    loadButton.click();
    expect(find(".llama-nb-load-waiting-kernel").textContent).toBe("");
    vi.advanceTimersByTime(1600);
    expect(find(".llama-nb-load-waiting-kernel").textContent).toContain("not answered");
    model.set("job", running);
    expect(find(".llama-nb-load-waiting-kernel").textContent).toBe("");
  });

  it("tells time as people do", () => {
    expect([0.01, 1.54, 42, 59.7, 65, 3700, Number.NaN].map(duration)).toEqual([
      "0.1 s",
      "1.5 s",
      "42 s",
      "1 min 00 s",
      "1 min 05 s",
      "1 h 01 min",
      "",
    ]);
  });
});

describe("loaded models", () => {
  const held = {
    models: [
      { name: "cria", detail: "float32 on cpu", bytes: 11 * MB, current: true },
      { name: HOSTILE, detail: HOSTILE, bytes: 1, current: false },
    ],
    freed: "",
  };

  it("can be used and unloaded, and hostile names are text", () => {
    const { model, all, el } = open({ models: held });
    const buttons = all(".llama-nb-load-held button");
    expect(buttons.map((button) => button.getAttribute("aria-label"))).toEqual([
      "Unload cria",
      `Use ${HOSTILE}`,
      `Unload ${HOSTILE}`,
    ]);
    buttons[0]?.click();
    buttons[1]?.click();
    expect(model.said("unload")).toEqual([{ kind: "unload", name: "cria" }]);
    expect(model.said("use")).toEqual([{ kind: "use", name: HOSTILE }]);
    expect(el.querySelector("img")).toBeNull();
  });

  it("keeps the focus in the list when a model goes, and says what was freed", () => {
    const { model, all, find } = open({ models: held });
    all(".llama-nb-load-held button")[0]?.focus();
    model.set("models", { models: held.models.slice(1), freed: "cria unloaded: 11.0 MB given back." });
    expect(document.activeElement?.textContent).toBe("Unload");
    expect(find(".llama-nb-load-freed").textContent).toContain("11.0 MB");
    expect(find(".llama-nb-load-freed").getAttribute("role")).toBe("status");
  });
});

describe("a view", () => {
  it("marks itself as live, greets the kernel, and leaves nothing behind", () => {
    const { model, el, close } = open();
    expect(el.hasAttribute(MARK)).toBe(true);
    expect(model.said("hello").length).toBe(1);
    close();
    expect(el.hasAttribute(MARK)).toBe(false);
    expect(el.childNodes.length).toBe(0);
    expect(model.listening).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("says offline plainly", () => {
    const { find, model } = open();
    expect(find(".llama-nb-load-offline").hidden).toBe(true);
    model.set("catalogue", { entries: ENTRIES, offline: "Offline: nothing can be downloaded now." });
    expect(find(".llama-nb-load-offline").hidden).toBe(false);
  });
});
