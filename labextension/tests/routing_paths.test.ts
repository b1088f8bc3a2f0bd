import { afterEach, describe, expect, it, vi } from "vitest";
import { layFlows, sight } from "../widgets/routing_flows";
import { peak } from "../widgets/routing_matrix";
import { closeAll, HOSTILE, open, TRAITS } from "./routing_panes";

afterEach(closeAll);

type Flow = [number, number, number, number];

describe("where ribbons lie", () => {
  it("is as thick as their share, and each box as high as the larger of what comes and goes", () => {
    const { columns, ribbons, drawn } = layFlows(TRAITS.paths?.flows ?? [], 0, 3, 200);
    expect(columns.map((nodes) => nodes.map((node) => node.expert))).toEqual([[0, 2], [1, 3], [0]]);
    expect(columns[1]?.map(({ share }) => share)).toEqual([0.4, 0.5]);
    const thick = Object.fromEntries(
      ribbons.map(({ from, to, height }) => [`${from.column} ${from.expert} ${to.expert}`, height]),
    );
    expect(thick["0 2 3"] as number).toBeCloseTo((5 / 3) * (thick["0 0 1"] as number));
    expect(drawn).toBeCloseTo(0.9);
    for (const { from, to, start, end, height } of ribbons) {
      expect(start).toBeGreaterThanOrEqual(from.y - 1e-9);
      expect(start + height).toBeLessThanOrEqual(from.y + from.height + 1e-9);
      expect(end + height).toBeLessThanOrEqual(to.y + to.height + 1e-9);
    }
    for (const nodes of columns) {
      const last = nodes.at(-1);
      expect((last?.y ?? 0) + (last?.height ?? 0)).toBeLessThanOrEqual(200 + 1e-9);
    }
  });

  it("has small experts as one box where there are many, and few elements however many flows", () => {
    const flows: Flow[] = [];
    for (let layer = 0; layer < 5; layer += 1)
      for (let from = 0; from < 128; from += 1)
        flows.push([layer, from, (7 * from) % 128, from < 8 ? 0.1 : 0.2 / 120]);
    const { columns, ribbons } = layFlows(flows, 0, 6, 220);
    const first = columns[0] ?? [];
    expect([first.length, first.at(-1)?.expert, first.at(-1)?.members]).toEqual([16, null, 113]);
    const sum = first.reduce((all, { share }) => all + share, 0);
    expect(sum).toBeCloseTo(1);
    const low = layFlows(flows, 0, 6, 110).columns[0] ?? [];
    expect([low.length, low.at(-1)?.members]).toEqual([9, 120]);
    expect(ribbons.length + 2 * columns.flat().length).toBeLessThanOrEqual(500);
  });

  it("shows the columns around the pair that is looked at", () => {
    expect(sight(24, 0, 4)).toEqual([0, 4]);
    expect(sight(24, 12, 4)).toEqual([11, 15]);
    expect(sight(24, 23, 4)).toEqual([20, 24]);
    expect(sight(2, 0, 5)).toEqual([0, 2]);
  });
});

describe("the paths", () => {
  it("are asked for once, and again when layer or domain change", () => {
    const { asked, look, pane, set } = open("paths", { paths: {} });
    pane.update();
    expect(asked).toEqual([{ kind: "paths", domain: "", token: null, layer: 1 }]);
    set("paths", TRAITS.paths ?? {});
    look.domain = "story";
    pane.update();
    pane.update();
    Object.assign(look, { layer: 3, index: 1 });
    pane.update();
    expect(asked.slice(1)).toEqual([
      { kind: "paths", domain: "story", token: null, layer: 1 },
      { kind: "paths", domain: "story", token: null, layer: 3 },
    ]);
  });

  it("are not asked for again when they are there, unless the text has grown since", () => {
    const { asked, set } = open("paths", { head: { ...TRAITS.head, growing: true } });
    expect(asked).toEqual([]);
    set("head", TRAITS.head ?? {});
    expect(asked.length).toBe(1);
  });

  it("say what is pointed at, by keys too, and open an expert's page", () => {
    const { find, press, done, all } = open("paths");
    const flows = find(".llama-nb-rp-flows");
    const said = () => find(".llama-nb-rp-readout").textContent;
    expect(said()).toContain("95 %");
    press(flows, "ArrowDown", "ArrowDown");
    expect(said()).toBe("L1 E2 60 % of the tokens; of this on to E3 83.3 %, E1 16.7 %");
    expect(all(".llama-nb-rp-ribbon").map((one) => one.dataset.on)).toEqual([
      ...["true", "false", "false", "false", "true"],
    ]);
    press(flows, "ArrowRight");
    expect(said()).toContain("L3 E3 50 % of the tokens; of this on to E0 100 %");
    press(flows, "Enter");
    expect(done).toEqual([["expert", 3, 3]]);
    const ribbon = all(".llama-nb-rp-ribbon")[0] as HTMLElement;
    ribbon.dispatchEvent(new PointerEvent("pointermove", { bubbles: true }));
    expect(said()).toBe("L1 E2 → L3 E3 50 % of the tokens, 83.3 % of what is in L1 E2");
    find("[data-layer='1']").dispatchEvent(new MouseEvent("click", { bubbles: true }));
    expect(done.at(-1)).toEqual(["layer", 3]);
  });

  it("weigh what goes to several experts, and stay while others are counted", () => {
    const { find, press, set, all } = open("paths", { head: { ...TRAITS.head, top_k: 2 } });
    press(find(".llama-nb-rp-flows"), "ArrowDown");
    expect(find(".llama-nb-rp-readout").textContent).toContain("L1 E0 30 % of the routing weight");
    set("paths", { domain: "", token: " cat", running: true });
    expect(all(".llama-nb-rp-node").length).toBe(5);
    expect(find(".llama-nb-rp-paths").getAttribute("aria-busy")).toBe("true");
    set("paths", { ...TRAITS.paths, flows: [[0, 1, 1, 1]], running: false });
    expect(all(".llama-nb-rp-node").length).toBe(2);
  });

  it("have a matrix that arrow keys walk through", () => {
    const { find, press, done } = open("paths");
    const square = find(".llama-nb-rp-matrix");
    expect(square.getAttribute("aria-label")).toContain("From experts of L1 to those of L3");
    press(square, "ArrowDown", "ArrowDown", "ArrowDown", "End");
    expect(find(".llama-nb-rp-readout").textContent).toBe("L1 E2 → L3 E3 83.3 % of the tokens in E2");
    press(square, "Enter");
    expect(done).toEqual([["expert", 1, 2]]);
    expect(find(".llama-nb-rp-matrix").textContent).toContain("from, in L1");
  });

  it("leave out the diagonal of experts that are chosen together", () => {
    const values = [
      [0.9, 0.2],
      [0.2, 0.7],
    ];
    expect([peak({ values, diagonal: false }), peak({ values, diagonal: true })]).toEqual([0.2, 0.9]);
    const { find, press } = open("paths", {
      paths: { ...TRAITS.paths, matrix: { layer: 1, next: 3, kind: "together", values } },
    });
    press(find(".llama-nb-rp-matrix"), "ArrowDown", "ArrowRight");
    expect(find(".llama-nb-rp-readout").textContent).toBe("L1 E0 and E1 20 % of the tokens");
  });

  it("keep to tokens of one text: typed, offered or chosen, and never trusted", () => {
    const { find, button, asked, all, host } = open("paths");
    const field = find<HTMLInputElement>("input");
    const type = (text: string) => {
      field.value = text;
      field.dispatchEvent(new Event("change"));
    };
    expect(all("option").map((one) => (one as HTMLOptionElement).value)[0]).toBe("·upon");
    type("·upon");
    type("<img·src=x·onerror=alert(1)>");
    type("other·word");
    button("only ·time").click();
    button("All tokens").click();
    expect(asked.map((message) => message.kind === "paths" && message.token)).toEqual([
      ...[" upon", HOSTILE, "other word", " time", null],
    ]);
    expect([field.value, host.querySelector("img")]).toEqual(["", null]);
  });

  it("are copied as a table, and gone when they are removed", async () => {
    const writeText = vi.fn(() => Promise.resolve());
    vi.stubGlobal("navigator", { ...navigator, clipboard: { writeText } });
    const { button, pane, host } = open("paths");
    button("Copy data").click();
    const [[text]] = writeText.mock.calls as unknown as [[string]];
    expect(text.split("\n").slice(0, 2)).toEqual([
      "layer\texpert\tnext layer\tnext expert\tshare",
      "1\t2\t3\t3\t0.5",
    ]);
    pane.remove();
    expect(host.childElementCount).toBe(0);
    vi.unstubAllGlobals();
  });

  it("say why there are none", () => {
    const { find } = open("paths", { paths: { error: "The disk is gone.", flows: [], tokens: 6 } });
    expect(find(".llama-nb-error").textContent).toBe("The disk is gone.");
    expect(find(".llama-nb-rp-matrix").hidden).toBe(true);
  });
});
