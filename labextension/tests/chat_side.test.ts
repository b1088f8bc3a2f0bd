import { beforeEach, describe, expect, it, vi } from "vitest";
import { inOrder, type TreeNode } from "../widgets/chat_tree";
import { INSERT_EVENT } from "../widgets/insert";
import { HEAD, open, STEPS, TEMPERATURE } from "./chat_panel";

vi.mock("../widgets/import_text", () => ({ importText: () => import("../widgets/chat_side") }));

beforeEach(() => {
  document.body.replaceChildren();
  sessionStorage.clear();
});

const NODES: TreeNode[] = [
  { id: "q", parent: null, role: "user", text: "what?", on_path: true },
  { id: "a", parent: "q", role: "assistant", text: "that", on_path: false },
  { id: "b", parent: "q", role: "assistant", text: "this", on_path: true },
  { id: "c", parent: "a", role: "user", text: "why?", on_path: false },
];

describe("the tokens", () => {
  const rows = [
    [
      7,
      " sun",
      -0.5,
      1.2,
      0,
      0,
      [
        [7, " sun", -0.5, -0.2],
        [8, " moon", -1.5, -2],
        [9, " x"],
        [10, "}", -3, null, 0, 1],
      ],
    ],
    [6, "<|eot|>", -0.01, 0.1, 1, 0, []],
  ];
  async function tokens() {
    const panel = open({ path: { steps: STEPS } });
    panel.does("Tokens").click();
    panel.model.tell("tokens", { id: "a", tokens: rows });
    await panel.code();
    return panel;
  }

  it("take the answer's place, and show what could have stood there", async () => {
    const { all, find, model, press } = await tokens();
    expect(model.said("tokens")).toEqual([{ kind: "tokens", id: "a" }]);
    expect(model.said("code").length).toBe(1);
    expect(document.activeElement).toBe(find("[role=option]"));
    press("Enter", find("[role=option]"));
    const lines = all(".llama-nb-alternative");
    expect(lines.map((line) => line.getAttribute("aria-label"))).toEqual([
      "·sun: 60.7 % → 81.9 %; this was written",
      "·moon: 22.3 % → 13.5 %; go on from here with it",
      "·x: ? → ruled out; go on from here with it",
      "}: 4.98 % → forbidden; the grammar forbids it",
    ]);
    expect(document.activeElement).toBe(lines[1]);
    press("ArrowDown", lines[1]);
    expect(document.activeElement).toBe(lines[2]);
    press("Escape", lines[2]);
    expect(find(".llama-nb-alternatives").hidden).toBe(true);
    expect(document.activeElement).toBe(find("[role=option]"));
    press("Escape", find("[role=option]"));
    expect(find(".llama-nb-step-tokens").hidden).toBe(true);
  });

  it("branch where one is clicked", async () => {
    const { all, find, model, field } = await tokens();
    find("[role=option]").click();
    all(".llama-nb-alternative")[1]?.click();
    expect(model.said("branch")).toEqual([{ kind: "branch", id: "a", position: 0, token: 8 }]);
    expect(document.activeElement).toBe(field);
    all("[role=option]")[1]?.click();
    expect(find(".llama-nb-alternatives").textContent).toContain("not recorded");
  });

  it("are shaded by entropy, too", async () => {
    const { find } = await tokens();
    find<HTMLButtonElement>(".llama-nb-shading").click();
    expect(find("[role=option]").dataset.level).toBe("2");
    expect(find(".llama-nb-shading").textContent).toBe("Shade by probability");
  });
});

describe("the drawers", () => {
  it("open one at a time, close with Escape, and give the focus back", async () => {
    const { drawer, find, press } = open();
    await drawer("system");
    const field = find("[aria-label='System prompt'] textarea");
    expect(document.activeElement).toBe(field);
    await drawer("tree");
    expect(find("[data-drawer=system]").getAttribute("aria-expanded")).toBe("false");
    expect(find("[data-drawer=tree]").getAttribute("aria-expanded")).toBe("true");
    press("Escape", find(".llama-nb-drawer"));
    expect(find(".llama-nb-drawer").hidden).toBe(true);
    expect(document.activeElement).toBe(find("[data-drawer=tree]"));
  });

  it("set the sampling, by slider and by preset", async () => {
    const { drawer, find, model } = open();
    await drawer("sampling");
    expect(find(".llama-nb-line code").textContent).toBe("%llama set temperature 0.7");
    const typed = find<HTMLInputElement>(".llama-nb-slider input[type=text]");
    typed.value = "0.2";
    typed.dispatchEvent(new Event("input"));
    typed.dispatchEvent(new Event("change"));
    const presets = find<HTMLSelectElement>("[aria-label=Preset]");
    presets.value = "precise";
    presets.dispatchEvent(new Event("change"));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(model.said("set")).toEqual([{ kind: "set", name: "temperature", value: 0.2 }]);
    expect(model.said("preset")).toEqual([{ kind: "preset", name: "precise" }]);
    model.set("sampling", { controls: [{ ...TEMPERATURE, value: 1 }], line: "", presets: [] });
    expect(find<HTMLElement>(".llama-nb-pane .llama-nb-line").hidden).toBe(true);
  });

  it("keep a system prompt that is being typed", async () => {
    const { drawer, find, type, press, model } = open({ head: { ...HEAD, system: "Be brief." } });
    await drawer("system");
    const field = find<HTMLTextAreaElement>(".llama-nb-drawer textarea");
    expect(field.value).toBe("Be brief.");
    type("Be loud.", field);
    model.set("head", { ...HEAD, system: "Changed in a cell." });
    expect(field.value).toBe("Be loud.");
    press("Enter", field, { ctrlKey: true });
    expect(model.said("system")).toEqual([{ kind: "system", text: "Be loud." }]);
  });

  it("show the tree, set in where it forks, walked through by keys", async () => {
    const { drawer, model, all, press } = open();
    await drawer("tree");
    model.tell("tree", { nodes: NODES });
    const rows = () => all("[role=treeitem]");
    expect(rows().map((row) => [row.textContent, row.getAttribute("aria-level")])).toEqual([
      ["what?", "1"],
      ["that", "2"],
      ["why?", "2"],
      ["this", "2"],
    ]);
    expect(document.activeElement).toBe(rows()[3]);
    press("ArrowUp", rows()[3]);
    press("ArrowUp", rows()[2]);
    expect(document.activeElement).toBe(rows()[1]);
    press("Enter", rows()[1]);
    expect(model.said("goto")).toEqual([{ kind: "goto", id: "a", tip: true }]);
    model.tell("tree", { nodes: NODES });
    expect(document.activeElement?.textContent).toBe("that");
    rows()[3]?.click(); // is on the path
    expect(model.said("goto").length).toBe(1);
  });

  it("export: what the kernel wrote, as text, and a notebook's code as cells", async () => {
    const { drawer, model, el, find } = open();
    const cells: string[] = [];
    el.addEventListener(INSERT_EVENT, (event) => cells.push((event as CustomEvent<string>).detail));
    await drawer("export");
    expect(model.said("export")).toEqual([{ kind: "export", format: "markdown" }]);
    model.tell("exported", { format: "json", name: "x.json", text: "late" });
    expect(find(".llama-nb-preview").textContent).toBe("");
    model.tell("exported", { format: "markdown", name: "main.md", text: "# main" });
    expect(find(".llama-nb-preview").textContent).toBe("# main");
    const formats = find<HTMLSelectElement>("[aria-label=Format]");
    formats.value = "notebook";
    formats.dispatchEvent(new Event("change"));
    const made = [
      { cell_type: "markdown", source: "not this" },
      { cell_type: "code", source: ["%%llama\n", "one"] },
      { cell_type: "code", source: "%%llama\ntwo" },
    ];
    model.tell("exported", { format: "notebook", name: "main.ipynb", text: JSON.stringify({ cells: made }) });
    [...el.querySelectorAll("button")].find((one) => one.textContent === "Insert as cells")?.click();
    expect(cells).toEqual(["%%llama\ntwo", "%%llama\none"]);
  });
});

it("a long conversation is put in order without recursion", () => {
  const chain = Array.from({ length: 5000 }, (_, at): TreeNode => {
    return { id: String(at), parent: at ? String(at - 1) : null, role: "user", text: "", on_path: true };
  });
  const ordered = inOrder(chain);
  expect(ordered.length).toBe(5000);
  expect(ordered.at(-1)).toEqual([chain.at(-1), 0]);
});
