/** New cells that a widget asks for: below the cell whose output it stands in, with the cursor at their end. */

import type { NotebookPanel } from "@jupyterlab/notebook";
import { INSERT_EVENT } from "../widgets/insert";

const LONGEST = 10_000;

/** Insert the cells that widgets in this notebook ask for. */
export function insertCells(panel: NotebookPanel): void {
  panel.content.node.addEventListener(INSERT_EVENT, (event) => {
    if (!(event instanceof CustomEvent) || !(event.target instanceof Node)) return;
    if (typeof event.detail === "string" && insert(panel, event.target, event.detail)) event.preventDefault();
  });
}

function insert(panel: NotebookPanel, inside: Node, text: string): boolean {
  const { content, model } = panel;
  const index = content.widgets.findIndex((cell) => cell.node.contains(inside));
  if (index < 0 || !model || text.length > LONGEST) return false;
  model.sharedModel.insertCell(index + 1, { cell_type: "code", source: text, metadata: { trusted: true } });
  content.deselectAll();
  content.activeCellIndex = index + 1;
  content.mode = "edit";
  const editor = content.activeCell?.editor;
  editor?.setCursorPosition({
    line: editor.lineCount - 1,
    column: editor.getLine(editor.lineCount - 1)?.length ?? 0,
  });
  return true;
}
