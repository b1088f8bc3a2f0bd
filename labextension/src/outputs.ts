/**
 * Finished replies in a page that was loaded again while they were written: the kernel cannot replace their
 * output there (the page has lost its display id), so the widget offers the finished output and we put it in.
 */

import { CodeCell } from "@jupyterlab/cells";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { FINAL_EVENT } from "../widgets/final";
import { MIME } from "./record";

const KEPT = ["text/plain", "text/html", MIME];

/** Accept the finished outputs that widgets in this notebook offer. */
export function acceptFinals(panel: NotebookPanel): void {
  panel.content.node.addEventListener(FINAL_EVENT, (event) => {
    if (!(event instanceof CustomEvent) || !(event.target instanceof Node)) return;
    if (replace(panel, event.target, kept(event.detail))) event.preventDefault();
  });
}

/** The parts of an offered bundle that a notebook keeps. */
function kept(bundle: unknown): [string, unknown][] {
  return typeof bundle === "object" && bundle !== null
    ? Object.entries(bundle).filter(([mime]) => KEPT.includes(mime))
    : [];
}

function replace(panel: NotebookPanel, inside: Node, parts: [string, unknown][]): boolean {
  const cell = panel.content.widgets.find((widget) => widget.node.contains(inside));
  if (!(cell instanceof CodeCell) || parts.length === 0) return false;
  const index = cell.outputArea.widgets.findIndex((output) => output.node.contains(inside));
  if (index < 0) return false;
  const data = Object.fromEntries(parts) as never;
  cell.outputArea.model.set(index, { output_type: "display_data", data, metadata: {} });
  return true;
}
