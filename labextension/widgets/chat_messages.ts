/**
 * The conversation as it is shown: the path's messages, the answer that grows, a call that waits for a yes or no.
 *
 * Contents of messages come once and are kept here; what is missing is asked for.
 */

import type { Side } from "./chat_side";
import { type Contents, type Say, type StepView, stepView } from "./chat_step";
import type { TokenRow } from "./chat_tokens";
import { button, element } from "./element";
import { showStatus } from "./frame";
import { growingAnswer } from "./growing";
import { type Tree, textOf } from "./nodes";
import type { PartCode } from "./part_code";
import type { ChatLive, ChatStep } from "./shapes";

export interface Messages {
  root: HTMLElement;
  update(steps: ChatStep[], live: ChatLive, running: boolean): void;
  grow(blocks: Tree[], running: boolean, status: string): void;
  contents(items: ({ id: string } & Contents)[]): void;
  tokens(id: string, rows: TokenRow[]): void;
  /** The kernel took what was sent, or did not. */
  answered(taken: boolean): void;
  /** Scroll to a message. */
  reveal(id: string): void;
  /** Show the end from now on. */
  toEnd(): void;
}

const NEAR_END = 40; // pixels

export function messageList(
  say: Say,
  insert: (text: string) => boolean,
  begun: () => void,
  empty: HTMLElement,
  code: PartCode<Side>,
  signal: AbortSignal,
): Messages {
  const root = element("div", "llama-nb-messages");
  root.setAttribute("role", "log");
  root.setAttribute("aria-label", "Conversation");
  root.setAttribute("aria-live", "off"); // a finished answer is announced once, not word by word
  root.tabIndex = 0;
  const views = new Map<string, StepView>();
  const known = new Map<string, Contents>();
  const asked = new Set<string>();
  const growth = growingStep();
  const pending = element("div", "llama-nb-pending");
  pending.hidden = true;
  const latest = button("↓ Latest", "llama-nb-latest", () => toEnd(), signal);
  root.append(empty, growth.root, pending, latest);
  let lastBlocks: Tree[] = [];
  let steps: ChatStep[] = [];
  let running = false;
  let waits = "";
  latest.hidden = true;

  let follows = true;
  const toEnd = () => {
    follows = true;
    root.scrollTop = root.scrollHeight;
  };
  const stay = () => {
    if (follows) root.scrollTop = root.scrollHeight;
    latest.hidden = follows;
  };
  root.addEventListener(
    "scroll",
    () => {
      follows = root.scrollHeight - root.scrollTop - root.clientHeight < NEAR_END;
      latest.hidden = follows;
    },
    { signal },
  );

  const resized = new ResizeObserver(stay);
  resized.observe(root);
  signal.addEventListener("abort", () => resized.disconnect());

  const host = {
    say,
    insert,
    begun: () => {
      toEnd();
      begun();
    },
    drafts: new Map<string, string>(),
    sent: null as string | null,
    tokens: (view: StepView) => {
      if (view.tokens.hidden) say({ kind: "tokens", id: view.id });
      else showText(view);
    },
  };
  const showText = (view: StepView) => {
    const focused = view.tokens.contains(document.activeElement);
    view.tokens.hidden = true;
    view.answer.hidden = false;
    if (focused) view.root.querySelector<HTMLElement>("[data-does^='Tokens']")?.focus();
  };

  /** The messages to be seen: while one is answered, what was said after it in another version is not. */
  const seen = (all: ChatStep[], live: ChatLive): ChatStep[] => {
    const at = running && live.asked ? all.findIndex(({ id }) => id === live.asked) : -1;
    return at < 0 ? all : all.slice(0, at + 1);
  };
  const place = () => {
    const focus = remember(root);
    steps.forEach((step, index) => {
      let view = views.get(step.id);
      if (!view) {
        view = stepView(step.id, step.role, host, signal);
        views.set(step.id, view);
      }
      view.update(step, known.get(step.id));
      // Behind `empty`, in the path's order.
      if (root.children[index + 1] !== view.root)
        root.insertBefore(view.root, root.children[index + 1] ?? null);
    });
    const stays = new Set(steps.map(({ id }) => id));
    for (const [id, view] of views) {
      if (stays.has(id)) continue;
      view.root.remove();
      views.delete(id);
    }
    focus(steps, views);
    const lacking = steps.map(({ id }) => id).filter((id) => !asked.has(id));
    for (const id of lacking) asked.add(id);
    if (lacking.length) say({ kind: "want", ids: lacking });
    stay();
  };
  const drawPending = ({ pending: call }: ChatLive) => {
    const key = call?.call ?? "";
    if (key === waits) return;
    waits = key;
    pending.replaceChildren();
    pending.hidden = !call;
    if (!call) return;
    const answer = (kind: string) => () => {
      say({ kind, call: call.call });
      begun();
    };
    const row = element("div", "llama-nb-edit-row");
    row.append(
      button("Refuse", "", answer("deny"), signal),
      button("Allow", "llama-nb-primary", answer("allow"), signal),
    );
    const text = element("span", "", call.sentence || "The model asks for a call of your function:");
    pending.append(text, element("code", "", `${call.name}(${call.arguments})`), row);
    pending.setAttribute("role", "alert");
  };
  return {
    root,
    toEnd,
    reveal(id) {
      const to = views.get(id)?.root;
      if (to) root.scrollTop = to.offsetTop;
    },
    update(path, live, runs) {
      const ended = running && !runs;
      running = runs;
      steps = seen(path, live);
      const last = steps.at(-1);
      // What has just been written is there already; its rendering follows.
      if (last?.role === "assistant" && !asked.has(last.id) && lastBlocks.length && (ended || !runs))
        known.set(last.id, { nodes: lastBlocks, text: textOf(lastBlocks) });
      empty.hidden = steps.length > 0 || runs;
      root.classList.toggle("llama-nb-busy", runs);
      drawPending(runs ? live : {});
      growth.root.hidden = !runs || Boolean(live.pending);
      place();
    },
    grow(blocks, runs, status) {
      lastBlocks = blocks;
      growth.update(blocks, runs, status);
      stay();
    },
    contents(items) {
      for (const { id, nodes, text } of items) {
        known.set(id, { nodes, text });
        asked.add(id);
      }
      place();
    },
    tokens(id, rows) {
      const view = views.get(id);
      if (!view) return;
      const branch = (position: number, token: number) => {
        say({ kind: "branch", id, position, token });
        host.begun();
      };
      code.get().then(({ tokenView }) => {
        view.tokens.replaceChildren(tokenView(rows, branch, () => showText(view), signal));
        view.tokens.hidden = false;
        view.answer.hidden = true;
        view.tokens.querySelector<HTMLElement>("[role=option][tabindex='0']")?.focus();
      });
    },
    answered(taken) {
      const { sent } = host;
      host.sent = null;
      if (!taken || sent === null) return;
      host.drafts.delete(sent);
      views.get(sent)?.accepted(); // unless the new branch is shown already
      host.begun();
    },
  };
}

function growingStep() {
  const root = element("div", "llama-nb-reply llama-nb-step");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Answer that is being written");
  const answer = element("div", "llama-nb-answer");
  const foot = element("div", "llama-nb-foot");
  const status = element("span", "llama-nb-status");
  foot.append(status);
  root.append(answer, foot);
  root.hidden = true;
  const draw = growingAnswer(root, answer);
  const update = (blocks: Tree[], running: boolean, line: string) => {
    draw(blocks, running);
    showStatus(status, line);
  };
  return { root, update };
}

/** Note which action of which message has the focus; the result gives it to the same action in the same place. */
function remember(root: HTMLElement) {
  const at = document.activeElement;
  const does = at instanceof HTMLElement && root.contains(at) ? at.dataset.does : undefined;
  const index = [...root.querySelectorAll(":scope > .llama-nb-step")].findIndex((step) => step.contains(at));
  return (now: ChatStep[], views: Map<string, StepView>) => {
    if (!does || document.activeElement === at) return;
    const view = views.get(now[Math.min(index, now.length - 1)]?.id ?? "");
    const same = [...(view?.root.querySelectorAll<HTMLElement>("[data-does]") ?? [])].find(
      (one) => one.dataset.does === does,
    );
    (same ?? root).focus();
  };
}
