import { describe, expect, it, vi } from "vitest";
import { FINAL_EVENT } from "../widgets/final";

const cells = vi.hoisted(() => ({ CodeCell: class {} }));
vi.mock("@jupyterlab/cells", () => cells);

import { acceptFinals, keepTwin } from "../src/outputs";

function panel() {
  const node = document.createElement("div");
  const outputs = [0, 1].map(() => ({ node: node.appendChild(document.createElement("div")) }));
  const set = vi.fn();
  const held = {
    output_type: "execute_result",
    execution_count: 4,
    data: { "text/plain": "old", "application/x-view": { id: 1 } },
    metadata: {},
  };
  const get = () => ({ toJSON: () => held });
  const cell = Object.assign(new cells.CodeCell(), {
    node,
    outputArea: { widgets: outputs, model: { get, set } },
  });
  const root = document.createElement("div");
  root.append(node);
  acceptFinals({ content: { node: root, widgets: [cell] } } as never);
  const notebook = { content: { node: root, widgets: [cell] } } as never;
  return { root, outputs, set, held, notebook };
}

function offer(target: Node | undefined, detail: unknown): boolean {
  return (
    target?.dispatchEvent(new CustomEvent(FINAL_EVENT, { bubbles: true, cancelable: true, detail })) ?? true
  );
}

describe("finished outputs", () => {
  it("take the place of the output that holds the widget", () => {
    const { outputs, set } = panel();
    const widget = outputs[1]?.node.appendChild(document.createElement("span"));
    expect(
      offer(widget, { "text/plain": "done", "text/html": "<p>done</p>", "application/javascript": "x" }),
    ).toBe(false);
    const data = { "text/plain": "done", "text/html": "<p>done</p>" };
    expect(set).toHaveBeenCalledWith(1, { output_type: "display_data", data, metadata: {} });
  });

  it("are refused outside of an output", () => {
    const { root, set } = panel();
    expect(offer(root, { "text/plain": "done" })).toBe(true);
    expect(set).not.toHaveBeenCalled();
  });

  it.each([[null], [3], ["x"], [[]], [{}]])("are refused when they are %j", (detail) => {
    const { outputs, set } = panel();
    expect(offer(outputs[0]?.node, detail)).toBe(true);
    expect(set).not.toHaveBeenCalled();
  });
});

describe("twins", () => {
  it("are put beside what the output holds, which stays what it was", () => {
    const { notebook, outputs, set, held } = panel();
    const inside = outputs[0]?.node as Node;
    const kept = keepTwin(notebook, inside, { "text/plain": "new", "text/html": "<p>new</p>", "x/evil": 1 });
    expect(kept).toBe(true);
    const data = { ...held.data, "text/plain": "new", "text/html": "<p>new</p>" };
    expect(set).toHaveBeenCalledWith(0, { ...held, data });
  });

  it("change nothing when they are those that the output holds, or no twins", () => {
    const { notebook, outputs, set } = panel();
    const inside = outputs[0]?.node as Node;
    for (const bundle of [{ "text/plain": "old" }, {}, null, 3, { "x/evil": 1 }]) {
      expect(keepTwin(notebook, inside, bundle)).toBe(false);
    }
    expect(keepTwin(notebook, document.createElement("div"), { "text/plain": "new" })).toBe(false);
    expect(set).not.toHaveBeenCalled();
  });
});
