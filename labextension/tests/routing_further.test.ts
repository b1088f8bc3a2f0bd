import { afterEach, describe, expect, it } from "vitest";
import { named, toggled, toggledShared, UNCHANGED } from "../widgets/routing_changes";
import { common } from "../widgets/routing_effect";
import { closeAll, HOSTILE, open, TRAITS } from "./routing_panes";

afterEach(closeAll);

describe("an expert's page", () => {
  it("tells its share, its tokens, where it is strongest, and who is like it", () => {
    const { find, all, host } = open("expert");
    expect(find(".llama-nb-rp-lead").textContent).toBe(
      "L1 E2 gets 60 % of the routed tokens: 2.4 times an even share of 25 %.",
    );
    const rows = (title: string) =>
      all(`section[aria-label^="${title}"] tr`).map((row) => row.textContent?.trim());
    expect(rows("Its tokens").slice(1)).toEqual(["·upon23.1×", `${HOSTILE.replaceAll(" ", "·")}11.5×`]);
    expect(rows("Its share of each domain")).toEqual(["story50 %", `${HOSTILE}10 %`]);
    expect(rows("Its weights").slice(1)).toEqual(["E30.400−0.250", "E00.1000.200"]);
    expect(find("section svg").getAttribute("aria-label")).toContain("10 to 20 % of the way 20 %");
    expect(find(".llama-nb-rp-norms").getAttribute("aria-label")).toContain("3.5, the 2nd largest of 4");
    expect(host.querySelector("img")).toBeNull();
  });

  it("leads to other experts, to the text, and to what if", () => {
    const { button, done, choose } = open("expert");
    button("·upon").click();
    button("E3").click();
    button("‹").click();
    choose("Expert", "0");
    button("What if forbidden?").click();
    expect(done).toEqual([
      ["token", 2],
      ["pane", "tokens"],
      ["expert", 1, 3],
      ["expert", 1, 1],
      ["expert", 1, 0],
      ["change", { ...UNCHANGED, ban: [[1, 2]] }, 4],
      ["pane", "whatif"],
    ]);
  });

  it("is asked for once when it is another one, and says when no token chose it", () => {
    const { done, look, pane, set, find, all } = open("expert");
    look.expert = 0;
    pane.update();
    pane.update();
    expect(done).toEqual([["expert", 1, 0]]);
    expect(find(".llama-nb-rp-report").getAttribute("aria-busy")).toBe("true");
    set("expert", { layer: 1, expert: 0, share: 0, dead: true });
    expect(find(".llama-nb-rp-lead").textContent).toContain("it is dead here");
    expect(all("section").length).toBe(0);
    set("expert", { layer: 1, expert: 0, error: "No such expert." });
    expect(find(".llama-nb-error").textContent).toBe("No such expert.");
  });
});

describe("changes", () => {
  it("forbid or force one expert, so many forced as a token goes to, and undo", () => {
    const banned = toggled(UNCHANGED, "ban", [3, 2], 1);
    const forced = toggled(banned, "force", [3, 2], 1);
    expect([banned.ban, forced.ban, forced.force]).toEqual([[[3, 2]], [], [[3, 2]]]);
    expect(toggled(forced, "force", [3, 1], 1).force).toEqual([[3, 1]]);
    expect(toggled(forced, "force", [3, 1], 2).force).toEqual([
      [3, 2],
      [3, 1],
    ]);
    expect(toggled(forced, "force", [3, 2], 1)).toEqual(UNCHANGED);
    const all = { ...toggledShared(forced, 5), top_k: 2 };
    expect(named(all, 8).map(([name]) => name)).toEqual([
      ...["L3 E2 forced", "L5 shared expert off", "top-2 of 8"],
    ]);
    expect(named(all, 8).map(([, without]) => without)[2]).toEqual({ ...all, top_k: null });
  });
});

describe("what if", () => {
  it("changes the model, from clicks that come before the kernel's answer too", () => {
    const { button, done, choose, all, set } = open("whatif");
    expect(all(".llama-nb-rp-effect")[0]?.textContent).toContain("Forbid an expert");
    button("Forbid").click();
    choose("Expert", "3");
    button("Force").click();
    button("Drop shared").click();
    choose("Experts a token goes to", "2");
    expect(done.at(-1)).toEqual(["change", { ban: [[1, 2]], force: [[1, 3]], drop: [1], top_k: 2 }, 4]);
    expect(all(".llama-nb-rp-chip").map((one) => one.textContent)).toEqual([
      ...["L1 E2 forbidden ✕", "L1 E3 forced ✕", "L1 shared expert off ✕", "top-2 of 4 ✕"],
    ]);
    all(".llama-nb-rp-chip")[0]?.click();
    expect(done.at(-1)?.[1]).toMatchObject({ ban: [], force: [[1, 3]] });
    set("view", { ...TRAITS.view, changes: UNCHANGED, changed: 2 });
    expect([all(".llama-nb-rp-chip").length, button("Force").getAttribute("aria-checked")]).toEqual([
      0,
      "false",
    ]);
  });

  it("shows loss, next tokens and texts side by side, all as text", () => {
    const { all, find, host, set, button, done } = open("whatif", {
      view: { ...TRAITS.view, changes: { ...UNCHANGED, ban: [[1, 2]] } },
      effect: { running: true, changed: ["L1 E2 forbidden"] },
    });
    expect(find(".llama-nb-rp-effect").textContent).toBe("Computing …");
    set("effect", {
      ...{
        running: false,
        changed: ["L1 E2 forbidden"],
        position: 2,
        kl: 0.5,
        loss_before: 1,
        loss_after: 1.25,
      },
      before: [
        [HOSTILE, 0.8],
        [" b", 0.1],
      ],
      after: [
        [HOSTILE, 0.2],
        [" b", 0.6],
      ],
      ...{ text_before: ` a small ${HOSTILE}`, text_after: " a small cat", error: "" },
    });
    expect(find(".llama-nb-rp-lead").textContent).toBe(
      "Loss of this one text 1 → 1.25 nats a token (+0.25) · KL of the next token 0.5 nats",
    );
    expect(all("tr").map((row) => row.textContent)).toEqual([
      ...["after ·uponas it ischanged", `${HOSTILE.replaceAll(" ", "·")}80 %20 %`, "·b10 %60 %"],
    ]);
    expect(all(".llama-nb-rp-text p").map((one) => one.textContent)).toEqual([
      `a small ${HOSTILE}`,
      "a small cat",
    ]);
    expect(all(".llama-nb-rp-text b").map((one) => one.textContent)).toEqual([HOSTILE, "cat"]);
    expect(host.querySelector("img")).toBeNull();
    button("after ·time").click();
    expect(done.at(-1)).toEqual(["change", { ...UNCHANGED, ban: [[1, 2]] }, 4]);
  });

  it("says why it could not, and offers nothing when the model is gone", () => {
    const { find, button } = open("whatif", {
      head: { ...TRAITS.head, alive: false },
      view: { ...TRAITS.view, changes: { ...UNCHANGED, drop: [1] } },
      effect: { error: "cria-moe is not loaded any more." },
    });
    expect(find(".llama-nb-error").textContent).toContain("not loaded");
    expect(button("Forbid").disabled).toBe(true);
  });

  it("finds where two texts part, at a word", () => {
    expect(common("a small dog", "a small door")).toBe(8);
    expect(common("same", "same")).toBe(4);
    expect(common("", "new")).toBe(0);
  });
});

describe("the cost", () => {
  it("shows the part that a token needs, and hit rates that keys walk along", () => {
    const { all, find, press, host } = open("cost");
    expect(all(".llama-nb-rp-totals tr").map((row) => row.textContent)).toEqual([
      "Parameters1.50 M one token goes through, of 6.00 M: 25 %",
      "Bytes3.00 MB read for one token, of 12.0 MB: 25 %",
      "One expert250 kB each",
    ]);
    expect(all(".llama-nb-rp-whole > span").map((bar) => bar.style.width)).toEqual(["25%", "25%"]);
    const chart = find<SVGElement>("[role=slider]");
    expect(chart.getAttribute("aria-valuetext")).toBe("2 kept: LRU 60 % best 80 % random 50 % ");
    press(chart, "Home");
    expect(chart.getAttribute("aria-valuetext")).toContain("1 kept: LRU 40 %");
    press(chart, "ArrowRight", "ArrowRight", "ArrowRight");
    expect(find(".llama-nb-rp-said").textContent).toContain("LRU 100 %");
    expect(chart.textContent).toContain("experts kept in each layer");
    expect([find("code").textContent, host.querySelector("img")]).toEqual(["%llama plan cria-moe", null]);
  });

  it("is asked for once", () => {
    const { asked, pane, set, find } = open("cost", { cost: {} });
    pane.update();
    expect(asked).toEqual([{ kind: "cost" }]);
    set("cost", { error: "No figures." });
    expect(find(".llama-nb-error").textContent).toBe("No figures.");
  });
});
