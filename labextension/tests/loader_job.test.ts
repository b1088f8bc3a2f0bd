import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { INSERT_EVENT } from "../widgets/insert";
import { duration } from "../widgets/loader_job";
import type { LoaderJob } from "../widgets/shapes";
import { HOSTILE, MB, open } from "./loader_panel";

beforeEach(() => {
  vi.useFakeTimers();
  document.body.replaceChildren();
});
afterEach(() => vi.useRealTimers());

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
