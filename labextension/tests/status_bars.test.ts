import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MARK } from "../widgets/live_mark";
import statusBars, { AGAIN_MS, EVERY_MS, SILENT_MS } from "../widgets/status_bars";

const GB = 1e9;
let seen: (isIntersecting: boolean) => void;
let watching: boolean;

beforeEach(() => {
  vi.useFakeTimers();
  watching = true;
  vi.stubGlobal(
    "IntersectionObserver",
    class {
      constructor(tell: (entries: { isIntersecting: boolean }[]) => void) {
        seen = (isIntersecting) => tell([{ isIntersecting }]);
      }
      observe() {}
      disconnect() {
        watching = false;
      }
    },
  );
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const ram = (others: number) => ({
  name: "RAM",
  capacity: 16 * GB,
  parts: [
    { look: "weights", label: "cria", bytes: 2 * GB },
    { look: "no such look", label: "others", bytes: others },
  ],
});

function show() {
  const state: Record<string, unknown> = {
    memory: { bars: [ram(4 * GB)] },
    tables: [{ t: "p", c: ["No model is loaded."] }],
    error: "",
    twin: {},
  };
  const listeners = new Map<string, Set<(message?: unknown) => void>>();
  const send = vi.fn();
  const model = {
    get: (name: string) => state[name],
    send,
    on: (event: string, callback: () => void) =>
      listeners.set(event, (listeners.get(event) ?? new Set()).add(callback)),
    off: (event: string, callback: () => void) => listeners.get(event)?.delete(callback),
  };
  const emit = (event: string, message?: unknown) => {
    for (const callback of listeners.get(event) ?? []) callback(message);
  };
  const el = document.createElement("div");
  document.body.replaceChildren(el);
  const end = statusBars.render({ model: model as never, el });
  const set = (name: string, value: unknown) => {
    state[name] = value;
    emit(`change:${name}`);
  };
  const live = () => el.querySelector("[role=status]")?.textContent ?? "";
  const answer = () => emit("msg:custom", { kind: "sampled" });
  return { el, end, set, send, live, answer, listeners };
}

function hide(hidden: boolean) {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}

describe("the live status", () => {
  it("draws bars and tables, and marks itself as live", () => {
    const { el } = show();
    expect(el.querySelector("[role=img]")?.getAttribute("aria-label")).toBe(
      "RAM: 6.00 GB of 16.0 GB, 10.0 GB free",
    );
    expect(el.querySelectorAll(".llama-nb-look-other").length).toBeGreaterThan(0);
    expect(el.querySelector("p")?.textContent).toBe("No model is loaded.");
    expect(el.hasAttribute(MARK)).toBe(true);
  });

  it("moves its bars in place", () => {
    const { el, set } = show();
    const bar = el.querySelector(".llama-nb-part");
    set("memory", { bars: [ram(8 * GB)] });
    expect(el.querySelector(".llama-nb-part")).toBe(bar);
    expect(el.textContent).toContain("10.0 GB of 16.0 GB");
    set("memory", { bars: [ram(GB), { ...ram(GB), name: "a GPU" }] });
    expect(el.querySelectorAll("[role=img]").length).toBe(2);
  });

  it("asks for nothing until it is seen, then about every two seconds", () => {
    const { send, answer } = show();
    vi.advanceTimersByTime(10_000);
    expect(send).not.toHaveBeenCalled();
    seen(true);
    expect(send).toHaveBeenCalledTimes(1);
    expect(send).toHaveBeenCalledWith({ kind: "sample" });
    for (let round = 0; round < 5; round += 1) {
      answer();
      vi.advanceTimersByTime(EVERY_MS);
    }
    expect(send).toHaveBeenCalledTimes(6);
  });

  it("stops when it is scrolled away or the page is hidden, and goes on after", () => {
    const { send, answer } = show();
    seen(true);
    answer();
    seen(false);
    vi.advanceTimersByTime(60_000);
    expect(send).toHaveBeenCalledTimes(1);
    seen(true);
    expect(send).toHaveBeenCalledTimes(2);
    answer();
    hide(true);
    vi.advanceTimersByTime(60_000);
    expect(send).toHaveBeenCalledTimes(2);
    hide(false);
    expect(send).toHaveBeenCalledTimes(3);
  });

  it("says that the kernel is busy or gone, how old its figures are, and asks no queue full", () => {
    const { send, live, answer } = show();
    seen(true);
    vi.advanceTimersByTime(SILENT_MS - 1000);
    expect(live()).toBe("");
    vi.advanceTimersByTime(4000);
    expect(live()).toMatch(/^No answer: the kernel is busy or gone. These figures are \d+ s old.$/);
    expect(send).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(AGAIN_MS);
    expect(send).toHaveBeenCalledTimes(2);
    expect(live()).toContain("busy or gone");
    answer();
    expect(live()).toBe("");
  });

  it("shows an error and asks again", () => {
    const { el, send, set } = show();
    seen(true);
    set("error", "ZeroDivisionError: division by zero");
    expect(el.querySelector<HTMLElement>(".llama-nb-error")?.hidden).toBe(false);
    vi.advanceTimersByTime(EVERY_MS);
    expect(send).toHaveBeenCalledTimes(2);
    set("error", "");
    expect(el.querySelector<HTMLElement>(".llama-nb-error")?.hidden).toBe(true);
  });

  it("takes tables from the kernel as text", () => {
    const { el, set } = show();
    set("tables", ["<img src=x onerror=alert(1)>", { t: "script", c: ["alert(1)"] }]);
    expect(el.querySelector("img, script")).toBeNull();
    expect(el.textContent).toContain("<img");
  });

  it("leaves nothing behind", () => {
    const { el, end, send, listeners } = show();
    seen(true);
    end();
    vi.advanceTimersByTime(60_000);
    hide(false);
    expect(send).toHaveBeenCalledTimes(1);
    expect(watching).toBe(false);
    expect(el.childElementCount).toBe(0);
    expect(el.hasAttribute(MARK)).toBe(false);
    expect([...listeners.values()].every((callbacks) => callbacks.size === 0)).toBe(true);
  });
});
