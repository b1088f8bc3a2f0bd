import { describe, expect, it } from "vitest";
import extension from "../src/mime";
import { MIME, readRecord } from "../src/record";

const record = {
  schema: 1,
  id: "0123456789ab",
  parent: null,
  chat: "main",
  kind: "chat",
  system: "Be brief.",
  user: "What is a token?",
  text: "A **piece** of text.",
  tokens: [
    [7, "A", -0.1, 0.2],
    [8, " piece\n", -3.2, 1.5],
    [9, "", null, null],
  ],
  sampling: {},
  seed: 7,
  model: { name: "cria", fingerprint: "0" },
  usage: { prompt: 12, cached: 0, completion: 3, first_token_s: 0.1, total_s: 0.2 },
  finish: "end",
  detail: "",
  notes: ["1 turn was left out."],
  nodes: [{ t: "p", c: ["A ", { t: "strong", c: ["piece"] }, " of text."] }],
  user_nodes: [{ t: "p", c: ["What is a token?"] }],
  status: "cria · 12 → 3 tokens · end",
};

async function draw(data: unknown): Promise<HTMLElement> {
  const factory = [extension].flat()[0]?.rendererFactory;
  if (!factory) throw new Error("no factory");
  const renderer = factory.createRenderer({
    mimeType: MIME,
    sanitizer: {} as never,
    resolver: null,
  } as never);
  await renderer.renderModel({
    data: { [MIME]: data },
    metadata: {},
    trusted: false,
    setData: () => {},
  } as never);
  return renderer.node;
}

describe("the renderer", () => {
  it("is safe for untrusted notebooks and comes before text/html", () => {
    const one = [extension].flat()[0];
    expect(one?.rendererFactory.safe).toBe(true);
    expect(one?.rendererFactory.mimeTypes).toEqual([MIME]);
    expect(one?.rank).toBeLessThan(50);
  });

  it("shows the whole turn", async () => {
    const node = await draw(record);
    expect(node.querySelector(".llama-nb-user")?.textContent).toBe("What is a token?");
    expect(node.querySelector(".llama-nb-answer strong")?.textContent).toBe("piece");
    expect(node.querySelector(".llama-nb-status")?.textContent).toBe(record.status);
    expect(node.querySelector(".llama-nb-notes")?.textContent).toBe("1 turn was left out.");
    expect(node.querySelector<HTMLElement>(".llama-nb-error")?.hidden).toBe(true);
  });

  it("draws a record again without doubling it", async () => {
    const factory = [extension].flat()[0]?.rendererFactory;
    const renderer = factory?.createRenderer({ mimeType: MIME } as never);
    const model = { data: { [MIME]: record } } as never;
    await renderer?.renderModel(model);
    await renderer?.renderModel(model);
    expect(renderer?.node.querySelectorAll(".llama-nb-reply").length).toBe(1);
  });

  it("marks an answer that is not whole", async () => {
    const stopped = await draw({ ...record, finish: "stopped" });
    expect(stopped.querySelector(".llama-nb-mark")?.textContent).toContain("stopped");
    const failed = await draw({ ...record, finish: "error", detail: "logits are NaN" });
    expect(failed.querySelector(".llama-nb-error")?.textContent).toBe("logits are NaN");
    const empty = await draw({ ...record, nodes: [] });
    expect(empty.querySelector(".llama-nb-answer")?.textContent).toBe("(empty reply)");
  });

  it("shows the tokens in place of the answer, and back", async () => {
    const node = await draw(record);
    const button = node.querySelector<HTMLButtonElement>(".llama-nb-toggle");
    button?.click();
    const chips = [...node.querySelectorAll<HTMLElement>(".llama-nb-token")];
    expect(chips.map((chip) => chip.textContent)).toEqual(["A", "·piece⏎", "∅"]);
    expect(chips.map((chip) => chip.dataset.surprise)).toEqual(["0", "3", "0"]);
    expect(chips[0]?.title).toBe("id 7, probability 0.905");
    expect(node.querySelector<HTMLElement>(".llama-nb-answer")?.hidden).toBe(true);
    expect(button?.getAttribute("aria-pressed")).toBe("true");
    button?.click();
    expect(node.querySelector<HTMLElement>(".llama-nb-answer")?.hidden).toBe(false);
    expect(node.querySelector<HTMLElement>(".llama-nb-tokens")?.hidden).toBe(true);
  });
});

describe("records that nobody of ours wrote", () => {
  const complaints: [unknown, string][] = [
    [null, "not an object"],
    ["<script>alert(1)</script>", "not an object"],
    [[], "not an object"],
    [{}, "schema unknown"],
    [{ ...record, schema: 2 }, "schema 2"],
    [{ ...record, schema: "<img src=x>" }, "schema unknown"],
    [{ ...record, nodes: "x" }, "no text"],
    [{ ...record, nodes: undefined }, "no text"],
  ];
  it.each(complaints)("says in a sentence why %j is not shown", async (data, reason) => {
    const node = await draw(data);
    expect(node.textContent).toContain(reason);
    expect(node.querySelector("img, script")).toBeNull();
  });

  it("shows what is left of wrong parts", async () => {
    for (const finish of ["constructor", "__proto__"]) {
      expect((await draw({ ...record, finish })).querySelector(".llama-nb-mark")).toBeNull();
    }
    const odd = {
      model: 3,
      user_nodes: "x",
      notes: [{}, 3, "a note"],
      tokens: [3, [1], [{}, "t", "x"]],
      status: [],
    };
    const node = await draw({ ...record, ...odd, system: { a: 1 }, finish: 9, detail: null, chat: [] });
    expect(node.querySelector(".llama-nb-answer")?.textContent).toBe("A piece of text.");
    expect(node.querySelectorAll(".llama-nb-notes li").length).toBe(1);
    expect(readRecord({ ...record, ...odd })).toMatchObject({
      model: "",
      tokens: [{ id: null, text: "t", logprob: null }],
    });
  });

  it("keeps scripts in every part inert", async () => {
    const attack = "<img src=x onerror=alert(1)><script>alert(1)</script>";
    const node = await draw({
      ...record,
      system: attack,
      status: attack,
      notes: [attack],
      finish: "error",
      detail: attack,
      model: { name: attack },
      tokens: [[1, attack, -1, 1]],
      nodes: [
        attack,
        { t: "script", c: ["alert(1)"] },
        { t: "a", a: { href: "javascript:alert(1)" }, c: ["x"] },
      ],
      user_nodes: [{ t: "iframe", a: { srcdoc: attack }, c: [attack] }],
    });
    node.querySelector<HTMLButtonElement>(".llama-nb-toggle")?.click();
    expect(node.querySelector("img, script, iframe, [onerror], [href], [srcdoc]")).toBeNull();
    expect(node.textContent).toContain(attack);
  });

  it("draws a huge record in part", async () => {
    const nodes = Array.from({ length: 200_000 }, (_, index) => ({ t: "p", c: [`block ${index}`] }));
    const node = await draw({ ...record, nodes });
    expect(node.querySelectorAll("p").length).toBeLessThanOrEqual(30_010);
    expect(node.querySelector(".llama-nb-answer")?.textContent?.endsWith("…")).toBe(true);
  }, 30_000);
});
