import { beforeEach, describe, expect, it } from "vitest";
import { scaleOf } from "../widgets/anatomy_chart";
import { count, figure, formula, share } from "../widgets/anatomy_figures";
import { MARK } from "../widgets/live_mark";
import { BODY, DETAIL, HOSTILE, MEASURED, open } from "./anatomy_view";

beforeEach(() => document.body.replaceChildren());

describe("the diagram", () => {
  it("shows blocks in order, equal layers once with their number, and how each is tied to the stream", () => {
    const { all, find } = open();
    expect(all("[role=option]").map((option) => option.dataset.block)).toEqual([
      "",
      ...(BODY.blocks ?? []).map(({ id }) => id),
    ]);
    expect(all("[role=group]").map((group) => group.getAttribute("aria-label"))).toEqual([
      "2 × layers 0, 2",
      "2 × layers 1, 3",
    ]);
    expect(all(".llama-nb-an-row").map((row) => row.dataset.place)).toEqual([
      ...["stream", "side", "reads", "adds", "adds", "adds", "adds", "stream", "stream"],
    ]);
    expect(find('[data-block="lm_head"]').textContent).toContain("tied");
    expect(find('[data-block="0/self_attn"]').title).toContain("10 % of all parameters");
  });

  it("is walked through by keys, and the kernel is told where one is", () => {
    const { all, find, model, press } = open();
    press(find("[role=option]"), "ArrowDown");
    expect(find("[aria-selected=true]").dataset.block).toBe("model.embed_tokens");
    expect(document.activeElement).toBe(find("[aria-selected=true]"));
    press(find("[aria-selected=true]"), "End");
    expect(find(".llama-nb-an-stack [aria-selected=true]").dataset.block).toBe("lm_head");
    press(find("[aria-selected=true]"), "ArrowDown");
    press(find("[aria-selected=true]"), "Home");
    expect(all(".llama-nb-an-stack [tabindex='0']").length).toBe(1);
    expect(model.said("look").map(({ block }) => block)).toEqual([
      "model.embed_tokens",
      "lm_head",
      "lm_head",
      "",
    ]);
  });

  it("begins where the last page was", () => {
    const { find } = open({ look: { block: "1/mlp", tab: "activations", layer: 3, token: 0 } });
    expect(find(".llama-nb-an-stack [aria-selected=true]").dataset.block).toBe("1/mlp");
    expect(find("[role=tab][aria-selected=true]").dataset.tab).toBe("activations");
  });
});

describe("a block", () => {
  it("opens to a sentence, its formula and its tensors", () => {
    const { all, choose, find } = open();
    choose("0/self_attn");
    expect(find("[role=tabpanel] p").textContent).toBe("About self_attn.");
    expect(find(".llama-nb-an-formula").textContent).toBe("y = Wq xi+2");
    expect(all(".llama-nb-an-formula sub").map((sub) => sub.textContent)).toEqual(["q", "i+2"]);
    expect(find("tbody tr").textContent).toBe("weight10 × 10100400 Bfloat32");
    expect(find(".llama-nb-an-pane-head").textContent).toContain("100 parameters, 400 B each");
  });

  it("has the tabs of its kind, changed by keys; RoPE only where it turns something", () => {
    const { all, choose, find, press } = open();
    const tabs = () => all("[role=tab]").map((tab) => tab.dataset.tab);
    choose("0/self_attn");
    expect(tabs()).toEqual(["block", "heads", "rope", "activations"]);
    choose("1/self_attn");
    expect(tabs()).toEqual(["block", "heads", "activations"]);
    choose("0/mlp");
    expect(tabs()).toEqual(["block", "gate", "activations"]);
    press(find("[role=tab]"), "ArrowLeft");
    expect(find("[role=tab][aria-selected=true]").dataset.tab).toBe("activations");
    expect(document.activeElement).toBe(find("[role=tab][aria-selected=true]"));
    choose("model.norm");
    expect(find("[role=tab][aria-selected=true]").dataset.tab).toBe("activations");
    choose("model.rotary_emb");
    expect(find("[role=tab][aria-selected=true]").dataset.tab).toBe("block");
  });

  it("moves to a layer of its own group", () => {
    const { choose, model } = open();
    choose("1/mlp");
    expect(model.said("look").at(-1)).toMatchObject({ block: "1/mlp", layer: 1 });
  });

  it("of the whole model is its parts", () => {
    const { all, find } = open();
    expect(find("[role=tab]").textContent).toBe("Parts");
    expect(find("[role=img]").getAttribute("aria-label")).toBe("embedding 100, attention 1.90 k, RoPE 0");
    expect(all("tbody tr").map((row) => row.textContent)).toContain("attention1.90 k95 %7.60 kB");
    expect(find("[role=tabpanel] p").textContent).toContain("embedding's matrix");
  });
});

describe("activations", () => {
  it("ask for a text first", () => {
    const { choose, find, model, press, tab } = open();
    choose("0/mlp");
    expect(find(".llama-nb-an-ask").hidden).toBe(true);
    tab("activations");
    expect(find(".llama-nb-an-ask").hidden).toBe(false);
    const text = find<HTMLInputElement>(".llama-nb-an-ask input");
    expect(text.placeholder).toBe("Once upon a time");
    text.value = " The sea ";
    press(text, "Enter");
    find(".llama-nb-primary").click();
    expect(model.said("measure")).toEqual([
      { kind: "measure", text: "The sea" },
      { kind: "measure", text: "The sea" },
    ]);
  });

  it("are a table at one layer and a line along the depth", () => {
    const { all, choose, find, slide, tab } = open({ measured: MEASURED });
    choose("0/mlp");
    tab("activations");
    expect(all("tbody tr").map((row) => row.dataset.place)).toEqual(["mlp.gate_proj", "mlp"]);
    expect(find("tbody tr").textContent).toBe("g0.511.23−0.250 %44.6 %");
    expect(find("svg").getAttribute("aria-label")).toBe("W_down h rms. W_down h layer 0: 5, layer 2: 7");
    find('[data-key="mlp.gate_proj"]').click();
    find('[data-key="statistic 5"]').click();
    expect(find("svg").getAttribute("aria-label")).toBe("g < 0. g layer 0: 44.6 %, layer 2: 44.6 %");
    expect(find('[data-key="mlp.gate_proj"]').getAttribute("aria-pressed")).toBe("true");
    slide("Layer", 1);
    expect(find("tbody tr").textContent).toContain("0.513−0.25");
    expect(find<HTMLInputElement>("input[aria-label=Layer]").getAttribute("aria-valuetext")).toBe("layer 2");
  });

  it("of what is no number are dashes, of another kind of layer are not there", () => {
    const { all, choose, find, tab } = open({
      measured: MEASURED,
      look: { block: "", tab: "block", layer: 3, token: 0 },
    });
    choose("1/mlp");
    tab("activations");
    const texts = all("tbody tr").map((row) => row.textContent);
    expect(texts.at(-1)).toBe("Wdown h––––0 %0 %");
    choose("1/self_attn");
    expect(find("[role=tabpanel]").textContent).toBe("Nothing is measured here.");
  });

  it("of the whole model are the norms of the stream", () => {
    const { find, tab } = open({ measured: { ...MEASURED, off: "L2 MLP off" } });
    tab("activations");
    expect(find("svg").getAttribute("aria-label")).toContain(
      "first token layers passed 0: 1, layers passed 4: 400",
    );
    expect(find("[role=tabpanel]").textContent).toContain("Measured with L2 MLP off.");
  });

  it("come when they are measured, with the last token, and say what is wrong", () => {
    const { choose, find, model, tab } = open();
    choose("0/mlp");
    tab("activations");
    model.set("status", "Reading: layer 1 of 4 …");
    expect(find("[role=status]").textContent).toBe("Reading: layer 1 of 4 …");
    const stop = [...find(".llama-nb-an-ask").querySelectorAll("button")].at(-1) as HTMLButtonElement;
    expect(stop.hidden).toBe(false);
    stop.click();
    expect(model.said("cancel").length).toBe(1);
    model.set("measured", MEASURED);
    model.set("status", "");
    expect(stop.hidden).toBe(true);
    expect(find("tbody")).not.toBeNull();
    model.set("error", "The text has 3,000 tokens");
    expect(find("[role=alert]").textContent).toBe("The text has 3,000 tokens");
  });

  it("cannot be measured without the model", () => {
    const { find, tab } = open({ body: { ...BODY, alive: false } });
    tab("activations");
    expect(find(".llama-nb-an-ask input").hidden).toBe(true);
    expect(find(".llama-nb-an-ask").textContent).toContain("The model is not loaded.");
  });
});

describe("the view", () => {
  it("has names and tokens as text", () => {
    const { el, find } = open({ measured: MEASURED, detail: DETAIL });
    expect(find(".llama-nb-title").textContent).toBe(`Anatomy of ${HOSTILE}`);
    expect(el.querySelector("img, script")).toBeNull();
  });

  it("is marked as live and leaves nothing behind", () => {
    const { close, el, model } = open();
    expect(el.hasAttribute(MARK)).toBe(true);
    expect(model.said("hello").length).toBe(1);
    close();
    expect(el.childElementCount).toBe(0);
    expect(el.hasAttribute(MARK)).toBe(false);
    expect(model.listening).toBe(0);
  });
});

describe("figures", () => {
  it("have three digits", () => {
    expect([0, 12, 999, 1000, 98_304, 2_755_008, 8.03e9].map(count)).toEqual([
      "0",
      "12",
      "999",
      "1.00 k",
      "98.3 k",
      "2.76 M",
      "8.03 B",
    ]);
    expect([0, -0.25, 1.23456, 123_456, 0.00012, null].map(figure)).toEqual([
      "0",
      "−0.25",
      "1.23",
      "1.23e5",
      "1.2e−4",
      "–",
    ]);
    expect([0.446, 0, null].map(share)).toEqual(["44.6 %", "0 %", "–"]);
  });

  it("of a formula hang lower behind an underscore and stay text", () => {
    const line = formula(`W_gate ${HOSTILE} x_{2i+1}`);
    expect(line.textContent).toBe(`Wgate ${HOSTILE} x2i+1`);
    expect(line.querySelector("img")).toBeNull();
  });

  it("stand on a scale from zero, or in powers of ten where they are far apart", () => {
    const plain = scaleOf([2, 10]);
    expect(plain.ticks[0]).toBe(0);
    expect(plain.at(10)).toBe(1);
    const wide = scaleOf([1, 2000]);
    expect(wide.ticks).toEqual([1, 10, 100, 1000, 10_000]);
    expect(wide.at(100)).toBe(0.5);
    expect(scaleOf([0, 0]).at(0)).toBe(0);
    expect(scaleOf([-5, 5]).ticks).toContain(0);
  });
});
