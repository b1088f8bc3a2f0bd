/**
 * The live view of a reply (llama_nb/widgets/reply_view.py), as an anywidget module.
 *
 * `initialize` keeps the model's tree up to date from the kernel's deltas, once per model; each view then
 * follows the tree. So a second view, or one that scrolls out and comes back, shows the same.
 */

import { announce } from "./announce";
import { element } from "./element";
import { FINAL_EVENT } from "./final";
import { frame, show, showStatus } from "./frame";
import { followDeltas, growingAnswer } from "./growing";
import { type Model, pageName } from "./model";
import { textOf } from "./nodes";
import type { ReplyViewTraits } from "./traits";

export type { Model } from "./model";
export type ReplyModel = Model<ReplyViewTraits>;

const HINT_AFTER_MS = 1000;
// The first hello can travel before the page has a subshell of the kernel, and then waits for the cell's end.
const HELLO_AFTER_MS = [0, 150, 500, 1500, 5000];
const ATTACH_TRIES = 50;
const ATTACH_EVERY_MS = 100;

function initialize({ model }: { model: ReplyModel }): () => void {
  const leave = followDeltas(model);
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
    leave();
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

  const grow = growingAnswer(view.root, view.answer);
  const drawBlocks = () => grow(model.get("blocks"), model.get("running"));
  const drawState = () => {
    const running = model.get("running");
    stop.hidden = !running || !model.get("stoppable");
    drawBlocks();
  };
  const began = Date.now();
  const drawStatus = () => {
    // Until the first word comes the seconds say that something goes on.
    const waited = Math.floor((Date.now() - began) / 1000);
    const idle = model.get("blocks").length === 0 && model.get("running") && waited > 1;
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

export default { initialize, render };
