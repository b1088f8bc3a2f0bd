/**
 * The live view of a reply (llama_nb/widgets/reply_view.py), as an anywidget module.
 *
 * `initialize` keeps the model's tree up to date from the kernel's deltas, once per model; each view then
 * follows the tree. So a second view, or one that scrolls out and comes back, shows the same.
 */

import { announce } from "./announce";
import { apply, type Delta } from "./delta";
import { element } from "./element";
import { FINAL_EVENT } from "./final";
import { frame, show, showStatus } from "./frame";
import { reconcile, type Tree, textOf } from "./nodes";
import type { ReplyViewTraits } from "./traits";

/** The part of anywidget's model that we use. */
export interface Model<T> {
  get<K extends keyof T>(name: K): T[K];
  set<K extends keyof T>(name: K, value: T[K]): void;
  send(content: unknown): void;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
}
export type ReplyModel = Model<ReplyViewTraits>;

interface DeltaMessage {
  kind: "delta";
  revision: number;
  status: string;
  change: Delta | null;
}

const HINT_AFTER_MS = 1000;
// The first hello can travel before the page has a subshell of the kernel, and then waits for the cell's end.
const HELLO_AFTER_MS = [0, 150, 500, 1500, 5000];
const ATTACH_TRIES = 50;
const ATTACH_EVERY_MS = 100;

/** One name per loaded page, however often this module is loaded in it. */
function pageName(): string {
  const page = globalThis as { llamaNbPage?: string };
  page.llamaNbPage ??= Math.random().toString(36).slice(2);
  return page.llamaNbPage;
}

function initialize({ model }: { model: ReplyModel }): () => void {
  let asked = false;
  const onMessage = (message: DeltaMessage) => {
    if (message?.kind !== "delta" || message.revision <= model.get("revision")) return;
    const blocks = model.get("blocks") as Tree[];
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
  const hellos = HELLO_AFTER_MS.map((delay) =>
    window.setTimeout(() => {
      // The first two always go: a page that was loaded again finds `stoppable` set by the one before.
      if (delay < 500 || (model.get("running") && !model.get("stoppable"))) {
        model.send({ kind: "hello", page: pageName() });
      }
    }, delay),
  );
  return () => {
    for (const hello of hellos) window.clearTimeout(hello);
    model.off("msg:custom", onMessage);
  };
}

function render({ model, el }: { model: ReplyModel; el: HTMLElement }): () => void {
  const owner = new AbortController();
  const answerText = () => textOf(model.get("blocks"));
  const view = frame(model.get("header"), answerText);
  const stop = element("button", "llama-nb-stop", "Stop") as HTMLButtonElement;
  stop.type = "button";
  view.actions.prepend(stop);
  const hint = element("span", "llama-nb-hint");
  view.status.after(hint);

  let shown: Tree[] = [];
  const drawBlocks = () => {
    const blocks = model.get("blocks") as Tree[];
    if (shown.length === 0 && blocks.length > 0) view.answer.replaceChildren();
    reconcile(view.answer, shown, blocks);
    shown = blocks;
    drawSkeleton();
  };
  const drawSkeleton = () => {
    const waiting = shown.length === 0 && model.get("running");
    view.root.classList.toggle("llama-nb-waiting", waiting);
    if (waiting && !view.answer.firstChild) view.answer.append(...skeleton());
    if (!waiting && shown.length === 0) view.answer.replaceChildren();
  };
  const drawState = () => {
    const running = model.get("running");
    view.root.classList.toggle("llama-nb-running", running);
    view.root.setAttribute("aria-busy", String(running));
    stop.hidden = !running || !model.get("stoppable");
    drawSkeleton();
  };
  const began = Date.now();
  const drawStatus = () => {
    // Until the first word comes the seconds say that something goes on.
    const waited = Math.floor((Date.now() - began) / 1000);
    const idle = shown.length === 0 && model.get("running") && waited > 1;
    showStatus(view.status, model.get("status") + (idle ? ` · ${waited} s` : ""));
  };
  const ticking = window.setInterval(drawStatus, 1000);
  const drawNotes = () => show(view, model.get("notes"), model.get("error"));
  const ended = () => {
    drawState();
    if (!model.get("running")) announce(`${model.get("header").model ?? ""}: ${answerText()}`);
  };
  stop.addEventListener(
    "click",
    () => {
      stop.disabled = true;
      stop.textContent = "Stopping";
      model.send({ kind: "stop" });
    },
    { signal: owner.signal },
  );
  const hinting = window.setTimeout(() => {
    if (model.get("running") && !model.get("stoppable")) hint.textContent = "interrupt the kernel to stop";
  }, HINT_AFTER_MS);
  const drawHint = () => {
    hint.hidden = !model.get("running") || model.get("stoppable");
  };

  let offering = 0;
  const offerFinal = (tries = ATTACH_TRIES) => {
    const detail = model.get("final");
    if (tries === 0 || Object.keys(detail).length === 0) return;
    if (el.isConnected) {
      const offer = new CustomEvent(FINAL_EVENT, { bubbles: true, cancelable: true, detail });
      if (!el.dispatchEvent(offer)) model.send({ kind: "replaced" });
    } else {
      offering = window.setTimeout(() => offerFinal(tries - 1), ATTACH_EVERY_MS);
    }
  };

  const follow: [string, () => void][] = [
    ["change:final", () => offerFinal()],
    ["change:blocks", drawBlocks],
    ["change:status", drawStatus],
    ["change:running", ended],
    ["change:running", drawHint],
    ["change:stoppable", drawState],
    ["change:stoppable", drawHint],
    ["change:notes", drawNotes],
    ["change:error", drawNotes],
  ];
  for (const [event, draw] of follow) model.on(event, draw);
  for (const draw of [drawBlocks, drawStatus, drawState, drawHint, drawNotes]) draw();
  el.append(view.root);
  offerFinal();
  return () => {
    owner.abort();
    window.clearInterval(ticking);
    window.clearTimeout(hinting);
    window.clearTimeout(offering);
    for (const [event, draw] of follow) model.off(event, draw);
    view.root.remove();
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

export default { initialize, render };
