/**
 * The routing explorer (llama_nb/widgets/routing_explorer.py), as an anywidget module: load map, tokens, panes.
 *
 * The kernel holds the trace and counts; the page holds what it was told, draws it, and asks for what is missing.
 * Texts of tokens, labels and names are untrusted and only ever become text.
 */

import { standIn } from "./live_mark";
import type { Model } from "./model";
import { askedScores } from "./routing_asked";
import type { Ask } from "./routing_page";
import { type Shell, shell } from "./routing_shell";
import { steps } from "./routing_steps";
import { tokenWindow } from "./routing_tokens";
import type { RoutingAnswer } from "./shapes";
import { timers } from "./timers";
import type { RoutingExplorerTraits } from "./traits";

export type RoutingModel = Model<RoutingExplorerTraits>;

const SILENT_AFTER_MS = 2500;
/** Questions that change what is looked at are heard without an answer of their own. */
const ANSWERED = new Set(["scores", "window", "domain", "paths", "expert", "whatif", "cost", "code"]);

function render({ model, el }: { model: RoutingModel; el: HTMLElement }): () => void {
  const owner = new AbortController();
  const { signal } = owner;
  const later = timers(signal);
  const ask: Ask = (message) => {
    model.send(message);
    if (!ANSWERED.has(message.kind)) return;
    later("silence", SILENT_AFTER_MS, () => drawn.say("No answer yet: another cell may be running."));
  };
  let coming = 0;
  const draw = () => {
    if (!coming)
      coming = requestAnimationFrame(() => {
        coming = 0;
        drawn.paint();
      });
  };
  signal.addEventListener("abort", () => cancelAnimationFrame(coming));

  const asked = askedScores(ask, signal);
  const say = (text: string) => drawn.say(text);
  const page = steps({ get: (name) => model.get(name), ask, later, draw, say }, tokenWindow());
  const drawn: Shell = shell(page, asked, draw, signal);
  const heard = () => later("silence", 0, () => drawn.say(model.get("status")));
  const changed = () => {
    page.follow();
    heard();
    draw();
  };
  const answered = (answer: RoutingAnswer) => {
    if (answer.kind === "scores") asked.take(answer);
    else if (answer.kind === "code") drawn.code(answer.part, answer.text);
    heard();
    draw();
  };
  page.follow();
  model.on("change", changed);
  model.on("msg:custom", answered);
  el.append(drawn.root);
  const leave = standIn(model as never, el);
  drawn.paint();
  ask({ kind: "hello" });
  return () => {
    owner.abort();
    leave();
    model.off("change", changed);
    model.off("msg:custom", answered);
    drawn.root.remove();
  };
}

export default { render };
