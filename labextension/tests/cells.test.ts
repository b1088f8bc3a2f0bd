import { EditorState } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { describe, expect, it } from "vitest";
import { decorations, isLlamaCell, llamaCells } from "../src/cells";

function marks(doc: string): [number, string][] {
  const state = EditorState.create({ doc });
  const found: [number, string][] = [];
  const cursor = decorations({ state, viewport: { from: 0, to: doc.length } }).iter();
  for (; cursor.value; cursor.next())
    found.push([state.doc.lineAt(cursor.from).number, cursor.value.spec.class]);
  return found;
}

describe("%%llama cells", () => {
  it("are known by their first line", () => {
    expect(["%%llama", "%%llama chat", "  %%llama --temperature 0"].every(isLlamaCell)).toBe(true);
    expect(["%llama chat", "x = 1\n%%llama", "%%llamas", "# %%llama", ""].some(isLlamaCell)).toBe(false);
  });

  it("have a magic line, a body and marked expressions", () => {
    expect(marks("%%llama chat {{ no }}\nWhat is {{ topic }} and {{ more }}?\n")).toEqual([
      [1, "llama-nb-magic"],
      [2, "llama-nb-body"],
      [2, "llama-nb-expression"],
      [2, "llama-nb-expression"],
      [3, "llama-nb-body"],
    ]);
  });

  it("leave other cells alone", () => {
    expect(marks("x = '%%llama'\n{{ x }}")).toEqual([]);
  });

  it("change with the text, wrapping included", () => {
    const view = new EditorView({ doc: "%%llama\nhello", extensions: [llamaCells()] });
    expect(view.dom.querySelectorAll(".llama-nb-body").length).toBe(1);
    expect(view.contentDOM.classList.contains("cm-lineWrapping")).toBe(true);
    view.dispatch({ changes: { from: 0, to: 2, insert: "# " } });
    expect(view.dom.querySelectorAll(".llama-nb-body").length).toBe(0);
    expect(view.contentDOM.classList.contains("cm-lineWrapping")).toBe(false);
    view.destroy();
  });
});
