import { afterEach, describe, expect, it, vi } from "vitest";
import { INSERT_EVENT } from "../widgets/insert";
import { asData, axisEnd } from "../widgets/sampling_chart";
import { HOSTILE, open, view } from "./sampling_lab";

afterEach(() => document.body.replaceChildren());

describe("the laboratory", () => {
  it("draws tokens, stages, bars and sliders, and texts of models stay text", () => {
    const { el, all, find } = open();
    expect(all(".llama-nb-lab-strip [role=option]").length).toBe(4);
    expect(find(".llama-nb-lab-strip [aria-selected=true]").textContent).toContain("onerror");
    expect(all("[data-stage]").map((card) => card.dataset.stage)).toEqual([
      "logits",
      "temperature",
      "top_k",
      "top_p",
    ]);
    expect(all("tbody tr").length).toBe(4);
    expect(find("tbody tr:last-child").textContent).toContain("2,045 others");
    expect(all("input[type=range]").length).toBe(3);
    expect(el.querySelector("img")).toBeNull();
    expect(find(".llama-nb-lab-caption").textContent).toContain("stands here: 20 % → 30 %");
  });

  it("compares before and after on one scale, and says who ruled a token out", () => {
    const { all, find } = open();
    const widths = (kind: string) => all(`.llama-nb-lab-bar-${kind}`).map((bar) => bar.style.width);
    expect(axisEnd(0.7)).toBe(1);
    expect(widths("before")).toEqual(["50.00%", "20.00%", "10.00%", "20.00%"]);
    expect(widths("after")).toEqual(["70.00%", "30.00%", "0.00%", "0.00%"]);
    expect(find("tbody tr:nth-child(3) .llama-nb-lab-after").textContent).toBe("✕ top-p");
    expect(all("[data-chosen=true]").length).toBe(1);
  });

  it("shows the distribution behind a stage that is picked, and behind all again", () => {
    const { find, all, model } = open();
    const shown = () => all(".llama-nb-lab-bar-after").map((bar) => bar.style.width);
    const card = find("[data-stage=temperature]");
    card.dispatchEvent(new PointerEvent("pointerdown", { bubbles: true, button: 0 }));
    card.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
    expect(shown().slice(0, 3)).toEqual(["60.00%", "25.00%", "5.00%"]);
    expect(find("thead .llama-nb-lab-after").textContent).toBe("temperature");
    expect(card.getAttribute("aria-selected")).toBe("true");
    model.set("view", view());
    expect(shown()[0]).toBe("60.00%");
    card.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
    expect(shown()[0]).toBe("70.00%");
  });

  it("moves a stage with Alt and an arrow, keeps the focus on it, and tells the kernel the order", () => {
    const { find, press, model, all } = open();
    press(find("[data-stage=top_p]"), "ArrowLeft", { altKey: true });
    expect(model.said("order")).toEqual([{ kind: "order", names: ["temperature", "top_p", "top_k"] }]);
    expect(document.activeElement).toBe(find("[data-stage=top_p]"));
    expect(all("[data-stage]")[2]?.dataset.stage).toBe("top_p");
    press(find("[data-stage=logits]"), "ArrowRight", { altKey: true });
    expect(model.said("order").length).toBe(1);
  });

  it("keeps a card where it was put while an older order is answered, and follows the kernel in the end", () => {
    vi.useFakeTimers();
    const { find, press, model, all } = open();
    const order = () => all("[data-stage]").map((card) => card.dataset.stage);
    press(find("[data-stage=top_p]"), "ArrowLeft", { altKey: true });
    press(find("[data-stage=top_p]"), "ArrowLeft", { altKey: true });
    model.set("view", view());
    expect(order()).toEqual(["logits", "top_p", "temperature", "top_k"]);
    vi.advanceTimersByTime(2000);
    expect(order()).toEqual(["logits", "temperature", "top_k", "top_p"]);
    vi.useRealTimers();
  });

  it("walks through the cards with arrows, one of them in the tab order", () => {
    const { find, press, all } = open();
    press(find("[data-stage=logits]"), "ArrowRight");
    expect(document.activeElement).toBe(find("[data-stage=temperature]"));
    expect(all("[data-stage][tabindex='0']").length).toBe(1);
  });

  it("asks for a place, for the one behind the last token too", () => {
    const { all, model } = open();
    const chips = all(".llama-nb-lab-strip [role=option]");
    chips[0]?.click();
    chips[3]?.click();
    expect(model.said("look")).toEqual([
      { kind: "look", position: 0 },
      { kind: "look", position: 3 },
    ]);
  });

  it("draws, writes on, from another token too, and takes that back", () => {
    const { button, model, find, all } = open();
    button("1,000 draws").click();
    expect(model.said("draw")).toEqual([{ kind: "draw", on: true }]);
    model.set("view", view({ draws: { n: 1000, counts: [690, 310, 0], others: 0, distinct: 2 } }));
    expect(button("1,000 draws").getAttribute("aria-pressed")).toBe("true");
    expect(find("tbody tr td:last-child").title).toBe("690 drawn, 700 expected");
    expect(all(".llama-nb-lab-dot").length).toBe(2);
    (find("tbody tr:first-child button") as HTMLButtonElement).click();
    expect(model.said("ahead")).toEqual([{ kind: "ahead", on: true, token: 5 }]);
    model.set("ahead", { state: "done", text: " a time", first: HOSTILE, token: 5, seed: 3 });
    expect(find(".llama-nb-lab-ahead").textContent).toContain(`…Once${HOSTILE} a time`);
    expect(find("tbody tr:first-child button").getAttribute("aria-pressed")).toBe("true");
    (find("tbody tr:first-child button") as HTMLButtonElement).click();
    expect(model.said("ahead").at(-1)).toEqual({ kind: "ahead", on: true, token: null });
    model.set("ahead", {});
    expect(find(".llama-nb-lab-ahead").hidden).toBe(true);
  });

  it("takes presets, goes back, applies, and inserts the line", () => {
    const { find, button, model, el } = open();
    const select = find<HTMLSelectElement>("select");
    for (const value of ["creative", "↺", "the session's"]) {
      select.value = value;
      select.dispatchEvent(new Event("change"));
    }
    expect(model.said("preset")).toEqual([{ kind: "preset", name: "creative" }]);
    expect([model.said("reset").length, model.said("session").length]).toEqual([1, 1]);
    button("Apply").click();
    expect(model.said("apply").length).toBe(1);
    const inserted: unknown[] = [];
    el.addEventListener(INSERT_EVENT, (event) => {
      inserted.push((event as CustomEvent).detail);
      event.preventDefault();
    });
    button("Insert").click();
    expect(inserted).toEqual(["%llama set --temperature 0.8\n"]);
    model.set("view", view({ applied: true, line: "", changed: false }));
    expect([button("Apply").disabled, button("Reset").disabled, button("Insert").hidden]).toEqual([
      true,
      true,
      true,
    ]);
    expect(find(".llama-nb-lab-line").textContent).toContain("The session uses them");
  });

  it("says in the drawer how many are on, and why something has no effect", () => {
    const { find, model } = open();
    model.set("view", view({ values: { typical_p: 0.5 }, idle: { top_p: "it is greedy" } }));
    expect(find("summary").textContent).toBe("More (1 on)");
    expect(find(".llama-nb-slider-reasons").textContent).toContain("top-p (it is greedy)");
  });

  it("says when the model is gone, and offers a newer reply", () => {
    const { model, find, button } = open();
    expect(button("Newest reply").hidden).toBe(true);
    model.set("place", { ...model.get("place"), newer: true });
    button("Newest reply").click();
    expect(model.said("newest").length).toBe(1);
    model.set("place", { ...model.get("place"), alive: false });
    expect(find(".llama-nb-lab-head").textContent).toContain("unloaded");
  });

  it("copies its data as a table", () => {
    const lines = asData(view()).split("\n");
    expect(lines[0]?.split("\t")).toEqual([
      "token",
      "id",
      "logits",
      "temperature",
      "top_p",
      "after",
      "ruled out by",
    ]);
    expect(lines[3]).toBe(`"\\n"\t9\t0.1\t0.05\t0\t0\ttop_p`);
    expect(lines.length).toBe(5);
  });

  it("is empty before the first view, shows errors as text, and lets go of everything", () => {
    const { model, find, close, el } = open({ view: {}, place: {}, sampling: {} });
    expect(find(".llama-nb-lab").dataset.empty).toBe("true");
    model.set("error", HOSTILE);
    expect(find("[role=alert]").textContent).toBe(HOSTILE);
    close();
    expect([model.listening, el.childElementCount]).toEqual([0, 0]);
  });
});
