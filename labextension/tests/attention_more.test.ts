import { afterEach, describe, expect, it, vi } from "vitest";
import { closeAll, HEAD, HOSTILE, open, VIEW } from "./attention_explorer";

vi.mock("../widgets/import_text", () => ({ importText: () => import("../widgets/attention_more") }));

afterEach(closeAll);

const OTHER = { trace: "t1", layer: 0, head: 2 };

describe("comparing heads", () => {
  it("begins with the next head, changes it, shows the difference, and ends", async () => {
    const { button, model, find, drawn } = await open();
    button("Compare").click();
    await drawn();
    expect(model.said("compare")).toEqual([{ kind: "compare", ...OTHER }]);
    model.set("view", { ...VIEW, other: OTHER, mode: "two", changed: 2 });
    await drawn();
    expect(find(".llama-nb-att").dataset.mode).toBe("two");
    expect(find(".llama-nb-att-caption").textContent).toBe("L0 H1");
    const head = find<HTMLSelectElement>("[aria-label='Its head']");
    head.value = "3";
    head.dispatchEvent(new Event("change"));
    expect(model.said("compare").at(-1)).toEqual({ kind: "compare", trace: "t1", layer: 0, head: 3 });
    button("Difference").click();
    expect(model.said("mode")).toEqual([{ kind: "mode", mode: "difference" }]);
    button("Compare").click();
    await drawn();
    expect(model.said("compare").at(-1)).toEqual({ kind: "compare", off: true });
  });

  it("names another text without trusting it, and only offers the heads that it has", async () => {
    const { button, model, find, all, el, drawn } = await open();
    button("Compare").click();
    await drawn();
    const trace = find<HTMLSelectElement>("[aria-label='Text to compare with']");
    expect([...trace.options].map((one) => one.textContent)).toEqual(["this text", HOSTILE]);
    trace.value = "t2";
    trace.dispatchEvent(new Event("change"));
    expect(model.said("compare").at(-1)).toEqual({ kind: "compare", trace: "t2", layer: 0, head: 1 });
    model.set("view", { ...VIEW, other: { trace: "t2", layer: 0, head: 1 }, mode: "two", changed: 2 });
    await drawn();
    expect(all("[aria-label='Its head'] option").length).toBe(2);
    expect(el.querySelector("img")).toBeNull();
    const text = find<HTMLInputElement>("[aria-label='Another text to read']");
    text.value = "another";
    text.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
    expect(model.said("prompt")).toEqual([{ kind: "prompt", text: "another" }]);
  });

  it("has the cross-hair on both maps of one text, and of another text on its own", async () => {
    const { all, model, press, drawn, rest, find } = await open({
      view: { ...VIEW, other: OTHER, mode: "two" },
    });
    const crosses = () =>
      all(".llama-nb-att-map").map((map) => map.querySelectorAll(".llama-nb-att-cross").length);
    const second = () => all(".llama-nb-att-map")[1] as HTMLElement;
    press(second(), "ArrowUp");
    await drawn();
    expect(crosses()).toEqual([2, 2]);
    model.set("view", { ...VIEW, other: { trace: "t2", layer: 0, head: 1 }, mode: "two", changed: 2 });
    model.tell("tokens", { trace: "t2", start: 0, texts: ["x", "y", "z"], special: [] });
    await drawn();
    expect(crosses()).toEqual([0, 0]);
    press(second(), "ArrowUp");
    press(second(), "Enter");
    await rest();
    await drawn();
    expect(crosses()).toEqual([0, 2]);
    expect(find(".llama-nb-att-readout").textContent).toMatch(/^[xyz] \d reads/);
    expect(model.said("query")).toEqual([]);
    expect(model.said("value").at(-1)?.second).toBe(true);
  });

  it("is open again after a reload", async () => {
    const { find, drawn, model } = await open({ view: { ...VIEW, other: OTHER, mode: "difference" } });
    await drawn();
    expect(find(".llama-nb-att").dataset.pane).toBe("compare");
    expect(find(".llama-nb-att-caption").textContent).toBe("L0 H1 − L0 H2");
    expect(model.said("compare").length).toBe(0);
  });
});

describe("turning parts off", () => {
  it("sends the parts, shows what changes, and turns them on again", async () => {
    const { button, model, find, all, drawn, el } = await open();
    button("Turn off").click();
    await drawn();
    all("[role=switch]")[0]?.click();
    expect(model.said("off").at(-1)).toEqual({ kind: "off", parts: [[0, 1]], mode: "zero" });
    model.set("view", { ...VIEW, off: [[0, 1]], changed: 2 });
    all("[role=switch]")[2]?.click();
    expect(model.said("off").at(-1)).toEqual({
      kind: "off",
      parts: [
        [0, 1],
        [0, "mlp"],
      ],
      mode: "zero",
    });
    model.set("effect", {
      ...{ running: false, off: ["L0 H1"], position: 4, kl: 0.5, loss_before: 1, loss_after: 1.25 },
      before: [
        [HOSTILE, 0.8],
        [" b", 0.1],
      ],
      after: [[" b", 0.6]],
      ...{ text_before: `${HOSTILE} before`, text_after: "after", error: "" },
    });
    await drawn();
    expect(find(".llama-nb-att-figures").textContent).toBe(
      "KL 0.5 nats · loss of this text 1 → 1.25 nats a token",
    );
    expect(all(".llama-nb-att-effect tr").map((row) => row.textContent)).toEqual([
      "after ·timeas it isturned off",
      "<img·src=x·onerror=alert(1)>80 %–",
      "·b10 %60 %",
    ]);
    expect(all(".llama-nb-att-written").map((line) => line.textContent)).toEqual([
      `as it is ${HOSTILE} before`,
      "turned off after",
    ]);
    expect([el.querySelector("img"), find("[data-head='1']").dataset.off]).toEqual([null, "true"]);
    expect(button("1 off").getAttribute("aria-pressed")).toBe("true");
    button("All on").click();
    expect(model.said("off").at(-1)).toEqual({ kind: "off", parts: [], mode: "zero" });
  });

  it("says why it could not, and is no offer when the model is gone", async () => {
    const { button, model, find, drawn } = await open({ view: { ...VIEW, off: [[0, "layer"]] } });
    button("1 off").click();
    model.set("effect", { running: false, error: "cria is not loaded any more." });
    await drawn();
    expect(find(".llama-nb-att-effect .llama-nb-error").textContent).toContain("not loaded");
    model.set("view", { ...VIEW, changed: 3 });
    model.set("head", { ...HEAD, alive: false });
    await drawn();
    expect(button("Turn off").disabled).toBe(true);
    expect(find(".llama-nb-att-what").textContent).toContain("model unloaded");
  });
});

describe("taking out", () => {
  it("copies weights that the kernel sends, and the list", async () => {
    const writeText = vi.fn(() => Promise.resolve());
    vi.stubGlobal("navigator", { ...navigator, clipboard: { writeText } });
    const { button, model, drawn, rest, find } = await open();
    button("Export").click();
    await drawn();
    button("Copy weights").click();
    expect(model.said("data").length).toBe(1);
    model.tell("data", { number: 0, text: "query\tkey\n1\t0\n" });
    await rest();
    model.answerLinks([[3, 0.6]]);
    button("Copy links").click();
    await drawn();
    expect(writeText.mock.calls).toEqual([
      ["query\tkey\n1\t0\n"],
      [`token\ttext\tweight\n3\t"${HOSTILE}"\t0.6`],
    ]);
    expect(find(".llama-nb-att-export [role=status]").textContent).toContain("copied");
    vi.unstubAllGlobals();
  });

  it("closes with Escape", async () => {
    const { button, find, press, drawn } = await open();
    button("Export").click();
    await drawn();
    press(button("SVG"), "Escape");
    await drawn();
    expect(find(".llama-nb-att").dataset.pane).toBe("");
  });
});
