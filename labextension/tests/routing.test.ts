import { afterEach, describe, expect, it, vi } from "vitest";
import { colourOf } from "../widgets/routing_page";
import { tokenWindow } from "../widgets/routing_tokens";
import { closeAll, expertOf, HEAD, HOSTILE, LOAD, open, TEXTS, windowOf } from "./routing_explorer";

vi.mock("../widgets/import_text", () => ({ importText: () => import("../widgets/routing_more") }));

afterEach(closeAll);

const chip = ".llama-nb-moe-chip";
const numbers = (chips: HTMLElement[]) => chips.map((one) => one.querySelector("sup")?.textContent);

describe("the routing explorer", () => {
  it("writes each token with the number and colour of its expert in the looked-at layer", async () => {
    const { all, el, find } = await open();
    const chips = all(chip);
    expect(numbers(chips)).toEqual(TEXTS.map((_, token) => String(expertOf(token, 1))));
    expect(chips.map((one) => one.style.getPropertyValue("--ln-expert"))).toEqual(
      TEXTS.map((_, token) => colourOf(expertOf(token, 1), 4)),
    );
    expect(chips[3]?.querySelector("span")?.textContent).toBe(HOSTILE.replaceAll(" ", "·"));
    expect(el.querySelector("img")).toBeNull();
    expect(chips[0]?.classList.contains("llama-nb-pill")).toBe(true);
    expect(find(".llama-nb-moe-what").textContent).toBe(
      "cria-moe · 4 experts, 1 chosen + shared, sigmoid · 6 tokens · text",
    );
  });

  it("shades by how sure the layer was; a high entropy is pale", async () => {
    const { all, model, drawn } = await open();
    const sure = () => all(chip).map((one) => one.style.getPropertyValue("--ln-sure"));
    expect(sure().slice(0, 3)).toEqual(["0%", "16%", "32%"]);
    all(".llama-nb-moe-shades button")[1]?.click();
    await drawn();
    expect(sure()[0]).toBe("100%");
    expect(model.said("shade")).toEqual([{ kind: "shade", shade: "entropy" }]);
  });

  it("moves through tokens and layers by keys, and tells the kernel of what rests", async () => {
    const { all, find, press, model, drawn, rest } = await open();
    press(find(`${chip}[tabindex='0']`), "ArrowRight");
    await drawn();
    expect(document.activeElement).toBe(all(chip)[1]);
    press(document.activeElement as HTMLElement, "ArrowDown");
    await drawn();
    expect(numbers(all(chip))).toEqual(TEXTS.map((_, token) => String(expertOf(token, 2))));
    await rest();
    expect(model.said("look")).toEqual([{ kind: "look", layer: 5, token: 1 }]);
    expect(find(".llama-nb-moe-layer").textContent).toBe("L5");
    press(document.activeElement as HTMLElement, "Enter");
    await rest();
    expect(model.said("expert")).toEqual([{ kind: "expert", layer: 5, expert: expertOf(1, 2) }]);
  });

  it("shows the scores of all experts, once, when a pointer rests, and the way through the layers", async () => {
    const { all, model, drawn, rest } = await open();
    all(chip)[2]?.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
    await drawn();
    await rest(100);
    const asked = model.said("scores").at(-1);
    expect(asked).toMatchObject({ layer: 3, token: 2 });
    model.tell("scores", { ...asked, scores: [0.1, 0.2, 0.05, 0.9], chosen: [[3, 0.9]] });
    await drawn();
    const lines = all(".llama-nb-moe-score");
    expect(lines.map((line) => line.getAttribute("aria-label"))).toEqual([
      "expert 0: 0.100",
      "expert 1: 0.200",
      "expert 2: 0.050",
      "expert 3: 0.900, chosen",
    ]);
    expect(all(".llama-nb-moe-step").map((step) => step.textContent)).toEqual(["L12", "L33", "L50"]);
    const before = model.said("scores").length;
    all(chip)[2]?.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
    await rest(100);
    expect(model.said("scores").length).toBe(before);
  });

  it("names what one points at on the load map, and opens an expert by its keys", async () => {
    const { find, all, press, model, rest, drawn } = await open();
    expect(find(".llama-nb-moe-readout").textContent).toBe(
      "L3 · CV 1.08 · largest 2.8 × mean · balance 1.6 · 1 never chosen",
    );
    expect(
      all(".llama-nb-moe-words span")
        .map((one) => one.textContent)
        .slice(4, 8),
    ).toEqual(["70", "×", "20", "10"]);
    const cells = find(".llama-nb-moe-cells");
    press(cells, "ArrowRight");
    await drawn();
    expect(find(".llama-nb-moe-readout").textContent).toBe("L3 E1 · never chosen · even: 25 %");
    press(cells, "ArrowUp");
    await drawn();
    expect(find(".llama-nb-moe-readout").textContent).toBe("L1 E1 · 25 % · even: 25 %");
    press(cells, "Enter");
    await rest();
    expect(model.said("pane")).toEqual([{ kind: "pane", pane: "expert" }]);
    expect(model.said("expert")).toEqual([{ kind: "expert", layer: 1, expert: 1 }]);
  });

  it("shows a domain as the difference to the others, and shares when asked", async () => {
    const head = { ...HEAD, domains: ["stories", HOSTILE], documents: 2 };
    const { find, model, drawn, el } = await open({ head });
    const select = find<HTMLSelectElement>(".llama-nb-moe-domain");
    expect([...select.options].map((one) => one.value)).toEqual(["", "stories", HOSTILE]);
    select.value = "stories";
    select.dispatchEvent(new Event("change"));
    expect(model.said("domain")).toEqual([{ kind: "domain", name: "stories" }]);
    const difference = LOAD.shares?.map((row) => row.map((share) => share - 0.25)) ?? [];
    model.set("load", { ...LOAD, domain: "stories", against: "others", difference });
    await drawn();
    const words = () => [...el.querySelectorAll(".llama-nb-moe-words span")].map((one) => one.textContent);
    expect(words().slice(0, 2)).toEqual(["+25", "0"]);
    find(".llama-nb-moe-turn").click();
    await drawn();
    expect(words().slice(0, 2)).toEqual(["50", "25"]);
    expect(el.querySelector("img")).toBeNull();
  });

  it("plays through the layers and stops at a touch of the slider", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    const { find, drawn } = await open();
    const layer = () => find(".llama-nb-moe-layer").textContent;
    find(".llama-nb-moe-play").click();
    await drawn();
    expect(layer()).toBe("L5");
    vi.advanceTimersByTime(1000);
    await drawn();
    expect(layer()).toBe("L1");
    const slider = find<HTMLInputElement>(".llama-nb-moe-slider");
    slider.value = "1";
    slider.dispatchEvent(new Event("input"));
    vi.advanceTimersByTime(5000);
    await drawn();
    vi.useRealTimers();
    expect(layer()).toBe("L3");
    expect(find(".llama-nb-moe-play").getAttribute("aria-label")).toBe("Play through the layers");
  });

  it("asks for the window of a token that is not in the page", async () => {
    const head = { ...HEAD, tokens: 1_000_000 };
    const { find, model, drawn } = await open({ head });
    expect(find(".llama-nb-moe-pages").textContent).toContain("tokens 0 to 5 of 1,000,000");
    const to = find<HTMLInputElement>(".llama-nb-moe-pages input");
    to.value = "700000";
    to.dispatchEvent(new Event("change"));
    await drawn();
    expect(model.said("window")).toEqual([{ kind: "window", start: 697_344 }]);
    const start = 699_900; // a smaller window is enough here
    Object.entries({
      ...windowOf(start, start + 200),
      tokens: { start, texts: Array(200).fill(" a") },
    }).map(([name, value]) => model.set(name as never, value as never));
    await drawn();
    expect(find(`${chip}[aria-selected=true]`).dataset.token).toBe("700000");
  });

  it("follows the kernel, but not the echo of a choice that was left since", async () => {
    const { find, press, model, drawn, rest } = await open();
    const view = model.get("view");
    press(find(`${chip}[tabindex='0']`), "ArrowUp");
    await rest();
    press(find(`${chip}[tabindex='0']`), "ArrowDown");
    press(find(`${chip}[tabindex='0']`), "ArrowDown");
    model.set("view", { ...view, layer: 1 });
    await drawn();
    expect(find(".llama-nb-moe-layer").textContent).toBe("L5");
    model.set("view", { ...view, layer: 5 });
    model.set("view", { ...view, layer: 3, shade: "weight" });
    await drawn();
    expect(find(".llama-nb-moe-layer").textContent).toBe("L3");
    expect(find(".llama-nb-moe-shades [aria-pressed=true]").textContent).toBe("weight");
  });

  it("grows while the model writes, and marks where it began to", async () => {
    const part = { ...windowOf(0, 4), tokens: { start: 0, texts: TEXTS.slice(0, 4), special: [0] } };
    const head = { ...HEAD, tokens: 4, prompt: 3, growing: true };
    const { all, find, model, drawn } = await open({ ...part, head });
    expect(all(chip).length).toBe(4);
    expect(find(".llama-nb-moe-label").textContent).toBe("written");
    expect(find(".llama-nb-moe-token").textContent).toContain("token 3");
    model.set("tokens", { start: 0, texts: TEXTS, special: [0] });
    const { routes, routes_info } = windowOf(0, 6);
    model.set("routes", routes);
    model.set("routes_info", routes_info);
    model.set("head", { ...head, tokens: 6 });
    await drawn();
    expect(numbers(all(chip))).toEqual(TEXTS.map((_, token) => String(expertOf(token, 1))));
    expect(find(".llama-nb-moe-token").textContent).toContain("token 5");
  });

  it("takes map and tokens out, shows errors, and leaves nothing behind", async () => {
    const { find, all, model, drawn, close, el } = await open();
    expect(model.said("code")).toEqual([{ kind: "code", part: "more" }]);
    await import("../widgets/routing_more");
    model.tell("code", { part: "more", text: "the part" });
    await drawn();
    const copied: string[] = [];
    vi.stubGlobal("navigator", { clipboard: { writeText: async (text: string) => copied.push(text) } });
    for (const one of all(".llama-nb-copy")) if (one.textContent === "Copy") one.click();
    vi.unstubAllGlobals();
    expect(copied[0]?.split("\n").slice(0, 2)).toEqual(["layer\texpert\tshare", "1\t0\t0.5"]);
    expect(copied[1]?.split("\n")[2]).toBe('1\t"Once"\t1\t2\t3\t0.0820\t0.0100\t0.900');
    model.set("error", HOSTILE);
    await drawn();
    expect(find(".llama-nb-error").textContent).toBe(HOSTILE);
    close();
    expect([model.listening, el.children.length]).toEqual([0, 0]);
  });
});

describe("the window of tokens", () => {
  it("reads experts of two bytes, and nothing where bytes do not fit", () => {
    const held = tokenWindow();
    const bytes = new DataView(new ArrayBuffer(2 * 2 + 3));
    bytes.setUint16(0, 300, true);
    bytes.setUint16(2, 7, true);
    bytes.setUint8(4, 51);
    const scales = { margin: 1, entropy: 1, weight: 1 };
    const info = { start: 10, stop: 11, layers: 1, k: 2, bytes_each: 2 as const, scales };
    held.take(info, bytes, {});
    expect([held.chosen(10, 0), held.chosen(10, 0, 1), held.chosen(9, 0)]).toEqual([300, 7, -1]);
    expect(held.value("margin", 10, 0)).toBe(0.2);
    held.take({ ...info, stop: 12 }, bytes, {});
    expect([held.start, held.stop, held.chosen(10, 0)]).toEqual([0, 0, -1]);
  });
});
