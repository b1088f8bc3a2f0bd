import { beforeEach, describe, expect, it, vi } from "vitest";
import { said as gatesSaid, silu } from "../widgets/anatomy_gate";
import { cosines } from "../widgets/anatomy_rope";
import { BODY, DETAIL, HOSTILE, MEASURED, open } from "./anatomy_view";

vi.mock("../widgets/import_text", () => ({ importText: () => import("../widgets/anatomy_more") }));

beforeEach(() => document.body.replaceChildren());

async function opened(block: string, tab: string, changes = {}) {
  const view = open({
    measured: MEASURED,
    detail: DETAIL,
    look: { block, tab, layer: 0, token: 2 },
    ...changes,
  });
  await view.code();
  return view;
}

it("the code of the panels is asked for once, when one is opened", async () => {
  const { code, choose, find, model, tab } = open();
  choose("0/self_attn");
  expect(model.said("code")).toEqual([]);
  tab("heads");
  tab("rope");
  expect(model.said("code")).toEqual([{ kind: "code" }]);
  expect(find("[role=tabpanel]").textContent).toBe("…");
  await code();
  expect(find("[role=tabpanel]").textContent).toContain("Pair 0");
});

describe("grouped queries", () => {
  it("show who shares keys and values", async () => {
    const { all, find, press } = await opened("0/self_attn", "heads");
    expect(all(".llama-nb-an-kv").map((kv) => kv.querySelectorAll("[role=option]").length)).toEqual([3, 3]);
    expect(find("[role=tabpanel] p").textContent).toContain("6 query heads of 32 share 2 pairs");
    press(find(".llama-nb-an-query"), "ArrowDown");
    expect(find(".llama-nb-an-said").textContent).toBe("Query head 3 reads the keys and values of head 1.");
    expect(all(".llama-nb-an-kv").map((kv) => kv.dataset.chosen)).toEqual(["false", "true"]);
    press(document.activeElement as HTMLElement, "ArrowLeft");
    expect(find(".llama-nb-an-said").textContent).toBe("Query head 2 reads the keys and values of head 0.");
    all(".llama-nb-an-query").at(-1)?.click();
    expect(find(".llama-nb-an-said").textContent).toContain("Query head 5");
  });

  it("say what sharing saves", async () => {
    const { all, find, slide } = await opened("0/self_attn", "heads");
    expect(all(".llama-nb-an-cost").map((cost) => cost.textContent)).toEqual([
      "as it is1.00 MB",
      "without sharing3.00 MB",
    ]);
    slide("Tokens in the cache", 0);
    expect(all(".llama-nb-an-cost").map((cost) => cost.textContent)).toEqual([
      "as it is1.00 kB",
      "without sharing3.00 kB",
    ]);
    expect(find(".llama-nb-an-costs p").textContent).toContain("in place of 3.00 kB: 3 times less");
  });
});

describe("RoPE", () => {
  it("says by how much a pair turns", async () => {
    const { find, slide } = await opened("0/self_attn", "rope");
    slide("position", 100);
    slide("pair", 1);
    expect(find(".llama-nb-an-said").textContent).toBe(
      "Pair 1 (dimensions 1 and 5) turns by 0.1 rad a token, once around in 62.8 tokens. " +
        "At position 100: 10 rad, 1.59 turns.",
    );
    expect(find("[data-chosen=true]").dataset.pair).toBe("1");
    find('[data-pair="3"]').click();
    expect(find(".llama-nb-an-said").textContent).toContain("Pair 3");
    expect(find<HTMLInputElement>("input[aria-label=pair]").value).toBe("3");
  });

  it("says how it is scaled, and draws both", async () => {
    const { all, find } = await opened("0/self_attn", "rope");
    expect(find("[role=tabpanel]").textContent).toContain("scaled (llama3) from 125 to 1,000 tokens");
    expect(all(".llama-nb-an-key").map((key) => key.textContent)).toEqual(["as it is", "unscaled"]);
    const plain = { ...BODY.rope, kind: "default" };
    const other = await opened("0/self_attn", "rope", { body: { ...BODY, rope: plain } });
    expect(other.find("[role=tabpanel]").textContent).toContain("Base 10,000, not scaled.");
  });

  it("maps cosines to bytes around 128", () => {
    const rope = { ...BODY.rope, frequencies: [Math.PI, 0], unscaled: [] } as never;
    expect([...cosines(rope, 0, 2)]).toEqual([220, 36, 220, 220]);
  });
});

describe("RMSNorm", () => {
  it("shows a token before and behind, and its largest channels", async () => {
    const { all, find } = await opened("0/input_layernorm", "norm");
    expect(find("[role=tabpanel] p").textContent).toContain("√mean(x²) of this token is 2.5");
    expect(all("svg").map((drawing) => drawing.getAttribute("aria-label"))).toEqual([
      "x: up to 5",
      "w: up to 0.5",
      "x̂: up to 1",
    ]);
    expect(find("tbody tr").textContent).toBe("1−50.5−1");
  });

  it("follows another token, whose text stays text", async () => {
    const { find, model } = await opened("0/input_layernorm", "norm");
    const select = find<HTMLSelectElement>("select");
    expect(select.options[1]?.textContent).toBe(`1: ${HOSTILE.replaceAll(" ", "·")}`);
    select.value = "1";
    select.dispatchEvent(new Event("change"));
    expect(model.said("look").at(-1)).toMatchObject({ token: 1 });
    expect(find("[role=tabpanel]").textContent).toContain("…");
    model.set("detail", { ...DETAIL, token: 1, rms: 4 });
    expect(find("[role=tabpanel] p").textContent).toContain("is 4:");
  });
});

describe("the gate", () => {
  it("is silu over what the gates were", async () => {
    expect(silu(0)).toBe(0);
    expect(silu(6)).toBeCloseTo(5.985, 3);
    const gates = DETAIL.gates as NonNullable<typeof DETAIL.gates>;
    expect(gatesSaid(gates)).toBe("Of 100 gates 34 % are negative, 16 % above 1. 10 are beyond the chart.");
    const { find } = await opened("0/mlp", "gate");
    expect(find(".llama-nb-an-histogram")).not.toBeNull();
    expect(find("[role=tabpanel]").textContent).toContain("Of 100 gates");
  });

  it("is the curve alone where nothing was measured", async () => {
    const { find } = await opened("0/mlp", "gate", { measured: {}, detail: {} });
    expect(find(".llama-nb-an-histogram")).toBeNull();
    expect(find("[role=tabpanel]").textContent).toContain("Have the model read a text");
  });
});
