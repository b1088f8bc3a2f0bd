/**
 * A text that grows in the page (llama_nb/widgets/growing.py): the model's tree follows the kernel's deltas, and an
 * element follows the tree. Knows neither replies nor chats; a reply's view and the chat panel share it.
 */

import { apply, type Delta } from "./delta";
import { element } from "./element";
import type { Model } from "./model";
import { reconcile, type Tree } from "./nodes";

/** The traits that hold the text; every checkpoint sets all three. */
export interface GrowingTraits {
  blocks: Tree[];
  revision: number;
  status: string;
}

interface DeltaMessage {
  kind: "delta";
  revision: number;
  status: string;
  change: Delta | null;
}

/** Keep the model's tree up to date, once per model; returns how to end that. */
export function followDeltas(model: Model<GrowingTraits>): () => void {
  let asked = false;
  const onMessage = (message: DeltaMessage) => {
    if (message?.kind !== "delta" || message.revision <= model.get("revision")) return;
    const blocks = model.get("blocks");
    const next = message.change ? apply(blocks, message.change) : blocks;
    if (!next || message.revision !== model.get("revision") + 1) {
      // After a gap nothing fits until a checkpoint brings the whole tree.
      if (!asked) model.send({ kind: "lost" });
      asked = true;
      return;
    }
    asked = false;
    model.set("revision", message.revision);
    model.set("status", message.status);
    model.set("blocks", next);
  };
  model.on("msg:custom", onMessage);
  return () => model.off("msg:custom", onMessage);
}

/** Draw a growing tree into `answer`; until the first block comes, a skeleton. `root` says so by its classes. */
export function growingAnswer(
  root: HTMLElement,
  answer: HTMLElement,
): (blocks: Tree[], running: boolean) => void {
  let shown: Tree[] = [];
  return (blocks, running) => {
    if (shown.length === 0 && blocks.length > 0) answer.replaceChildren();
    reconcile(answer, shown, blocks);
    shown = blocks;
    const waiting = shown.length === 0 && running;
    root.classList.toggle("llama-nb-running", running);
    root.classList.toggle("llama-nb-waiting", waiting);
    root.setAttribute("aria-busy", String(running));
    if (waiting && !answer.firstChild) answer.append(...skeleton());
    if (!waiting && shown.length === 0) answer.replaceChildren();
  };
}

function skeleton(): HTMLElement[] {
  return ["92%", "78%", "54%"].map((width) => {
    const line = element("div", "llama-nb-skeleton");
    line.style.width = width;
    line.setAttribute("aria-hidden", "true");
    return line;
  });
}
