/**
 * What widgets put into a notebook's outputs. A reply that ended in a page that was loaded again while it was
 * written: the kernel cannot replace its output there (the page has lost its display id), so the widget offers the
 * finished output. A live view hands on its twin.
 */

import { CodeCell } from "@jupyterlab/cells";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { FINAL_EVENT } from "../widgets/final";
import { MIME } from "./record";

const TWINS = ["text/plain", "text/html"];
const FINALS = [...TWINS, MIME];

type Data = Record<string, unknown>;

/** Accept the finished outputs that widgets in this notebook offer. */
export function acceptFinals(panel: NotebookPanel): void {
  panel.content.node.addEventListener(FINAL_EVENT, (event) => {
    if (!(event instanceof CustomEvent) || !(event.target instanceof Node)) return;
    const data = kept(event.detail, FINALS);
    const done = () => ({ output_type: "display_data", data, metadata: {} });
    if (Object.keys(data).length > 0 && replace(panel, event.target, done)) event.preventDefault();
  });
}

/** Put a live view's twin into the output around `inside`, beside what it holds; say whether that was done. */
export function keepTwin(panel: NotebookPanel, inside: Node, bundle: unknown): boolean {
  const twin = kept(bundle, TWINS);
  return replace(panel, inside, (before) => {
    const data = { ...(before.data as Data), ...twin };
    const same = JSON.stringify(data) === JSON.stringify(before.data);
    return same ? null : { ...before, data };
  });
}

/** The parts of an offered bundle that a notebook keeps. */
function kept(bundle: unknown, mimes: string[]): Data {
  const parts = typeof bundle === "object" && bundle !== null ? Object.entries(bundle) : [];
  return Object.fromEntries(parts.filter(([mime]) => mimes.includes(mime)));
}

/** Replace the output around `inside` by what `change` makes of it; null changes nothing. */
function replace(panel: NotebookPanel, inside: Node, change: (output: Data) => Data | null): boolean {
  const cell = panel.content.widgets.find((widget) => widget.node.contains(inside));
  if (!(cell instanceof CodeCell)) return false;
  const { model, widgets } = cell.outputArea;
  const index = widgets.findIndex((output) => output.node.contains(inside));
  if (index < 0) return false;
  const output = change(model.get(index).toJSON() as Data);
  if (!output) return false;
  model.set(index, output as never);
  return true;
}
