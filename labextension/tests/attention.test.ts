import { afterEach, describe, expect, it, vi } from "vitest";
import { closeAll, HEAD, HOSTILE, open, TEXTS, VIEW } from "./attention_explorer";

vi.mock("../widgets/import_text", () => ({ importText: () => import("../widgets/attention_more") }));

afterEach(closeAll);

describe("the attention explorer", () => {
  it("draws heads behind their brackets, the text, and asks what the last token reads", async () => {
    const { all, find, el, model, rest } = await open();
    expect(all(".llama-nb-att-group").map((group) => group.getAttribute("aria-label"))).toEqual([
      "Heads that share keys and values 0",
      "Heads that share keys and values 1",
    ]);
    expect(all(".llama-nb-att-thumb").map((one) => one.getAttribute("aria-selected"))).toEqual([
      "false",
      "true",
      "false",
      "false",
    ]);
    expect(find(".llama-nb-att-what").textContent).toBe("cria · text · 5 tokens, 2 written");
    expect(all(".llama-nb-att-tokens [role=option]").map((chip) => chip.dataset.made)).toEqual([
      "false",
      "false",
      "false",
      "true",
      "true",
    ]);
    expect(all(".llama-nb-att-tokens .llama-nb-pill").length).toBe(1);
    expect(el.querySelector("img")).toBeNull();
    await rest();
    expect(model.said("row").map(({ query }) => query)).toEqual([4]);
    expect(model.said("hello")).toEqual([{ kind: "hello", whole: true }]);
  });

  it("lists what a token reads with bars, draws arcs, and goes on to what was read", async () => {
    const { all, find, model, drawn, rest } = await open();
    await rest();
    model.answerLinks(
      [
        [3, 0.6],
        [0, 0.3],
        [4, 0.06],
      ],
      0.04,
    );
    await drawn();
    const rows = all(".llama-nb-att-link");
    expect(rows.map((row) => row.textContent)).toEqual([
      "<img·src=x·oner…30.6000",
      "<|begin_of_text…00.3000",
      "·time40.0600",
    ]);
    expect(rows.map((row) => row.querySelector<HTMLElement>(".llama-nb-att-fill")?.style.width)).toEqual([
      "100%",
      "50%",
      "10%",
    ]);
    expect(find(".llama-nb-att-rest").textContent).toBe("all others: 0.0400");
    expect(all(".llama-nb-att-arc").length).toBe(3);
    expect(all(".llama-nb-att-tokens [role=option]")[0]?.title).toContain("is read with 0.3000");
    rows[0]?.click();
    await rest(160);
    expect(model.said("query")).toEqual([{ kind: "query", query: 3 }]);
    expect(model.said("row").map(({ query }) => query)).toEqual([4, 3]);
    expect(find(".llama-nb-att-tokens [aria-selected=true]").title).toContain("token 3");
  });

  it("turns the links round, and drops an answer to what nobody asks any more", async () => {
    const { find, button, model, drawn, rest, all } = await open();
    await rest();
    const stale = model.said("row")[0];
    button("read by").click();
    await rest();
    expect(model.said("column").map(({ key }) => key)).toEqual([4]);
    model.tell("row", {
      number: stale?.number,
      layer: 0,
      head: 1,
      query: 4,
      links: [[1, 1]],
      tokens: [],
      rest: 0,
      second: false,
    });
    await drawn();
    expect(all(".llama-nb-att-link").length).toBe(0);
    model.answerLinks([[4, 0.5]]);
    await drawn();
    expect(find(".llama-nb-att-who").textContent).toContain("is read by");
    expect(all(".llama-nb-att-link").length).toBe(1);
  });

  it("takes the texts of far tokens from the answer, and asks for none", async () => {
    const { find, model, drawn, rest } = await open({ head: { ...HEAD, tokens: 9000 } });
    await rest();
    const before = model.said("tokens").length;
    model.answerLinks([[2345, 0.5]], 0, [[2345, HOSTILE, true]]);
    await drawn();
    await rest();
    expect(find(".llama-nb-att-link").textContent).toContain("<img·src=x");
    expect(find(".llama-nb-att-link .llama-nb-pill")).not.toBeNull();
    expect(find(".llama-nb-att-link img")).toBeNull();
    expect(model.said("tokens").length).toBe(before);
  });

  it("walks through heads and layers by keys, asking once and before any question about the head", async () => {
    const { find, press, model, rest, all } = await open();
    await rest();
    const list = () => find(".llama-nb-att-thumb[tabindex='0']");
    press(list(), "ArrowRight");
    press(find(".llama-nb-att-thumb[data-head='2']"), "ArrowRight");
    await rest(160);
    expect(model.said("look")).toEqual([{ kind: "look", layer: 0, head: 3 }]);
    const kinds = model.sent.map(({ kind }) => kind);
    expect(kinds.indexOf("look")).toBeLessThan(kinds.lastIndexOf("row"));
    // An older choice that the kernel repeats is not taken back.
    model.set("view", { ...VIEW, changed: 2 });
    await rest(20);
    expect(find("[role=listbox] [aria-selected=true]").dataset.head).toBe("3");
    press(find(".llama-nb-att-thumb[data-head='3']"), "PageDown");
    await rest(160);
    expect(model.said("look").at(-1)).toEqual({ kind: "look", layer: 1, head: 3 });
    expect(find<HTMLSelectElement>("select[aria-label=Layer]").value).toBe("1");
    expect(all("select[aria-label=Layer] option").map((one) => one.textContent)).toEqual([
      "Layer 0",
      "Layer 1 · sliding",
      "Layer 3",
    ]);
  });

  it("follows the kernel to another head, as when a cell goes on", async () => {
    const { model, drawn, find } = await open();
    model.set("view", { ...VIEW, layer: 3, head: 0, query: 2, changed: 2 });
    await drawn();
    expect(find("[role=listbox] [aria-selected=true]").dataset.head).toBe("0");
    expect(find(".llama-nb-att-tokens [aria-selected=true]").title).toContain("token 2");
  });

  it("orders heads by a score and steps from the best to the next", async () => {
    const { find, all, model, rest, button } = await open();
    const sort = find<HTMLSelectElement>("select[aria-label='Find heads by']");
    sort.value = "induction";
    sort.dispatchEvent(new Event("change"));
    await rest(160);
    expect(model.said("look").at(-1)).toEqual({ kind: "look", layer: 1, head: 0 });
    expect(all(".llama-nb-att-thumb").map((one) => one.dataset.head)).toEqual(["0", "1", "3", "2"]);
    expect(all(".llama-nb-att-score").map((one) => one.textContent)).toEqual(["0.9", "0.5", "0.05", ""]);
    expect(find(".llama-nb-att-rank").textContent).toContain("0.9 · 1 of 11");
    const worse = find<HTMLButtonElement>("[aria-label='Head with the next lower score']");
    worse.click();
    await rest(160);
    expect(model.said("look").at(-1)).toEqual({ kind: "look", layer: 3, head: 3 });
    expect(button("‹")).toBeDefined();
  });

  it("asks for scores where there are none", async () => {
    const { find, model } = await open({ head: { ...HEAD, scores: [], scored: "none" } });
    const sort = find<HTMLSelectElement>("select[aria-label='Find heads by']");
    sort.value = "scores";
    sort.dispatchEvent(new Event("change"));
    expect(model.said("scores").length).toBe(1);
  });

  it("moves a cross-hair over the map by keys, tells the exact weight, zooms, and keeps the row", async () => {
    const { find, press, model, rest, drawn } = await open();
    const map = find(".llama-nb-att-map");
    for (const key of ["ArrowUp", "ArrowUp", "ArrowLeft"]) press(map, key);
    await rest(80);
    expect(find(".llama-nb-att-exact").textContent).toMatch(/^≈ /);
    const { row, col, number } = model.said("value").at(-1) ?? {};
    expect([row, col]).toEqual([3, 0]);
    model.tell("value", { number, row, col, value: 0.12345, second: false });
    await drawn();
    expect(find(".llama-nb-att-exact").textContent).toBe("0.1235");
    expect(find(".llama-nb-att-readout").textContent).toContain("reads");
    press(map, "Enter");
    await rest();
    expect(model.said("query").at(-1)).toEqual({ kind: "query", query: 3 });
    press(map, "Escape");
    await drawn();
    expect(find(".llama-nb-att-readout").textContent).toContain("Arrows move");
  });

  it("asks for the window of a zoomed place once, at long texts only", async () => {
    const long = { ...HEAD, tokens: 8192, prompt: 8192 };
    const view = { ...VIEW, rows: [0, 8192], cols: [0, 8192], query: 8191 } as typeof VIEW;
    const { find, press, model, rest } = await open({ head: long, view });
    const map = find(".llama-nb-att-map");
    for (let times = 0; times < 5; times++) press(map, "+");
    await rest(160);
    expect(model.said("zoom").length).toBe(1);
    const [first, end] = (model.said("zoom")[0]?.rows ?? []) as number[];
    expect(end).toBe(8192);
    expect((end ?? 0) - (first ?? 0)).toBeLessThanOrEqual(1024);
    press(map, "ArrowUp");
    await rest(160);
    expect(model.said("zoom").length).toBe(1);
    press(map, "0");
    await rest(160);
    expect(model.said("zoom").at(-1)).toEqual({ kind: "zoom", rows: [0, 8192], cols: [0, 8192] });
  });

  it("shows how far an overview is, and stops it", async () => {
    const { model, button, find, drawn, press } = await open();
    expect(button("Stop").hidden).toBe(true);
    model.set("tile_info", { ...model.get("tile_info"), number: 2, done: 0.25 });
    await drawn();
    expect(find(".llama-nb-att-rule").textContent).toBe("25 % exact");
    expect(find(".llama-nb-att-map").getAttribute("aria-busy")).toBe("true");
    button("Stop").click();
    press(find(".llama-nb-att-map"), "Escape");
    expect(model.said("cancel").length).toBe(2);
  });

  it("shows faint weights when the scale is clicked, and says so", async () => {
    const { find, all, drawn } = await open();
    const marks = () => all(".llama-nb-att-ramp > i").map((mark) => [mark.textContent, mark.style.left]);
    expect(marks()[1]).toEqual([".05", `${100 * Math.sqrt(0.05)}%`]);
    find(".llama-nb-att-scale").click();
    await drawn();
    expect(marks()[1]).toEqual([".01", `${100 * 0.01 ** 0.25}%`]);
    expect(find(".llama-nb-att-scale").getAttribute("aria-pressed")).toBe("true");
  });

  it("says that a band is missing, so that the map is sent whole", async () => {
    const { model } = await open();
    model.set("tile_info", { ...model.get("tile_info"), number: 9, band: [2, 7], height: 7, done: 0.9 });
    expect(model.said("hello").at(-1)).toEqual({ kind: "hello", whole: false });
  });

  it("grows with a text that is being written", async () => {
    const { model, all, drawn } = await open();
    model.set("head", { ...HEAD, tokens: 6, growing: true });
    model.tell("tokens", { trace: "t1", start: 5, texts: [" there"], special: [] });
    await drawn();
    expect(all(".llama-nb-att-tokens [role=option]").at(-1)?.textContent).toBe("·there");
    expect(TEXTS.length).toBe(5);
  });

  it("shows errors as text, and lets go of everything", async () => {
    const { model, find, close, el } = await open();
    model.set("error", HOSTILE);
    expect(find("[role=alert]").textContent).toBe(HOSTILE);
    close();
    expect([model.listening, el.childElementCount]).toEqual([0, 0]);
  });
});
