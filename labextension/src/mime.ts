/** Shows what is saved as a record: replies in the frame of their live view, plans. Records may be from anyone. */

import type { IRenderMime } from "@jupyterlab/rendermime-interfaces";
import { Widget } from "@lumino/widgets";
import { element } from "../widgets/element";
import { frame, show, showStatus } from "../widgets/frame";
import { fill, textOf } from "../widgets/nodes";
import { PLAN_MIME } from "../widgets/plan_record";
import { drawPlan } from "../widgets/plan_view";
import { MIME, type ReplyRecord, readRecord } from "./record";
import { tokensButton } from "./tokens";

/** A JupyterLab renderer for one output. */
export class ReplyRenderer extends Widget implements IRenderMime.IRenderer {
  /** Draw the model's record; a record that cannot be read becomes one sentence. */
  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const record = readRecord(model.data[MIME]);
    this.node.replaceChildren(typeof record === "string" ? complaint(record) : draw(record));
  }
}

/** How an answer that is not whole is marked below its last words; an error has its own box. */
const MARKS = new Map([
  ["stopped", "■ stopped: this is the part that was written"],
  ["length", "… max_tokens reached"],
  ["context", "… the context is full"],
]);

function draw(record: ReplyRecord): HTMLElement {
  const header = {
    user_nodes: record.userNodes,
    system: record.system,
    model: record.model,
    chat: record.chat,
  };
  const view = frame(header, () => textOf(record.nodes));
  fill(view.answer, record.nodes.length ? record.nodes : ["(empty reply)"]);
  const mark = MARKS.get(record.finish);
  if (mark) view.answer.append(element("p", "llama-nb-mark", mark));
  showStatus(view.status, record.status || record.model);
  const failed = record.finish === "error";
  show(view, record.notes, failed ? record.detail || "The reply ended with an error." : "");
  if (record.tokens.length) view.actions.append(tokensButton(view.answer, record.tokens));
  return view.root;
}

function complaint(sentence: string): HTMLElement {
  const root = element("div", "llama-nb-reply");
  root.append(element("div", "llama-nb-error", sentence));
  return root;
}

/** A plan: the widget's drawing, from a record that works without a kernel. */
class PlanRenderer extends Widget implements IRenderMime.IRenderer {
  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this.node.replaceChildren(drawPlan(model.data[PLAN_MIME]));
  }
}

// Before text/html (50), which is the same for pages without this plugin.
const RANK = 10;

const extensions: IRenderMime.IExtension[] = [
  {
    id: "llama-nb:reply",
    description: "Shows the replies that llama-nb leaves in a notebook.",
    rendererFactory: { safe: true, mimeTypes: [MIME], createRenderer: () => new ReplyRenderer() },
    rank: RANK,
    dataType: "json",
  },
  {
    id: "llama-nb:plan",
    description: "Shows memory plans, with their context to move.",
    rendererFactory: { safe: true, mimeTypes: [PLAN_MIME], createRenderer: () => new PlanRenderer() },
    rank: RANK,
    dataType: "json",
  },
];

export default extensions;
