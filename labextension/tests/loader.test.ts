import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MARK } from "../widgets/live_mark";
import { matches } from "../widgets/loader_list";
import { command } from "../widgets/loader_plan";
import { ENTRIES, entry, HOSTILE, open, plan } from "./loader_panel";

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
