/**
 * The chat panel (llama_nb/widgets/chat_panel.py), as an anywidget module: talk, stop, edit, branch, look.
 *
 * The kernel holds the conversation; the page holds what is typed, what is open and which contents it has seen.
 * Commands go to the kernel as messages, and what they change comes back in the traits, to every panel of the chat.
 */

import { announce } from "./announce";
import { composer } from "./chat_composer";
import type { Drawers } from "./chat_drawer";
import { emptyState } from "./chat_empty";
import { type Drawer, headLine } from "./chat_head";
import { messageList } from "./chat_messages";
import type { Side } from "./chat_side";
import type { Say } from "./chat_step";
import { button, element } from "./element";
import { followDeltas } from "./growing";
import { INSERT_EVENT } from "./insert";
import { ownKeys } from "./keys";
import { standIn } from "./live_mark";
import { type Model, pageName } from "./model";
import { textOf } from "./nodes";
import { partCode } from "./part_code";
import type { ChatPanelTraits } from "./traits";

export type ChatModel = Model<ChatPanelTraits>;

const SILENT_AFTER_MS = 1500;
const SAME = "The same answer again: a higher temperature can give another.";
const HINTS = "Enter sends · Shift+Enter breaks the line";

function initialize({ model }: { model: ChatModel }): () => void {
  return followDeltas(model);
}

function render({ model, el }: { model: ChatModel; el: HTMLElement }): () => void {
  const owner = new AbortController();
  const { signal } = owner;
  const root = element("div", "llama-nb-view llama-nb-chat");
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", "Chat");
  ownKeys(root);

  let silence = 0;
  let remark = "";
  let retried: { shown: string; ran: boolean } | null = null;
  const shown = () => JSON.stringify((model.get("path").steps ?? []).map(({ id }) => id));
  const hint = element("span", "");
  hint.setAttribute("role", "status");
  const heard = () => {
    window.clearTimeout(silence);
    hint.textContent = model.get("running") ? "Esc stops" : remark || HINTS;
  };
  const say: Say = (message) => {
    model.send(message);
    remark = "";
    if (message.kind === "retry") retried = { shown: shown(), ran: false };
    window.clearTimeout(silence);
    silence = window.setTimeout(() => {
      hint.textContent = "The kernel has not answered yet: another cell may be running.";
    }, SILENT_AFTER_MS);
  };
  const insert = (text: string) =>
    !el.dispatchEvent(new CustomEvent(INSERT_EVENT, { bubbles: true, cancelable: true, detail: text }));

  const typed = composer(
    (text) => {
      list.toEnd();
      say({ kind: "send", text, page: pageName() });
    },
    () => say({ kind: "stop" }),
    () => model.get("head").panel ?? 0,
    signal,
  );
  const code = partCode<Side>(() => say({ kind: "code" }));
  const empty = emptyState(typed.suggest, insert, signal);
  const list = messageList(say, insert, () => typed.field.focus(), empty.root, code, signal);
  let side: Drawers | undefined;
  const toggle = async (drawer: Drawer) => {
    const { drawers } = await code.get();
    if (signal.aborted) return;
    if (!side) {
      side = drawers(say, insert, opened, list.reveal, signal);
      columns.append(side.root);
      drawSide();
    }
    side.toggle(drawer);
  };
  const head = headLine(say, toggle, () => typed.field.focus(), signal);
  function opened(drawer: Drawer | ""): void {
    const closed = [...head.root.querySelectorAll<HTMLElement>("[aria-expanded='true']")];
    head.opened(drawer);
    if (!drawer) closed[0]?.focus();
  }
  const columns = element("div", "llama-nb-chat-columns");
  columns.append(list.root);
  const error = element("div", "llama-nb-chat-error");
  const foot = element("div", "llama-nb-chat-foot");
  const where = element("span", "");
  foot.append(hint, where);
  root.append(head.root, columns, error, typed.root, foot);

  const drawHead = () => {
    const now = model.get("head");
    head.update(now);
    drawSide();
    empty.update(now);
    where.textContent = now.kept === false ? "not kept on disk" : "";
    where.title = now.where ?? "";
    typed.update(now.chat ?? "", Boolean(now.alive), model.get("running"));
  };
  const drawSide = () => {
    side?.system(model.get("head").system ?? "");
    side?.sampling(model.get("sampling"));
  };
  /** An answer that comes again word for word is no new version: without a remark nothing would seem to happen. */
  const remarkSame = () => {
    if (!retried) return;
    if (model.get("running")) retried.ran = true;
    else if (retried.ran) {
      if (retried.shown === shown() && model.get("blocks").length) remark = SAME;
      retried = null;
    }
  };
  const drawPath = () => {
    remarkSame();
    list.update(model.get("path").steps ?? [], model.get("live"), model.get("running"));
    if (side?.open === "tree") model.send({ kind: "tree" });
  };
  const drawBlocks = () => list.grow(model.get("blocks"), model.get("running"), model.get("status"));
  const drawRunning = () => {
    drawHead();
    drawBlocks();
    drawPath();
    heard();
  };
  const drawError = () => {
    const [message = "", ...rest] = model.get("error").split("\n");
    error.replaceChildren(...(message ? [failure(message, rest.join("\n"), dismiss, signal)] : []));
    if (!message) return;
    typed.free();
    list.answered(false);
  };
  const dismiss = () => {
    error.replaceChildren();
    typed.field.focus();
  };
  const ended = () => {
    if (!model.get("running")) announce(`${model.get("head").model ?? ""}: ${textOf(model.get("blocks"))}`);
  };
  const onMessage = (message: Record<string, unknown>) => {
    heard();
    if (message?.kind === "contents") list.contents(message.items as never);
    else if (message?.kind === "tokens") list.tokens(message.id as string, message.tokens as never);
    else if (message?.kind === "code") code.arrived(message.text as string);
    else if (message?.kind === "tree") side?.tree.update(message.nodes as never);
    else if (message?.kind === "exported") side?.exported.update(message);
    else if (message?.kind === "returned") typed.returned(message.text as string);
    else if (message?.kind === "accepted" && message.page === pageName()) {
      typed.accepted();
      list.answered(true);
    }
  };
  root.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape" || !model.get("running")) return;
      event.preventDefault();
      say({ kind: "stop" });
    },
    { signal },
  );

  const follow: [string, (...args: never[]) => void][] = [
    ["change", heard],
    ["change:head", drawHead],
    ["change:path", drawPath],
    ["change:live", drawPath],
    ["change:running", drawRunning],
    ["change:running", ended],
    ["change:blocks", drawBlocks],
    ["change:status", drawBlocks],
    ["change:sampling", drawSide],
    ["change:error", drawError],
    ["msg:custom", onMessage],
  ];
  for (const [event, draw] of follow) model.on(event, draw);
  el.append(root);
  drawRunning();
  drawError();
  const leave = standIn(model as never, el);
  model.send({ kind: "hello", page: pageName() });
  return () => {
    owner.abort();
    leave();
    window.clearTimeout(silence);
    for (const [event, draw] of follow) model.off(event, draw);
    root.remove();
  };
}

/** What went wrong, and below it what to do. */
function failure(message: string, rest: string, dismiss: () => void, signal: AbortSignal): HTMLElement {
  const box = element("div", "llama-nb-error");
  box.setAttribute("role", "alert");
  const close = button("✕", "llama-nb-quiet", dismiss, signal);
  close.setAttribute("aria-label", "Dismiss");
  box.append(element("div", "", message), element("div", "llama-nb-next", rest), close);
  return box;
}

export default { initialize, render };
