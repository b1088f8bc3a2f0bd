import { describe, expect, it, vi } from "vitest";
import { FINAL_EVENT } from "../widgets/final";

const cells = vi.hoisted(() => ({ CodeCell: class {} }));
vi.mock("@jupyterlab/cells", () => cells);

import { acceptFinals } from "../src/outputs";

function panel() {
  const node = document.createElement("div");
  const outputs = [0, 1].map(() => ({ node: node.appendChild(document.createElement("div")) }));
  const set = vi.fn();
  const cell = Object.assign(new cells.CodeCell(), {
    node,
    outputArea: { widgets: outputs, model: { set } },
  });
  const root = document.createElement("div");
  root.append(node);
  acceptFinals({ content: { node: root, widgets: [cell] } } as never);
  return { root, outputs, set };
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
